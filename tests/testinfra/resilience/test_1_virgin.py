"""A dry run on a new machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from sites import Run, Site
from testinfra.host import Host

SNAPSHOT = Path(__file__).resolve().parents[3] / "molecule/shared/snapshot"
# Left by any login and use of sudo.
TRACES = ("/var/log/", "/.sudo_as_admin_successful")
ALL = [
    "docker : Write the engine's settings",
    "docker : Raise the kernel's limits that all servers share",
    "docker : packages | Install",
    "images : build | Build os, base, hub, proxy, env-base",
    "network : watched | Keep the fence around the users' network in force",
    "network : watched | Keep the ceiling of users' servers in force",
    "network : Make the networks => (item=jupyterhub-users)",
    "network : Make the networks => (item=jupyterhub-control)",
    "proxy : Keep the proxy's token",
    "proxy : container | Run the proxy",
    "hub : Keep the Hub's secrets",
    "hub : Write the Hub's settings",
    "hub : container | Run the Hub",
]


def snapshot(host: Host) -> list[str]:
    """Return the machine's packages and all of its files."""
    lines = host.check_output("sh -c %s snapshot /", SNAPSHOT.read_text()).splitlines()
    return [line for line in lines if not any(trace in line for trace in TRACES)]


@pytest.fixture(scope="module")
def before(host: Host) -> list[str]:
    assert not host.exists("dockerd")
    # Timers could change files meanwhile.
    host.check_output("systemctl stop '*.timer'")
    return snapshot(host)


@pytest.fixture(scope="module")
def run(host: Host, before: list[str], pytestconfig: pytest.Config) -> Run:
    return Site(host.backend.name, pytestconfig.getoption("--ansible-inventory")).check()


def test_dry_run_lists_what_a_run_would_make(run: Run) -> None:
    """By the tasks that make it in a real run."""
    packages = next(change for change in run.changes if "packages | Install" in change)
    assert [change.removesuffix(packages.partition("Install")[2]) for change in run.changes] == ALL
    assert {"docker.io", "python3-requests", "nftables"} <= set(packages.partition("Install ")[2].split(", "))
    # The settings as well, value by value.
    assert "+ hub_server_memory_mb: 2048" in run.said


def test_dry_run_ends_without_failures_and_warnings(run: Run) -> None:
    """Not even rescued or ignored ones."""
    assert run.code == 0, run.output
    assert "failed=0 " in run.output
    assert "rescued=0 ignored=0" in run.said
    for word in ("Traceback", "fatal:", "[ERROR]", "[WARNING]"):
        assert word not in run.output, run.output


def test_dry_run_says_that_nothing_was_changed(run: Run) -> None:
    assert "This was a dry run: nothing was changed." in run.said
    assert "Would change the engine, images (5), the fence, the ceiling, the proxy, the Hub" in run.said
    assert "no Docker engine answers" in run.said


def test_dry_run_changes_nothing(host: Host, before: list[str], run: Run) -> None:
    assert len(before) > 10_000
    assert set(snapshot(host)) ^ set(before) == set()
