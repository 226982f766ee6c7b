from __future__ import annotations

import ipaddress

import pytest

from plugins.filter.users_network import users_network
from plugins.module_utils.rules.ranges import wrong_users_subnet
from plugins.module_utils.rules.users_network import free


@pytest.mark.parametrize("subnet", ["10.213.0.0/20", "192.168.77.0/24", "172.20.0.0/16"])
def test_servers_never_get_a_fixed_address(subnet: str) -> None:
    plan = users_network(subnet)
    servers = ipaddress.IPv4Network(plan["range"])
    fixed = [ipaddress.IPv4Address(plan[name]) for name in ("gateway", "hub", "proxy")]
    assert len(set(fixed)) == 3
    assert not any(address in servers for address in fixed)
    assert all(address in ipaddress.IPv4Network(plan["subnet"]) for address in fixed)
    assert servers.subnet_of(ipaddress.IPv4Network(subnet))


def test_plan_is_frozen() -> None:
    # Containers have these addresses: another plan for the same subnet would replace the network.
    assert users_network("10.213.0.0/20") == {
        "subnet": "10.213.0.0/20",
        "gateway": "10.213.0.1",
        "hub": "10.213.0.2",
        "proxy": "10.213.0.3",
        "range": "10.213.8.0/21",
    }


@pytest.mark.parametrize(
    ("taken", "lan", "advice"),
    [
        ([], [], "10.213.0.0/20"),
        (["10.213.4.0/24"], [], "10.214.0.0/20"),
        # The machine's company uses more of 10.0.0.0/8 than the machine has routes for.
        (["10.1.2.0/24"], ["10.1.2.0/24"], "172.31.240.0/20"),
        (["10.1.2.0/24", "172.16.0.0/12"], ["10.1.2.0/24"], "192.168.240.0/20"),
        # If every block leads elsewhere, what is free in the first is all that is left.
        (["10.213.0.0/16", "172.16.0.1/32", "192.168.0.0/24"],) * 2 + ("10.214.0.0/20",),
        (["0.0.0.0/1", "128.0.0.0/1"], [], ""),
    ],
)
def test_a_network_that_is_free(taken: list[str], lan: list[str], advice: str) -> None:
    assert free(taken, lan) == advice
    assert not advice or wrong_users_subnet(advice) is None
