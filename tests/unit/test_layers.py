"""The summary of `make test`: how long it took, and what failed."""

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


def test_failures() -> None:
    assert layers.failures({}) == ""
    long = "\n".join(f"line {n} {'x' * 200}" for n in range(9))
    shown = layers.failures(
        {("hub", "testinfra/hub/test_1.py::test_b"): "a.py:3: assert 1 == 2", ("e2e", "test_a"): long}
    )
    assert shown.startswith("\nWhat failed\n\ne2e  test_a\n    line 0 xxx")
    assert shown.endswith("\n\nhub  testinfra/hub/test_1.py::test_b\n    a.py:3: assert 1 == 2\n")
    assert len(shown) < 800


def test_the_first_failing_layer_ends_it_with_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "made $*"\n[ "$2" != unit ]\n')
    make.chmod(0o755)
    monkeypatch.setenv("MAKE", str(make))
    monkeypatch.setattr(layers, "TIMES", tmp_path / "times")
    monkeypatch.setattr(layers, "SCENARIOS", tmp_path)
    # From an earlier run.
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
def test_times_and_failures_of_tests_are_kept(tmp_path: Path, arguments: list[str]) -> None:
    project = Path(layers.__file__).resolve().parents[1]
    folder = tmp_path / "tests/unit"
    folder.mkdir(parents=True)
    shutil.copy(project / "pyproject.toml", tmp_path)
    shutil.copy(project / "tests/conftest.py", folder.parent)
    (folder / "test_x.py").write_text(
        "import pytest\n@pytest.fixture\ndef broken(): raise OSError('gone')\n"
        "def test_1(): pass\ndef test_2(): assert 1 == 2\ndef test_3(broken): pass\n"
    )
    times = tmp_path / "artefacts/times"
    times.mkdir(parents=True)
    for scenario in ("", "hub"):
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *arguments, "tests"],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin"} | ({"MOLECULE_SCENARIO_NAME": scenario} if scenario else {}),
            check=False,
            timeout=50,
            stdout=subprocess.DEVNULL,
        )
    kept = {path.stem: json.loads(path.read_text()) for path in times.iterdir()}
    assert sorted(kept) == ["hub", "unit"]
    for of_one in kept.values():
        assert sorted(of_one["seconds"]) == [f"unit/test_x.py::test_{n}" for n in (1, 2, 3)]
        assert of_one["failed"] == {
            "unit/test_x.py::test_2": f"{folder}/test_x.py:5: assert 1 == 2",
            "unit/test_x.py::test_3": f"{folder}/test_x.py:3: OSError: gone",
        }
