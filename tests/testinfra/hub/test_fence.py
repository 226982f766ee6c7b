"""How a run repairs a fence that was flushed or does not hold; what the fence lets through with Debian 13's engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from e2e.client import eventually
from fenced import (
    OUTSIDE,
    USERS,
    assert_flushed_rules_come_back,
    assert_names_are_looked_up,
    assert_published_ports_are_closed,
    containers,
    outside,
)
from testinfra.host import Host
from vps import Admin, assert_fence, reached

PROOF = "/run/jupyterhub-fence-proof"


def test_servers_resolve_names_with_any_resolver_of_the_machine(host: Host) -> None:
    assert_names_are_looked_up(host)


def test_forwarded_ports_are_as_closed_as_the_machine(host: Host) -> None:
    assert_published_ports_are_closed(host)


def test_run_restores_docker_s_rules_after_a_flush(host: Host, admin: Admin, converge: Callable[..., Any]) -> None:
    admin.start("bob")
    before = containers(host)
    assert_flushed_rules_come_back(host)
    assert not host.file(PROOF).exists, "rules that were loaded again are proved again"
    run = converge()
    assert run.ok, run.output
    assert "-N DOCKER" in host.check_output("iptables --table nat --list-rules")
    assert containers(host) == before, "live-restore keeps containers running"
    assert host.file(PROOF).exists
    assert_fence(host, "bob")
    with outside(host):
        assert reached(host, USERS, {"outside": f"{OUTSIDE}:8099"}) == {"outside": True}
    assert converge().changed == 0


def test_run_shuts_a_network_that_the_proof_finds_open(host: Host, admin: Admin, converge: Callable[..., Any]) -> None:
    """A manual rule precedes those with which Docker isolates its networks; the fence itself is intact."""
    admin.start("bob")
    manual = [f"FORWARD --{way}-interface br-jupyterhub --jump ACCEPT" for way in ("in", "out")]
    host.check_output(f"iptables --insert {manual[0]} && iptables --insert {manual[1]} && rm {PROOF}")
    try:
        run = converge()
        assert not run.ok
        assert "from a user's server a container of another network" in run.said
        assert "servers now reach Hub and proxy only, and none is started" in run.said
        with outside(host):
            found = reached(host, "container:jupyterhub-user-bob", {"hub": "hub:8081", "outside": f"{OUTSIDE}:8099"})
        assert found == {"hub": True, "outside": False}
        admin.ask("POST", "/hub/api/users/ada")
        status, answer = admin.ask("POST", "/hub/api/users/ada/server")
        assert (status, "the network is not safe" in answer) == (503, True)
        log = "docker logs --tail 20 jupyterhub-hub 2>&1"
        eventually("the Hub's log", lambda: "deploy again" in host.check_output(log))
    finally:
        host.check_output(f"iptables --delete {manual[0]} && iptables --delete {manual[1]}")
    run = converge()
    assert run.ok, run.output
    admin.start("ada")
    assert_fence(host, "ada")
