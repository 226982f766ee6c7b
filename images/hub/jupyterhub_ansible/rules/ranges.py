"""The ranges of numbers, and the networks, that a Hub works with."""

import ipaddress

from .formatting import shown

MEMORY_MIN_MB = 128
"""A server needs some memory to start at all."""
CPUS_MIN = 0.1
PIDS_MIN = 64
TMP_MIN_MB = 16
START_TIMEOUT_S = (5, 3600)
MEMBERSHIP_INTERVAL_S = (30, 86400)
VERSIONS_PER_FILE = (5, 1000)
"""With fewer, a few saves in a row would replace all; with more, a dialog could not list them."""
_PREFIXES = (16, 24)
"""Fewer than 128 addresses for servers would soon be used up; one bridge takes at most 1024 servers."""
_PRIVATE = [ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


def wrong_users_subnet(value: str) -> tuple[str, str] | None:
    """Return why this cannot be the network of users' servers, and the fix; None if it can be."""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError as error:
        return f"is not an IPv4 network: {error}", "write one such as 10.213.0.0/20"
    if not any(network.subnet_of(block) for block in _PRIVATE):
        return (
            f"is not a private network: {shown(value)}",
            "use a subnet of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        )
    if not _PREFIXES[0] <= network.prefixlen <= _PREFIXES[1]:
        return (
            f"is too small or too large: {shown(value)}",
            f"use /{_PREFIXES[0]} to /{_PREFIXES[1]}; /20 has room for all servers that one bridge can take",
        )
    return None
