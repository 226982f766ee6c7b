"""The module waits for a container's own health check, and reports why it fails (with a stand-in for docker)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from project import run_module

# Answers like Docker's client; the container's state is in files beside it.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$1" in
  container) cat state ;;
  exec) echo asked >> asked; shift 2; PATH=$PWD:$PATH exec "$@" ;;
  logs) echo "last words" ;;
esac
"""
CHECK = """#!/bin/sh
echo tried >> tries; if [ "$(wc -l < tries)" -ge "$(cat enough)" ]; then exit 0; fi; echo "not yet"; exit 1
"""
RUNNING = {"Running": True, "Restarting": False, "ExitCode": 0, "Health": {"Status": "starting"}}


def run(folder: Path, enough: int, timeout_s: int = 5, **state: Any) -> dict[str, Any]:
    """Wait for the stand-in's container; the health check succeeds from the `enough`th time on."""
    for name, script in {"docker": DOCKER, "check": CHECK}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "enough").write_text(str(enough))
    described = {
        "RestartCount": 0,
        "State": {**RUNNING, **state},
        "Config": {"Healthcheck": {"Test": ["CMD", "check"]}},
    }
    (folder / "state").write_text(json.dumps([described]))
    return run_module(
        "container_healthy",
        {"name": "hub", "timeout_s": timeout_s},
        PATH=f"{folder}:{os.environ['PATH']}",
    )


def test_waits_for_the_containers_own_check(tmp_path: Path) -> None:
    result = run(tmp_path, enough=3)
    assert not result.get("failed")
    assert not result["changed"]
    assert len((tmp_path / "tries").read_text().split()) == 3
    # That would cost more than the check itself.
    assert len((tmp_path / "asked").read_text().split()) == 1


def test_a_slow_container_is_checked_again(tmp_path: Path) -> None:
    assert not run(tmp_path, enough=12).get("failed")
    assert len((tmp_path / "asked").read_text().split()) == 2


def test_a_healthy_container_is_not_checked_again(tmp_path: Path) -> None:
    assert not run(tmp_path, enough=1, Health={"Status": "healthy"}).get("failed")
    assert not (tmp_path / "tries").exists()


def test_a_container_that_ended_is_reported_at_once_with_its_log(tmp_path: Path) -> None:
    result = run(tmp_path, enough=1, timeout_s=600, Running=False, ExitCode=3)
    assert result["failed"]
    assert "hub is not healthy: it ended with status 3" in result["msg"]
    assert "last words" in result["msg"]


def test_a_container_that_keeps_restarting_is_reported_at_once(tmp_path: Path) -> None:
    result = run(tmp_path, enough=1, timeout_s=600, Restarting=True)
    assert "it ends as soon as it is started" in result["msg"]


def test_a_failing_check_is_quoted(tmp_path: Path) -> None:
    result = run(tmp_path, enough=10**6, timeout_s=1)
    assert result["failed"]
    assert "its health check failed for 1 seconds, at last with: not yet" in result["msg"]
