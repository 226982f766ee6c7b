"""The plan of the users' network: the same for the playbook, and for the Hub where it makes that network itself."""

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
    """Divide an IPv4 subnet, such as ``10.213.0.0/20``, between fixed addresses and those of users' servers.

    Servers draw from the upper half, so that none can hold the address of the Hub or the proxy while one of the two is
    being replaced.
    """
    network = ipaddress.IPv4Network(subnet)
    first = network.network_address
    upper = list(network.subnets(prefixlen_diff=1))[1]
    return Plan(str(network), str(first + 1), str(first + 2), str(first + 3), str(upper))
