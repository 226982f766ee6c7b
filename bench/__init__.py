"""The project's figures against stock parts, measured in one run: `bench/run`."""
