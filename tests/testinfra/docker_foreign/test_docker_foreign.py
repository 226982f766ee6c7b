"""The whole site on an engine that somebody else installed, configured and uses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host
from vps import Admin, assert_fence, inspect, started

# Leaves a package as dpkg does when it is killed just before it is done.
TEAR = """
cd /var/lib/dpkg
sed -n '/^Package: nftables$/,/^$/p' status | sed 's/^Status: .*/Status: install reinstreq unpacked/' >updates/0000
"""
STATE = "dpkg-query --show --showformat '${Status}' nftables"
MARKER = "/etc/docker/managed-by-jupyterhub-ansible"


def test_foreign_engine_is_untouched(host: Any) -> None:
    """Packages, settings, process, network, container and rules are as they were before several runs."""
    before = set(host.file("/var/lib/snapshot").content_string.splitlines())
    now = set(host.check_output("engine-snapshot").splitlines())
    assert before - now == set()
    # What is needed besides the engine was installed, and nothing that belongs to an engine.
    installed = {line.split()[0] for line in now - before if line.endswith(" install ok installed")}
    assert "nftables" in installed
    assert all(name == "nftables" or name.startswith("lib") for name in installed)


def test_user_works_on_a_foreign_engine(host: Host) -> None:
    """Even if the engine publishes ports without docker-proxy and has another data-root."""
    admin = Admin(host)
    admin.start("ada")
    assert_fence(host, "ada")


def test_run_reports_missing_engine_settings(host: Any, converge: Callable[..., Any]) -> None:
    run = converge()
    assert run.ok, run.output
    assert run.changed == 0
    assert 'set "live-restore": true' in run.said
    assert 'set "log-opts"' in run.said


def test_interrupted_dpkg_is_finished_without_touching_the_engine(host: Any, converge: Callable[..., Any]) -> None:
    engine = host.check_output("systemctl show --property ActiveEnterTimestamp docker")
    host.check_output("sh -ec %s", TEAR)
    assert host.check_output(STATE) == "install reinstreq unpacked"

    run = converge()

    assert run.ok, run.output
    assert host.check_output(STATE) == "install ok installed"
    assert "dpkg was interrupted" not in host.run("apt-get check").stderr
    assert host.check_output("systemctl show --property ActiveEnterTimestamp docker") == engine
    assert converge().changed == 0


def test_flushed_rules_of_the_engine_are_left_to_its_owner(host: Any, converge: Callable[..., Any]) -> None:
    """The run says which command restores them, and changes nothing."""
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


def test_engine_with_our_marker_becomes_ours(host: Any, converge: Callable[..., Any]) -> None:
    host.check_output(f"touch {MARKER} && systemctl start docker && docker start somebody-elses")
    container = started(host, "somebody-elses")

    run = converge()

    assert run.ok, run.output
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["live-restore"] is True
    # The owner's settings stay.
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


def test_uninstalling_gives_the_engine_back_as_it_was(host: Any, uninstall: Callable[..., Any]) -> None:
    """Its owner's containers, networks, volumes, rules and settings stay; what was installed beside it is removed."""
    look = "docker inspect somebody-elses; docker network inspect somebody-elses; docker volume inspect somebody-elses"
    look += "; iptables --list-rules SOMEBODY; cat /run/docker.pid; docker image ls --quiet --no-trunc 'jhtest/*'"
    before = host.check_output(look)

    run = uninstall(stop_servers="yes")

    assert run.ok, run.output
    assert "the engine, which no recorded run installed" in run.said
    assert host.check_output(look) == before
    assert json.loads(host.file("/etc/docker/daemon.json").content_string) == {
        "bip": "10.99.0.1/24",
        "data-root": "/var/lib/docker/elsewhere",
        "debug": True,
        "log-driver": "json-file",
        "log-opts": {"tag": "{{.Name}}"},
        "userland-proxy": False,
    }
    assert not host.file(MARKER).exists
    assert not host.package("nftables").is_installed
    assert not host.file("/var/lib/jupyterhub-ansible").exists
    assert host.check_output("docker ps --all --format '{{.Names}}'") == "somebody-elses"
    assert host.check_output("docker image ls --quiet 'jupyterhub/*'") == ""
    assert {"jupyterhub-hub", "jupyterhub-user-ada"} <= set(host.check_output("docker volume ls --quiet").split())
    again = uninstall()
    assert again.ok, again.output
    assert again.changed == 0
