"""Benchmarks of this project against stock JupyterHub, in one run: `bench/run`."""
