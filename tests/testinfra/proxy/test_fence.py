"""What the fence closes, opens and limits, with Debian 12's engine (Debian 13's: scenario hub)."""

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


def test_servers_resolve_names_with_any_resolver_of_the_machine(host: Host) -> None:
    assert_names_are_looked_up(host)


def test_forwarded_ports_are_as_closed_as_the_machine(host: Host) -> None:
    assert_published_ports_are_closed(host)


def test_connections_are_limited(host: Host) -> None:
    assert_connections_are_bounded(host)


def test_shut_fence_does_not_depend_on_docker_s_rules(host: Host) -> None:
    host.check_output(f"systemctl stop jupyterhub-fence && {FENCE} shut")
    try:
        assert_shut(host)
    finally:
        host.check_output(f"{FENCE} open && systemctl start jupyterhub-fence")
    assert host.check_output(f"{FENCE} check") == "in force"


def test_flushed_rules_come_back(host: Host) -> None:
    before = containers(host)
    assert_flushed_rules_come_back(host)
    # This restores Docker's own rules; the scenario hub tests that the role docker does.
    host.check_output("systemctl restart docker")
    assert containers(host) == before
