from __future__ import annotations

import ipaddress

import pytest

from plugins.filter.users_network import users_network


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
