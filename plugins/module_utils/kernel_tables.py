"""Reads the kernel's tables: listeners, routes of all routing tables, memory, and the owners of sockets."""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Socket states (include/net/tcp_states.h) that accept connections or packets from anyone.
LISTENING = {"tcp": "0A", "udp": "07"}
# rtnetlink(7) lists the routes of all tables; /proc/net/route has the main table's only, and VPNs use others.
LIST_ROUTES, NEW_ROUTE = (26, 0x301), 24
LAST = (2, 3)  # an error, the end
MESSAGE, ROUTE, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI"), struct.Struct("=HH")
DESTINATION, INTERFACE, TABLE = 1, 4, 15
MAIN_TABLE = 254
# Routes to other machines, and those that refuse (blackhole, unreachable, prohibit); not the machine's own addresses.
LEADS_ELSEWHERE = (1, 6, 7, 8)


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


def parse_routes(messages: Iterable[tuple[int, bytes]]) -> Iterator[dict[str, Any]]:
    """Yield the networks in messages of rtnetlink, without default routes: network, interface and table."""
    for kind, body in messages:
        if kind != NEW_ROUTE:
            continue
        _, bits, _, _, short_table, _, _, leads, _ = ROUTE.unpack_from(body)
        found = dict(_parts(body[ROUTE.size :], ATTRIBUTE))
        if bits and leads in LEADS_ELSEWHERE:
            yield {
                "network": f"{socket.inet_ntoa(found[DESTINATION])}/{bits}",
                "interface": _interface(found.get(INTERFACE)),
                "table": int.from_bytes(found[TABLE], sys.byteorder) if TABLE in found else short_table,
            }


def _parts(text: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of netlink's messages or attributes, each of which begins with its length and kind."""
    while len(text) >= header.size:
        length, kind = header.unpack_from(text)[:2]
        yield kind, text[header.size : length]
        text = text[max(-(-length // 4) * 4, header.size) :]


def _interface(number: bytes | None) -> str:
    try:
        return socket.if_indextoname(int.from_bytes(number, sys.byteorder)) if number else "several or no interfaces"
    except OSError:
        return "an interface that is gone"


def _messages() -> Iterator[tuple[int, bytes]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(5)
        kernel.send(MESSAGE.pack(MESSAGE.size + ROUTE.size, *LIST_ROUTES, 1, 0) + ROUTE.pack(socket.AF_INET, *[0] * 8))
        while answer := kernel.recv(1 << 20):
            for kind, body in _parts(answer, MESSAGE):
                if kind in LAST:
                    return
                yield kind, body


def routes() -> list[dict[str, Any]]:
    """Return the IPv4 networks that this machine has routes to, in all tables, as `parse_routes` does."""
    return list(parse_routes(_messages()))


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
