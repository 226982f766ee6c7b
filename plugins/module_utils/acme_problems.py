"""Explains why an ACME authority issued no certificate, from what Caddy wrote into its log."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

PORT = 443
# What Caddy logs when one authority, and when no authority, issued a certificate.
GAVE_UP = ("could not get certificate from issuer", "will retry")
ACME = "urn:ietf:params:acme:error:"
# How authorities (Boulder, Pebble, step-ca) and Go describe a failed connection.  The error type does not tell: for a
# closed port 443, Pebble returns "unauthorized".
NOT_REACHED = re.compile(
    r"failed to connect|connection refused|connection reset|timeout during connect"
    r"|(connection|i/o|operation) timed? ?out|error dialing|dial tcp|no route to host|(network|host) is unreachable",
    re.IGNORECASE,
)
# Error types of ACME (RFC 8555, 6.7) with what they mean here, and the fix.
PROBLEMS = {
    "dns": (
        "the certificate authority finds no address for {host}",
        "at your DNS provider, add an A record (and AAAA, if the machine has IPv6) of {host} with the machine's"
        " address; a new record may take an hour until it is visible everywhere",
    ),
    "connection": (
        "the certificate authority cannot reach {host} on port 80 or 443",
        "open TCP ports 80 and 443 in the firewalls of the machine and of its provider, and check that"
        " {host} resolves to this machine (it resolves to {resolves_to})",
    ),
    "unauthorized": (
        "something else answers at {host}",
        "make its DNS records (A and AAAA) point to this machine only ({host} resolves to {resolves_to}), and check"
        " that there is no other proxy in between",
    ),
    "tls": (
        "something else answers at {host} on port 443",
        "make its DNS records (A and AAAA) point to this machine only ({host} resolves to {resolves_to}), and check"
        " that there is no other proxy in between",
    ),
    "caa": (
        "a CAA record of the domain forbids this certificate authority",
        "allow it there, at your DNS provider, or use another authority (ingress_caddy.directory_url)",
    ),
    "rateLimited": (
        "the certificate authority refuses more certificates for now",
        "wait as long as it says; for tests, set ingress_caddy: {{staging: true}}",
    ),
    "rejectedIdentifier": (
        "the certificate authority gives no certificates for {host}",
        "use a name in a public domain, another authority (ingress_caddy.directory_url), or a certificate of your"
        " own (ingress_caddy.certificate_file)",
    ),
    "invalidContact": ("the certificate authority refuses the e-mail address", "correct ingress_caddy.email"),
    "externalAccountRequired": (
        "the certificate authority requires an account that already exists there",
        "use another one (ingress_caddy.directory_url), or a certificate of your own (ingress_caddy.certificate_file)",
    ),
}
UNTRUSTED = (
    "the machine does not trust the certificate authority's own certificate",
    "set ingress_caddy.ca_file to a file on the machine with its root certificate",
)
UNREACHABLE = (
    "the certificate authority cannot be reached from the machine",
    "check that the machine can reach the internet, and ingress_caddy.directory_url, if it is set",
)
REFUSED = ("the certificate authority refuses", "see its message below")


def entries(log: str) -> Iterator[dict[str, Any]]:
    """Yield the entries of Caddy's log, one JSON object per line."""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def complaints(log: str, host: str) -> Iterator[str]:
    """Yield the reasons for a missing certificate, as Caddy and the authority wrote them."""
    for entry in entries(log):
        if entry.get("level") != "error" or entry.get("identifier", host) != host:
            continue
        if entry.get("msg") == "challenge failed":
            # Caddy 2.6, and later versions.
            problem = entry.get("problem") or {"type": entry.get("problem_type"), "detail": entry.get("error")}
            yield f"{problem['type']} - {problem['detail']}"
        # "will retry" has no identifier.
        elif entry.get("msg") in GAVE_UP and host in (entry.get("identifier") or str(entry.get("error"))):
            yield str(entry.get("error"))


def gave_up(log: str, host: str) -> bool:
    """Return whether Caddy has failed and waits before trying again."""
    return any(entry.get("msg") == "will retry" and host in str(entry.get("error")) for entry in entries(log))


def resolves_to(host: str) -> str:
    """Return the addresses that this machine finds for a name."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, PORT)}
    except OSError:
        return "nothing, as seen from this machine"
    return ", ".join(sorted(found))


def error_type(complaint: str) -> str:
    """Return the authority's error type, "" for an error of Caddy's own."""
    found = re.search(re.escape(ACME) + r"(\w+)", complaint)
    return found[1] if found else ""


def kind_of(complaint: str) -> str:
    """Return the kind of the problem, a key of PROBLEMS if it is known.

    The message is more reliable than the type, which differs between authorities and between challenges.
    """
    kind = error_type(complaint)
    if kind and re.search(r"resolving|NXDOMAIN|no such host|no valid A records", complaint):
        return "dns"
    return "connection" if kind and NOT_REACHED.search(complaint) else kind


def explained(complaint: str, host: str) -> str:
    """Return what a complaint means, the fix, and the original message."""
    if kind := kind_of(complaint):
        what, fix = PROBLEMS.get(kind, REFUSED)
    elif "x509:" in complaint:
        what, fix = UNTRUSTED
    elif re.search(r"dial tcp|no such host|i/o timeout|context deadline|connection refused", complaint):
        what, fix = UNREACHABLE
    else:
        what, fix = REFUSED
    fields = {"host": host, "resolves_to": resolves_to(host) if "{resolves_to}" in fix else ""}
    return f"{what.format(**fields)}.\n   Fix: {fix.format(**fields)}\n   The message was: {complaint}"


def most_telling(found: list[str]) -> str:
    """Return the complaint that explains most: the authority's own, and the one whose kind comes first in PROBLEMS.

    The authority tries ports 80 and 443 in any order, and each may fail for another reason.
    """
    order = [*PROBLEMS]

    def rank(complaint: str) -> tuple[int, bool]:
        kind, type_ = kind_of(complaint), error_type(complaint)
        if not kind:
            return len(order) + 1, False
        # "Failed to connect" of another type is ranked by that type: Pebble also says so if something other than Caddy
        # answers on port 443, and then the result of port 80 explains more.
        place = type_ if kind == "connection" else kind
        return (order.index(place) if place in order else len(order)), place != kind

    # The last one of equal rank.
    return min(reversed(found), key=rank, default="")
