"""Runs of the playbook that change nothing, or one setting: here, over SSH, and beside what many users have."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from e2e.deployment import LABEL, docker

from .project import NAME, PROJECT, TimedRun, playbook

MANY = 100
"""Users' volumes, and as many networks."""
SUBNETS = ipaddress.ip_network("10.217.4.0/22")
"""Apart from those of the two Hubs (inventory.yml, hubs.py); the engine's own pools have room for some 30."""
VPS = PROJECT / "bench/vps"
MACHINE = "jhbench-vps"


def _unchanged(*arguments: str, **where: Any) -> TimedRun:
    run = playbook(*arguments, **where)
    if run.changed:
        raise RuntimeError(f"a run that had nothing to change reports changed={run.changed}:\n{run.output}")
    return run


def _changed(*arguments: str) -> TimedRun:
    run = playbook(*arguments)
    if run.changed != 2:
        raise RuntimeError(
            f"a run that had settings to write and a Hub to replace reports {run.changed}:\n{run.output}"
        )
    return run


@contextmanager
def _many_users() -> Iterator[None]:
    """Have the engine hold the volumes of many users, and as many networks: empty bridges, labelled as ours."""
    of_ours = f"{LABEL}={NAME}"
    marked = ["--label", of_ours, "--label", "jupyterhub-ansible.test=bench"]
    subnets = SUBNETS.subnets(new_prefix=29)
    try:
        for number in range(MANY):
            docker("volume", "create", *marked, "--label", "jupyterhub-ansible.kind=home", f"{NAME}-user-many{number}")
            docker("network", "create", *marked, "--subnet", str(next(subnets)), f"{NAME}-many{number}")
        yield
    finally:
        for kind in ("volume", "network"):
            if found := docker(kind, "ls", "--quiet", "--filter", "label=jupyterhub-ansible.test=bench").split():
                docker(kind, "rm", *found)


def _vps(arguments: list[str]) -> dict[str, Any]:
    """Deploy to a machine that is reached by SSH; how to reach it."""
    where: dict[str, Any] = {"inventory": VPS, "limit": MACHINE}
    playbook(paths=("molecule/shared/create.yml", "molecule/shared/prepare.yml", "playbooks/engine.yml"), **where)
    images = docker("image", "ls", "--filter", f"reference={NAME}/*", "--format", "{{.Repository}}:{{.Tag}}").split()
    needed = [
        image
        for image in images
        if image.split(":")[0].removeprefix(f"{NAME}/") in ("base", "hub", "proxy", "env-base")
    ]
    subprocess.run([PROJECT / "molecule/shared/load-images", MACHINE, *needed], check=True, stdout=subprocess.DEVNULL)
    playbook(*arguments, **where)
    return where


def measure(rounds: int, arguments: list[str], say: Callable[[str], Any]) -> dict[str, list[dict[str, Any]]]:
    """Run it in turn here, over SSH, and here beside many users' things, so that a busy moment meets all alike."""
    say("unchanged: deploying to a machine that is reached by SSH")
    vps = _vps(arguments)
    runs: dict[str, list[TimedRun]] = {"here": [], "over SSH": [], "many users": [], "one setting": []}
    setting = ["--extra-vars", json.dumps({"hub_server_pids": 1000})]
    for number in range(rounds):
        say(f"unchanged: round {number + 1} of {rounds}")
        runs["here"].append(_unchanged(*arguments))
        # There and back; the Hub that is replaced has settled when the next round begins.
        runs["one setting"] += [_changed(*arguments, *setting), _changed(*arguments)]
        runs["over SSH"].append(_unchanged(*arguments, **vps))
        with _many_users():
            runs["many users"].append(_unchanged(*arguments))
    return {
        title: [{"seconds": run.seconds, "cpu_s": run.cpu_s, "tasks": run.tasks, "roles": run.roles} for run in found]
        for title, found in runs.items()
    }
