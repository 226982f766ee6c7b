"""What a run does about a fence that was flushed or does not hold; what it lets through, with Debian 13's engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def test_names_are_looked_up_wherever_the_machine_asks(host: Host) -> None:
    assert_names_are_looked_up(host)


def test_published_ports_are_as_closed_as_the_machine(host: Host) -> None:
    assert_published_ports_are_closed(host)


def test_after_a_flush_a_run_brings_docker_s_rules_back(host: Host, admin: Admin, converge: Callable[..., Any]) -> None:
    admin.start("bob")
    before = containers(host)
    assert_flushed_rules_come_back(host)
    assert not host.file(PROOF).exists, "what was loaded is proved again"
    run = converge()
    assert run.ok, run.output
    assert "-N DOCKER" in host.check_output("iptables --table nat --list-rules")
    assert containers(host) == before, "with live-restore"
    assert host.file(PROOF).exists
    assert_fence(host, "bob")
    with outside(host):
        assert reached(host, USERS, {"outside": f"{OUTSIDE}:8099"}) == {"outside": True}
    assert converge().changed == 0


def test_what_a_proof_finds_open_does_not_stay_so(host: Host, admin: Admin, converge: Callable[..., Any]) -> None:
    """A rule by hand comes before those by which Docker keeps its networks apart; the fence itself is whole."""
    admin.start("bob")
    by_hand = [f"FORWARD --{way}-interface br-jupyterhub --jump ACCEPT" for way in ("in", "out")]
    host.check_output(f"iptables --insert {by_hand[0]} && iptables --insert {by_hand[1]} && rm {PROOF}")
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
        assert "deploy again" in host.check_output("docker logs --tail 20 jupyterhub-hub 2>&1")
    finally:
        host.check_output(f"iptables --delete {by_hand[0]} && iptables --delete {by_hand[1]}")
    run = converge()
    assert run.ok, run.output
    admin.start("ada")
    assert_fence(host, "ada")
