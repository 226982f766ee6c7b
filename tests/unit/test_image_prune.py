"""Old images are removed while users' servers start and stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from project import run_module

DOCKER = """#!/bin/sh
echo "$*" >> $CALLS
case "$1 $2" in
  "container ls") printf 'here\\nleft\\n' ;;
  "container inspect") echo sha256:used; echo "Error response from daemon: $SAYS" >&2; exit 1 ;;
  "image inspect") case "$5" in *:1) echo sha256:used ;; *) echo sha256:old ;; esac ;;
esac
"""


def prune(folder: Path, says: str) -> dict[str, Any]:
    docker = folder / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    refs = ["jupyterhub/hub:1", "jupyterhub/hub:2"]
    calls = str(folder / "calls")
    return run_module(
        "image_prune",
        {"refs": refs, "logs": str(folder)},
        PATH=f"{folder}:/usr/bin:/bin", CALLS=calls, SAYS=says,
    )  # fmt: skip


def test_a_container_that_is_removed_meanwhile_is_not_an_error(tmp_path: Path) -> None:
    assert prune(tmp_path, "No such container: left")["removed"] == ["jupyterhub/hub:2"]
    assert "image rm jupyterhub/hub:2" in (tmp_path / "calls").read_text()


@pytest.mark.parametrize("trouble", ["permission denied", "context deadline exceeded"])
def test_any_other_problem_is_an_error(tmp_path: Path, trouble: str) -> None:
    answer = prune(tmp_path, trouble)
    assert answer["failed"]
    assert trouble in answer["msg"]
    assert "image rm" not in (tmp_path / "calls").read_text()
