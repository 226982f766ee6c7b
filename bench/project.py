"""Deploy the benchmark's own Hub with the playbook, and remove it again.

All its objects are named `jhbench`, `jhbench-...` or, for images, `jhbench/...`; others are never touched.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from e2e.deployment import Run, docker

PROJECT = Path(__file__).parents[1]
ARTEFACTS = PROJECT / "artefacts/bench"
INVENTORY = Path(__file__).with_name("inventory.yml")
SETTINGS: dict[str, Any] = yaml.safe_load(INVENTORY.read_text())["bench"]["hosts"]["localhost"]
NAME: str = SETTINGS["jupyterhub_name"]
ROOT = Path(SETTINGS["jupyterhub_root"])


@dataclass(frozen=True)
class TimedRun(Run):
    """A successful run of a playbook."""

    seconds: float
    cpu_s: float
    """CPU time of Ansible's own processes on this machine, without those of the engine or over SSH."""

    @property
    def roles(self) -> dict[str, float]:
        """Seconds by role, or by module for tasks outside of roles (ansible.posix.profile_roles)."""
        found = re.findall(r"^(\S+) -{3,} *([\d.]+)s$", self.output, re.MULTILINE)
        return {role: float(seconds) for role, seconds in found if role != "total"}


def playbook(
    *arguments: str, paths: tuple[str, ...] = ("site.yml",), inventory: Path = INVENTORY, limit: str = "all"
) -> TimedRun:
    """Run the playbook as an operator does; its output goes to artefacts/bench/.

    Raises:
        RuntimeError: it failed; the message has the end of its output.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    # With it, every run compiles Ansible again, which takes a fifth of its time.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_roles"}
    log = ARTEFACTS / f"{len(list(ARTEFACTS.glob('*.log'))) + 1:02}.log"
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("w") as output:
        code = subprocess.run(
            ["ansible-playbook", "--inventory", inventory, "--limit", limit, *paths, *arguments],
            cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
        ).returncode  # fmt: skip
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run = TimedRun(code, log.read_text(), seconds, cpu_s)
    if code:
        raise RuntimeError(f"ansible-playbook ended with {code}:\n{run.output[-4000:]}")
    return run


def hub_settings() -> dict[str, Any]:
    """Return the settings of the deployed Hub."""
    settings: dict[str, Any] = json.loads((ROOT / "hub/hub.json").read_text())
    return settings


def image_of(container: str) -> str:
    """Return the image of a container."""
    return docker("container", "inspect", "--format", "{{.Config.Image}}", container)


def base_image() -> str:
    """Return the base image of the Hub's image."""
    return docker("image", "ls", "--filter", f"reference={NAME}/base", "--format", "{{.Repository}}:{{.Tag}}").split()[
        0
    ]


def remove_containers() -> None:
    """Remove the benchmark's containers, volumes and networks, by their names."""
    for list_all, remove in (
        (("ps", "--all", "--format", "{{.Names}}"), ("rm", "--force", "--volumes")),
        (("volume", "ls", "--quiet"), ("volume", "rm")),
        (("network", "ls", "--format", "{{.Name}}"), ("network", "rm")),
    ):
        # Docker's name filter matches anywhere in a name.
        if found := [name for name in docker(*list_all).split() if name.startswith(f"{NAME}-")]:
            docker(*remove, *found)


def remove_images() -> None:
    """Remove the benchmark's image tags; content that other Hubs' tags refer to is kept."""
    if found := docker(
        "image", "ls", "--filter", f"reference={NAME}/*", "--format", "{{.Repository}}:{{.Tag}}"
    ).split():
        docker("image", "rm", *found)


def remove(*, images: bool) -> None:
    """Remove everything that the benchmark created."""
    remove_containers()
    if images:
        remove_images()
    unit = Path(f"/etc/systemd/system/{NAME}-fence.service")
    if unit.exists():
        subprocess.run(["systemctl", "disable", "--now", unit.name], check=True)
        unit.unlink()
    table = ["inet", f"{NAME}_fence"]
    if (
        shutil.which("nft")
        and not subprocess.run(["nft", "list", "table", *table], capture_output=True, check=False).returncode
    ):
        subprocess.run(["nft", "delete", "table", *table], check=True)
    for stamp in Path("/run").glob(f"{NAME}-fence*"):
        stamp.unlink()
    shutil.rmtree(ROOT, ignore_errors=True)
