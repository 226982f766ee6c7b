"""The whole site on an engine that somebody else brought, configured and uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host
from vps import Admin, assert_fence, inspect, started

# As dpkg leaves a package when it is ended between its last file and its end.
TEAR = """
cd /var/lib/dpkg
sed -n '/^Package: nftables$/,/^$/p' status | sed 's/^Status: .*/Status: install reinstreq unpacked/' >updates/0000
"""
STATE = "dpkg-query --show --showformat '${Status}' nftables"
MARKER = "/etc/docker/managed-by-jupyterhub-ansible"


def test_nothing_of_it_was_touched(host: Any) -> None:
    """Packages, settings, process, network, container, rules: as they were before several runs."""
    before = set(host.file("/var/lib/snapshot").content_string.splitlines())
    now = set(host.check_output("engine-snapshot").splitlines())
    assert before - now == set()
    # What is needed beside the engine is brought, and nothing of an engine.
    brought = {line.split()[0] for line in now - before if line.endswith(" install ok installed")}
    assert "nftables" in brought
    assert all(name == "nftables" or name.startswith("lib") for name in brought)


def test_a_user_works_beside_it(host: Host) -> None:
    """Also where the engine publishes ports without a proxy of its own, and keeps its images elsewhere."""
    admin = Admin(host)
    admin.start("ada")
    assert_fence(host, "ada")


def test_what_it_lacks_is_said(host: Any, converge: Callable[..., Any]) -> None:
    run = converge()
    assert run.ok, run.output
    assert run.changed == 0
    assert 'set "live-restore": true' in run.said
    assert 'set "log-opts"' in run.said


def test_what_dpkg_was_interrupted_in_beside_it_is_finished(host: Any, converge: Callable[..., Any]) -> None:
    engine = host.check_output("systemctl show --property ActiveEnterTimestamp docker")
    host.check_output("sh -ec %s", TEAR)
    assert host.check_output(STATE) == "install reinstreq unpacked"

    run = converge()

    assert run.ok, run.output
    assert host.check_output(STATE) == "install ok installed"
    assert "dpkg was interrupted" not in host.run("apt-get check").stderr
    assert host.check_output("systemctl show --property ActiveEnterTimestamp docker") == engine
    assert converge().changed == 0


def test_engine_whose_rules_were_flushed_is_left_to_its_owner(host: Any, converge: Callable[..., Any]) -> None:
    """The run names the command, and changes nothing before that."""
    before = host.check_output("systemctl show --property ActiveEnterTimestamp docker")
    host.check_output("nft flush ruleset")

    run = converge()

    assert not run.ok
    assert "its own rules are gone from the kernel" in run.said
    assert "stops all containers" in run.said
    assert "systemctl restart docker" in run.said
    assert host.check_output("systemctl show --property ActiveEnterTimestamp docker") == before
    host.check_output("systemctl restart docker && docker start somebody-elses")


def test_stopped_engine_is_left_to_its_owner(host: Any, converge: Callable[..., Any]) -> None:
    host.check_output("systemctl stop docker.socket docker.service")

    run = converge()

    assert not run.ok
    assert "does not manage, and it does not answer" in run.said
    assert f"touch {MARKER}" in run.said
    assert not host.service("docker").is_running
    assert not host.file(MARKER).exists


def test_engine_that_is_handed_over_becomes_ours(host: Any, converge: Callable[..., Any]) -> None:
    host.check_output(f"touch {MARKER} && systemctl start docker && docker start somebody-elses")
    container = started(host, "somebody-elses")

    run = converge()

    assert run.ok, run.output
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["live-restore"] is True
    # What its owner had set stays.
    assert (settings["debug"], settings["bip"], settings["data-root"]) == (
        True,
        "10.99.0.1/24",
        "/var/lib/docker/elsewhere",
    )
    assert settings["log-opts"] == {"tag": "{{.Name}}", "max-size": "10m", "max-file": "3"}
    assert started(host, "somebody-elses") == container
    assert inspect(host, "jupyterhub-hub")["State"]["Running"]
    assert host.file("/etc/docker/daemon.json").mode == 0o600
    assert json.loads(host.check_output("docker info --format '{{json .}}'"))["LiveRestoreEnabled"] is True
