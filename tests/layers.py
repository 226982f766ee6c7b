#!/usr/bin/env python3
"""Run the layers of tests, one after the other; each layer is one or several targets of the Makefile.

    tests/layers.py "lint unit settings" everything

Stops after the first layer that fails.  In the end it prints durations and failures, also kept in artefacts/times.txt.
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
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
TIMES = PROJECT / "artefacts/times"
"""Duration and failure of each test, by its name: tests/conftest.py writes a file for each run of pytest."""
SCENARIOS = PROJECT / "artefacts/molecule"
SLOWEST = 20
FAILURE_LINES, FAILURE_CHARACTERS = 4, 600


def clock(seconds: float) -> str:
    """Return minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def table(layers: Mapping[str, float], scenarios: Mapping[str, float], tests: Mapping[tuple[str, str], float]) -> str:
    """Return the durations: layers in their order, scenarios and the slowest tests in descending order.

    Args:
        layers: seconds of each.
        scenarios: seconds of each Molecule scenario and of the end-to-end tests, some of which run in parallel.
        tests: seconds of each with its fixtures, by layer or scenario and its name.
    """
    lines = ["What took how long (minutes:seconds)", ""]
    for layer, seconds in layers.items():
        lines.append(f"{clock(seconds):>7}  {layer}")
        if layer == "everything":
            in_order = sorted(scenarios.items(), key=lambda pair: -pair[1])
            lines += [f"{clock(seconds):>14}  {scenario}" for scenario, seconds in in_order]
    lines += [f"{clock(sum(layers.values())):>7}  in all", "", f"The {SLOWEST} slowest tests, with their fixtures", ""]
    for (where, name), seconds in sorted(tests.items(), key=lambda pair: -pair[1])[:SLOWEST]:
        lines.append(f"{clock(seconds):>7}  {where}  {name}")
    return "\n".join(lines) + "\n"


def failures(tests: Mapping[tuple[str, str], str]) -> str:
    """Return the failures, shortened: continuous integration often keeps only the end of the output.

    Args:
        tests: the message of each failure, by layer or scenario and the test's name.
    """
    lines = ["", "What failed"] if tests else []
    for (where, name), message in sorted(tests.items()):
        lines += ["", f"{where}  {name}"]
        lines += [f"    {line}" for line in message[:FAILURE_CHARACTERS].splitlines()[:FAILURE_LINES]]
    return "".join(f"{line}\n" for line in lines)


def scenarios_since(began: float) -> dict[str, float]:
    """Return the durations of the scenarios that ended since then."""
    return {path.stem: float(path.read_text()) for path in SCENARIOS.glob("*.seconds") if path.stat().st_mtime >= began}


def of_tests(what: str) -> dict[tuple[str, str], Any]:
    """Return "seconds" or "failed" of each test, by layer or scenario and its name."""
    kept = {path.stem: json.loads(path.read_text())[what] for path in TIMES.glob("*.json")}
    return {(where, name): value for where, of_each in kept.items() for name, value in of_each.items()}


def main(layers: list[str]) -> int:
    """Run the layers; return the exit code of the last one that ran."""
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
    found = table(took, scenarios_since(began), of_tests("seconds")) + failures(of_tests("failed"))
    TIMES.with_suffix(".txt").write_text(found)
    print(f"\n{found}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
