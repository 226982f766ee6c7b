"""What the tests bring into being on a machine that has nothing yet, while scenarios run side by side."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rolefile import ROLES

PROJECT = ROLES.parent
MAKE_KEY = PROJECT / "molecule/shared/make-key"


def at_once(command: list[str | Path], times: int = 6) -> list[str]:
    """Run a command several times side by side; return what each said, and insist on success."""
    running = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(times)
    ]
    said = [one.communicate(timeout=60)[0] for one in running]
    assert [one.returncode for one in running] == [0] * times, said
    return said


def test_scenarios_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    key = tmp_path / "ssh/key"
    at_once([MAKE_KEY, key])
    made = key.read_text(), key.with_suffix(".pub").read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    at_once([MAKE_KEY, key])
    assert made == (key.read_text(), key.with_suffix(".pub").read_text()), "it lets in machines that run"


def test_a_key_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("half")
    at_once([MAKE_KEY, key])
    public = subprocess.check_output(["ssh-keygen", "-y", "-f", key], text=True)
    assert key.with_suffix(".pub").read_text().startswith(public.rsplit(" ", 1)[0].strip())


def _tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every task and play."""
    if isinstance(node, list):
        for item in node:
            yield from _tasks(item)
    elif isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _tasks(value)


PLAYS = sorted(path for path in PROJECT.glob("molecule/*/**/*.yml") if path.name != "molecule.yml")


@pytest.mark.parametrize("play", PLAYS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_what_scenarios_share_is_asked_for_under_its_lock(play: Path) -> None:
    """On this machine `creates` is asked before the command takes its lock: two scenarios both go on."""
    shared = [task for task in _tasks(yaml.safe_load(play.read_text())) if task.get("delegate_to") == "localhost"]
    assert [task["name"] for task in shared if {"creates", "removes"} & {*task.get("args", {})}] == []
