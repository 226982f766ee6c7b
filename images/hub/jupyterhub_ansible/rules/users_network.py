"""The plan of the users' network, for the playbook and for a Hub that creates that network itself."""

import ipaddress
from typing import NamedTuple


class Plan(NamedTuple):
    """Fixed addresses at the network's start, and the range that Docker assigns to servers."""

    subnet: str
    gateway: str
    hub: str
    proxy: str
    range: str


def plan(subnet: str) -> Plan:
    """Divide an IPv4 subnet, such as ``10.213.0.0/20``, between fixed addresses and users' servers.

    Servers get addresses from the upper half, so that none can take the address of the Hub or the proxy while that one
    is being replaced.
    """
    network = ipaddress.IPv4Network(subnet)
    first = network.network_address
    upper = list(network.subnets(prefixlen_diff=1))[1]
    return Plan(str(network), str(first + 1), str(first + 2), str(first + 3), str(upper))
