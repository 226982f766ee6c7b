"""What `make test` says of the time that it took."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import layers
import pytest


def test_table() -> None:
    tests = {("unit", f"unit/test_x.py::test_{n}"): n / 10 for n in range(30)}
    tests["ingress", "testinfra/ingress/test_1.py::test_slow"] = 119.6
    shown = layers.table({"lint unit": 36.2, "everything": 2000}, {"hub": 208, "ingress": 864}, tests)
    lines = shown.splitlines()
    assert lines[2:7] == [
        "   0:36  lint unit",
        "  33:20  everything",
        "         14:24  ingress",
        "          3:28  hub",
        "  33:56  in all",
    ]
    assert lines[10] == "   2:00  ingress  testinfra/ingress/test_1.py::test_slow"
    assert len(lines) == 10 + layers.SLOWEST


def test_first_layer_that_fails_ends_it_and_the_table_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "made $*"\n[ "$2" != unit ]\n')
    make.chmod(0o755)
    monkeypatch.setenv("MAKE", str(make))
    monkeypatch.setattr(layers, "TIMES", tmp_path / "times")
    monkeypatch.setattr(layers, "SCENARIOS", tmp_path)
    # Of an earlier run.
    (tmp_path / "times").mkdir()
    (tmp_path / "times/e2e.json").write_text("{}")
    assert layers.main(["settings", "lint unit", "e2e"]) == 1
    said = capfd.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("made")] == ["made settings", "made lint unit"]
    assert "0:00  lint unit" in said
    assert "e2e" not in said
    assert (tmp_path / "times.txt").read_text() in said
    assert list((tmp_path / "times").iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["-n2"]], ids=["alone", "side by side"])
def test_times_of_tests_are_kept(tmp_path: Path, arguments: list[str]) -> None:
    project = Path(layers.__file__).resolve().parents[1]
    folder = tmp_path / "tests/unit"
    folder.mkdir(parents=True)
    shutil.copy(project / "pyproject.toml", tmp_path)
    shutil.copy(project / "tests/conftest.py", folder.parent)
    (folder / "test_x.py").write_text("def test_1(): pass\ndef test_2(): pass\n")
    times = tmp_path / "artefacts/times"
    times.mkdir(parents=True)
    for scenario in ("", "hub"):
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments, "tests"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"} | ({"MOLECULE_SCENARIO_NAME": scenario} if scenario else {}),
            check=True,
            timeout=50,
            stdout=subprocess.DEVNULL,
        )
    kept = {path.stem: sorted(json.loads(path.read_text())) for path in times.iterdir()}
    both = ["unit/test_x.py::test_1", "unit/test_x.py::test_2"]
    assert kept == {"unit": both, "hub": both}
