"""The plan of the users' network, for the playbook and for a Hub that creates that network itself."""

import ipaddress
from collections.abc import Iterable
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


# By preference, from places that are seldom used; a network of each has the default's size.
_PRIVATE = {
    ipaddress.IPv4Network("10.0.0.0/8"): [f"10.{number % 256}.0.0/20" for number in range(213, 213 + 256)],
    ipaddress.IPv4Network("172.16.0.0/12"): [f"172.{number}.240.0/20" for number in range(31, 15, -1)],
    ipaddress.IPv4Network("192.168.0.0/16"): [f"192.168.{number}.0/20" for number in range(240, -1, -16)],
}


def free(taken: Iterable[str], lan: Iterable[str] = ()) -> str:
    """Return a private network that is free, "" if none is left.

    Args:
        taken: networks that are in use.
        lan: those of them that lead to other machines.  Others of the same private block are probably in use there,
            too, and reached by the default route, so another block is preferred.
    """
    used = [ipaddress.IPv4Network(each) for each in taken]
    beyond = [ipaddress.IPv4Network(each) for each in lan]
    blocks = sorted(_PRIVATE, key=lambda block: any(each.overlaps(block) for each in beyond))
    candidates = (ipaddress.IPv4Network(each) for block in blocks for each in _PRIVATE[block])
    return next((str(each) for each in candidates if not any(each.overlaps(other) for other in used)), "")
