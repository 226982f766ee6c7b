"""The plan of the users' network."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable


def users_network(subnet: str) -> dict[str, str]:
    """Divide a subnet between the fixed addresses and the range that servers draw from.

    Servers draw from the upper half, so that none can hold the address of the Hub or the proxy
    while one of the two is being replaced.

    Args:
        subnet: an IPv4 network, such as ``10.213.0.0/20``.

    Returns:
        ``subnet``, ``gateway``, ``hub``, ``proxy`` (addresses) and ``range`` (a network).
    """
    network = ipaddress.IPv4Network(subnet)
    first = network.network_address
    return {
        "subnet": str(network),
        "gateway": str(first + 1),
        "hub": str(first + 2),
        "proxy": str(first + 3),
        "range": str(list(network.subnets(prefixlen_diff=1))[1]),
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[[str], dict[str, str]]]:
        """Name the filters."""
        return {"users_network": users_network}
