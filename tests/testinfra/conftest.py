"""Fixtures for the tests of all scenarios. Molecule sets the environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sites import Site
from testinfra.backend import BACKENDS
from vps import Admin

BACKENDS["docker"] = "vps.MachineBackend"
PROJECT = Path(__file__).resolve().parents[2]
MOLECULE = PROJECT / "molecule"


@dataclass(frozen=True)
class Run:
    """A finished run of a play."""

    ok: bool
    changed: int
    output: str

    @property
    def said(self) -> str:
        """The output without the line breaks that Ansible puts into long messages."""
        return " ".join(self.output.split())


def machine_of(host: Any) -> str:
    """Return the machine's name in the inventory; scenarios reach it by Ansible or by Docker."""
    return str(getattr(host.backend, "host", "") or host.backend.name)


def play(machine: str, playbook: Path, *arguments: str, **variables: Any) -> Run:
    """Run a playbook on this machine alone, with other settings."""
    command = ["ansible-playbook", "--inventory", str(MOLECULE / "inventory"), "--limit", machine]
    command += ["--extra-vars", json.dumps(variables), *arguments, str(playbook)]
    # Molecule turns on colours when its own output has them; they would be in the middle of messages.
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    output = ended.stdout + ended.stderr
    counts = re.findall(r"\bchanged=(\d+)", output)
    return Run(ok=ended.returncode == 0, changed=sum(map(int, counts)), output=output)


@pytest.fixture
def converge(host: Any) -> Callable[..., Run]:
    """Run the scenario's play again."""
    scenario = os.environ["MOLECULE_SCENARIO_NAME"]
    # Some scenarios share one.
    paths = [MOLECULE / each / "converge.yml" for each in (scenario, "default")]
    return partial(play, machine_of(host), next(path for path in paths if path.exists()))


@pytest.fixture
def uninstall(host: Any) -> Callable[..., Run]:
    """Run the playbook of `make uninstall`."""
    return partial(play, machine_of(host), PROJECT / "playbooks/uninstall.yml")


@pytest.fixture
def site(host: Any, pytestconfig: pytest.Config) -> Site:
    """Return the site that deploys to this machine as an operator does."""
    return Site(host.backend.name, pytestconfig.getoption("--ansible-inventory"))


@pytest.fixture(scope="module")
def admin(host: Any) -> Admin:
    """Return an administrator of the running Hub."""
    return Admin(host)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the state and logs of the machine's containers and services to a failure."""
    report = yield
    if report.failed and (host := getattr(item, "funcargs", {}).get("host")):
        names = host.run("docker ps --all --format '{{.Names}}'").stdout.split()
        # A test that waits fills the end of the Hub's log with its requests.
        logs = [f"docker logs --tail 2000 {name} 2>&1 | grep -v ' log:192. [234]' | tail -60" for name in names]
        for command in ["docker ps --all; systemctl --failed", *logs]:
            report.sections.append((f"{host.backend.get_pytest_id()}: {command}", host.run(f"({command}) 2>&1").stdout))
    return report


@pytest.fixture
def busybox(host: Any) -> str:
    """Load a small image into the machine's own engine, and return its name."""
    tag = subprocess.check_output([MOLECULE / "vps" / "build", "--tag"], text=True).strip()
    image = f"jhtest/busybox-bookworm:{tag}"
    subprocess.run([MOLECULE / "shared" / "load-images", host.backend.host, image], check=True)
    return image
