#!/usr/bin/env python3
"""The layers of the proof, one after the other, and what took how long; each is a target of the Makefile, or several.

    tests/layers.py "lint unit settings" everything

The first that fails ends it.  The table is printed in any case, and kept in artefacts/times.txt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
TIMES = PROJECT / "artefacts/times"
"""Seconds of each test, by its name: a file for each run of pytest, written by tests/conftest.py."""
SCENARIOS = PROJECT / "artefacts/molecule"
SLOWEST = 20


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def table(layers: Mapping[str, float], scenarios: Mapping[str, float], tests: Mapping[tuple[str, str], float]) -> str:
    """Return what took how long: layers in their order, scenarios and the slowest tests from the slowest.

    Args:
        layers: seconds of each.
        scenarios: seconds of each of Molecule's and of the end-to-end tests, some of which run at a time.
        tests: seconds of each with its fixtures, by layer or scenario and its name.
    """
    lines = ["What took how long (minutes:seconds)", ""]
    for layer, seconds in layers.items():
        lines.append(f"{clock(seconds):>7}  {layer}")
        if layer == "everything":
            in_order = sorted(scenarios.items(), key=lambda pair: -pair[1])
            lines += [f"{clock(of_one):>14}  {scenario}" for scenario, of_one in in_order]
    lines += [f"{clock(sum(layers.values())):>7}  in all", "", f"The {SLOWEST} slowest tests, with their fixtures", ""]
    for (where, name), seconds in sorted(tests.items(), key=lambda pair: -pair[1])[:SLOWEST]:
        lines.append(f"{clock(seconds):>7}  {where}  {name}")
    return "\n".join(lines) + "\n"


def collect(began: float) -> tuple[dict[str, float], dict[tuple[str, str], float]]:
    """Return the seconds of scenarios and tests that ran since then."""
    scenarios = {
        path.stem: float(path.read_text()) for path in SCENARIOS.glob("*.seconds") if path.stat().st_mtime >= began
    }
    tests = {
        (path.stem, name): seconds
        for path in TIMES.glob("*.json")
        for name, seconds in json.loads(path.read_text()).items()
    }
    return scenarios, tests


def main(layers: list[str]) -> int:
    """Run them; return the exit code of the last that ran."""
    shutil.rmtree(TIMES, ignore_errors=True)
    TIMES.mkdir(parents=True)
    began, took, code = time.time(), dict[str, float](), 0
    try:
        for layer in layers:
            start = time.monotonic()
            code = subprocess.run([os.environ.get("MAKE", "make"), *layer.split()], cwd=PROJECT).returncode
            took[layer] = time.monotonic() - start
            if code:
                break
    except KeyboardInterrupt:
        code = 130
    found = table(took, *collect(began))
    TIMES.with_suffix(".txt").write_text(found)
    print(f"\n{found}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
