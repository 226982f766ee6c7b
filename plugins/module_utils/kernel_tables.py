"""Reads the kernel's tables in /proc: listeners, routes, memory, and the owners of sockets."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path

# Socket states (include/net/tcp_states.h) that accept connections or packets from anyone.
LISTENING = {"tcp": "0A", "udp": "07"}


def parse_address(text: str) -> str:
    """Return an address from the kernel's tables, where it is 32-bit words in the machine's byte order."""
    words = [struct.pack("=I", int(text[start : start + 8], 16)) for start in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def parse_listeners(table: str, port: str) -> Iterator[tuple[str, str]]:
    """Yield address and inode of the sockets of a /proc/net/{tcp,udp}{,6} that listen on a port."""
    number, protocol = port.split("/")
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, _, hex_port = fields[1].partition(":")
        if fields[3] == LISTENING[protocol] and int(hex_port, 16) == int(number):
            yield parse_address(address), fields[9]


def parse_routes(table: str) -> Iterator[dict[str, str]]:
    """Yield the networks of a /proc/net/route, without the default route."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[7], 16):
            network = ipaddress.ip_network(f"{parse_address(fields[1])}/{parse_address(fields[7])}", strict=False)
            yield {"network": str(network), "interface": fields[0]}


def parse_memory(table: str) -> int:
    """Return MemTotal of a /proc/meminfo, in MB."""
    line = next(line for line in table.splitlines() if line.startswith("MemTotal:"))
    return int(line.split()[1]) // 1024


def read(path: str) -> str:
    """Return a file's content, "" if it does not exist, as some in /proc on a machine without IPv6."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def program_of(inode: str) -> str:
    """Return the program that owns a socket, "" if unknown."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (process / "fd").iterdir()):
                return (process / "comm").read_text().strip()
        except OSError:
            continue  # The process ended meanwhile, or belongs to another user.
    return ""
