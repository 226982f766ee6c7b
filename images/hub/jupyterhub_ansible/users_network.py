"""The plan of the users' network where the Hub makes it: as the role proxy plans it (filter users_network)."""

import ipaddress
from typing import NamedTuple


class Plan(NamedTuple):
    """Fixed addresses at the network's start, and the range that servers draw from."""

    subnet: str
    gateway: str
    hub: str
    proxy: str
    range: str


def plan(subnet: str) -> Plan:
    """Divide a subnet: servers draw from the upper half, so that none can hold the address of the Hub or the proxy."""
    network = ipaddress.IPv4Network(subnet)
    first = network.network_address
    upper = list(network.subnets(prefixlen_diff=1))[1]
    return Plan(str(network), str(first + 1), str(first + 2), str(first + 3), str(upper))
