"""Time playbook runs that change nothing or one setting: locally, over SSH, and with the objects of many users."""

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
"""Number of users' volumes, and of networks."""
SUBNETS = ipaddress.ip_network("10.217.4.0/22")
"""Not those of the two Hubs (inventory.yml, hubs.py); the engine's own pools have room for only about 30 networks."""
VPS = PROJECT / "bench/vps"
MACHINE = "jhbench-vps"


def _unchanged(*arguments: str, **where: Any) -> TimedRun:
    run = playbook(*arguments, **where)
    if run.changed:
        raise RuntimeError(f"a run without anything to change reports changed={run.changed}:\n{run.output}")
    return run


def _changed(*arguments: str) -> TimedRun:
    run = playbook(*arguments)
    if run.changed != 2:
        raise RuntimeError(f"a run that changes one setting must report changed=2, not {run.changed}:\n{run.output}")
    return run


@contextmanager
def _many_users() -> Iterator[None]:
    """Create volumes of many users, and as many networks without containers, with this Hub's labels."""
    labels = ["--label", f"{LABEL}={NAME}", "--label", "jupyterhub-ansible.test=bench"]
    subnets = SUBNETS.subnets(new_prefix=29)
    try:
        for number in range(MANY):
            docker("volume", "create", *labels, "--label", "jupyterhub-ansible.kind=home", f"{NAME}-user-many{number}")
            docker("network", "create", *labels, "--subnet", str(next(subnets)), f"{NAME}-many{number}")
        yield
    finally:
        for kind in ("volume", "network"):
            if found := docker(kind, "ls", "--quiet", "--filter", "label=jupyterhub-ansible.test=bench").split():
                docker(kind, "rm", *found)


def _vps(arguments: list[str]) -> dict[str, Any]:
    """Deploy to a machine over SSH; return the arguments that select it."""
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
    """Time all kinds of runs in turn, so that other load on the machine affects them equally."""
    say("unchanged: deploying to a machine over SSH")
    vps = _vps(arguments)
    runs: dict[str, list[TimedRun]] = {"here": [], "over SSH": [], "many users": [], "one setting": []}
    setting = ["--extra-vars", json.dumps({"hub_server_pids": 1000})]
    for number in range(rounds):
        say(f"unchanged: round {number + 1} of {rounds}")
        runs["here"].append(_unchanged(*arguments))
        # Changes the setting and resets it; the other runs give the replaced Hub time to settle.
        runs["one setting"] += [_changed(*arguments, *setting), _changed(*arguments)]
        runs["over SSH"].append(_unchanged(*arguments, **vps))
        with _many_users():
            runs["many users"].append(_unchanged(*arguments))
    return {
        title: [{"seconds": run.seconds, "cpu_s": run.cpu_s, "tasks": run.tasks, "roles": run.roles} for run in found]
        for title, found in runs.items()
    }
