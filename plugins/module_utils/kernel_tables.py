"""What the kernel's tables below /proc say: listeners, routes, memory, and who holds a socket."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path

# States of the kernel's tables (include/net/tcp_states.h) in which a socket takes what comes from anybody.
LISTENING = {"tcp": "0A", "udp": "07"}


def parse_address(text: str) -> str:
    """Return the address of a column of the kernel's tables: 32-bit words in the machine's byte order."""
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
    """Yield the networks of a /proc/net/route, the default route left out."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if int(fields[7], 16):
            network = ipaddress.ip_network(f"{parse_address(fields[1])}/{parse_address(fields[7])}", strict=False)
            yield {"network": str(network), "interface": fields[0]}


def parse_memory(table: str) -> int:
    """Return the MB of MemTotal in a /proc/meminfo."""
    line = next(line for line in table.splitlines() if line.startswith("MemTotal:"))
    return int(line.split()[1]) // 1024


def read(path: str) -> str:
    """Return a file, empty where it is not there (of /proc, where the kernel lacks it: a machine without IPv6)."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def program_of(inode: str) -> str:
    """Return the program that holds a socket, or "" where that cannot be seen."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (process / "fd").iterdir()):
                return (process / "comm").read_text().strip()
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return ""
