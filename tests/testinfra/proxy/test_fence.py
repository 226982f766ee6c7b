"""What the fence closes, opens and counts, with Debian 12's engine (Debian 13's: scenario hub)."""

from __future__ import annotations

from fenced import (
    FENCE,
    assert_connections_are_bounded,
    assert_flushed_rules_come_back,
    assert_names_are_looked_up,
    assert_published_ports_are_closed,
    assert_shut,
    containers,
)
from testinfra.host import Host


def test_names_are_looked_up_wherever_the_machine_asks(host: Host) -> None:
    assert_names_are_looked_up(host)


def test_published_ports_are_as_closed_as_the_machine(host: Host) -> None:
    assert_published_ports_are_closed(host)


def test_connections_are_bounded(host: Host) -> None:
    assert_connections_are_bounded(host)


def test_shut_it_needs_nothing_of_docker_s(host: Host) -> None:
    host.check_output(f"systemctl stop jupyterhub-fence && {FENCE} shut")
    try:
        assert_shut(host)
    finally:
        host.check_output(f"{FENCE} open && systemctl start jupyterhub-fence")
    assert host.check_output(f"{FENCE} check") == "in force"


def test_rules_that_were_flushed_come_back(host: Host) -> None:
    before = containers(host)
    assert_flushed_rules_come_back(host)
    # Of Docker's own this test takes care: the role docker, in the scenario hub.
    host.check_output("systemctl restart docker")
    assert containers(host) == before
