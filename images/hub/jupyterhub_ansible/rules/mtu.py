"""How large packets on our networks may be (MTU).

Links of VPNs, clouds and DSL carry less than Ethernet's 1500 bytes.  A container on a network that carries more asks
servers on the internet for packets that are lost on their way, if no router reports that: its downloads stall.
"""

import socket
from collections.abc import Mapping
from typing import Any

ETHERNET = 1500
"""Docker's default, and our maximum: more would only help if every link had it."""
OPTION = "com.docker.network.driver.mtu"
_IP_MTU = 14
# Of no machine (RFC 5737), so it is reached as most of the internet is: the kernel chooses among all routing tables.
_OUTSIDE = ("203.0.113.1", 9)


def of_default_route() -> int | None:
    """Return the MTU of this machine's way to the outside, at most Ethernet's; None without one, as early in a boot."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(_OUTSIDE)  # Sends nothing.
            return min(ETHERNET, probe.getsockopt(socket.IPPROTO_IP, _IP_MTU))
    except OSError:
        return None


def of_settings(settings: Mapping[str, Any]) -> int | None:
    """Return the smallest MTU in settings of the engine (daemon.json), None if they have none."""
    below = settings.get("default-network-opts")
    for_bridges = below.get("bridge") if isinstance(below, Mapping) else None
    own = for_bridges.get(OPTION) if isinstance(for_bridges, Mapping) else None
    found = [str(each) for each in (settings.get("mtu"), own)]
    return min((int(each) for each in found if each.strip("0").isdecimal()), default=None)


def of_network(network: Mapping[str, Any]) -> int:
    """Return the MTU of a network, as the engine describes it."""
    given = str((network.get("Options") or {}).get(OPTION, ""))
    return int(given) if given.isdecimal() else ETHERNET


def options(mtu: int) -> dict[str, str]:
    """Return the driver's options of a network; none for Docker's default, as networks of older releases have none."""
    return {} if mtu == ETHERNET else {OPTION: str(mtu)}


if __name__ == "__main__":
    print(of_default_route() or "")
