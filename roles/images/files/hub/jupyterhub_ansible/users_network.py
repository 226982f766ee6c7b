"""The plan of the users' network where the Hub makes it: as the role proxy plans it (filter users_network)."""

import ipaddress
from typing import NamedTuple

_LARGEST = 24
"""A Hub with fewer than 128 addresses for servers would soon stand still."""


class Plan(NamedTuple):
    """Fixed addresses at the network's start, and the range that servers draw from."""

    subnet: str
    gateway: str
    hub: str
    proxy: str
    range: str


def checked(subnet: str) -> str:
    """Return it if it can be the users' network.

    Raises:
        ValueError: it cannot.
    """
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError:
        raise ValueError("must be an IPv4 network, such as 10.213.0.0/20") from None
    if not network.is_private or network.prefixlen > _LARGEST:
        raise ValueError(f"must be private and a /{_LARGEST} or larger, such as 10.213.0.0/20")
    return subnet


def plan(subnet: str) -> Plan:
    """Divide a subnet: servers draw from the upper half, so that none can hold the address of the Hub or the proxy."""
    network = ipaddress.IPv4Network(subnet)
    first = network.network_address
    upper = list(network.subnets(prefixlen_diff=1))[1]
    return Plan(str(network), str(first + 1), str(first + 2), str(first + 3), str(upper))
