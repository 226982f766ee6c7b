#!/usr/bin/python
"""Bring the Caddyfile into force, and see that browsers get a certificate, or say why they do not."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: caddy_serves
short_description: Bring the Caddyfile into force, and see that browsers get a certificate, or say why they do not
description:
  - Has Caddy read its Caddyfile; where that says the same as before, nothing happens.
  - Asks it for the host's certificate as a browser does. Where there is none, has it try at once, and follows its log.
  - Warns of a certificate that could not be renewed, or that is the operator's own and about to end.
options:
  container: {description: The container that Caddy runs in., type: str, required: true}
  network: {description: Its network, on which this machine reaches it., type: str, required: true}
  host: {description: The name that browsers use., type: str, required: true}
  own: {description: The certificate is the operator's and not Caddy's., type: bool, default: false}
  fresh: {description: "Caddy was started just now, and tries already.", type: bool, default: false}
  timeout_s: {description: Seconds to wait for a first certificate at the most., type: int, default: 150}
"""

RETURN = r"""
ends: {description: When the certificate ends, in UTC., type: str, returned: when openssl is there to read it}
"""

PORT = 443
CADDYFILE = ("--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile")
# Caddy renews when a third of the lifetime is left (certmagic, DefaultRenewalWindowRatio).
DUE = 1 / 3
OWN_DUE_DAYS = 21
LAST_LINES = 15
# What Caddy logs when an authority gave no certificate, and when none of all did.
GAVE_UP = ("could not get certificate from issuer", "will retry")
ACME = "urn:ietf:params:acme:error:"
# A connection that failed, in the words of authorities (Boulder, Pebble, step-ca) and of Go.  The type may be any:
# Pebble calls a port 443 that is closed "unauthorized".
NOT_REACHED = re.compile(
    r"failed to connect|connection refused|connection reset|timeout during connect"
    r"|(connection|i/o|operation) timed? ?out|error dialing|dial tcp|no route to host|(network|host) is unreachable",
    re.IGNORECASE,
)
# Error types of ACME (RFC 8555, 6.7), what they mean here, and the fix.
PROBLEMS = {
    "dns": (
        "the certificate authority finds no address for {host}",
        "at your DNS provider, add an A record (and AAAA, if the machine has IPv6) of {host} with the machine's"
        " address; a new one may take an hour to be seen everywhere",
    ),
    "connection": (
        "the certificate authority cannot reach {host} on port 80 or 443",
        "open TCP ports 80 and 443 in the firewalls of the machine and of its provider, and look whether"
        " {host} leads to this machine (it leads to {leads_to})",
    ),
    "unauthorized": (
        "something else answers at {host}",
        "let its DNS records (A and AAAA) lead to this machine alone ({host} leads to {leads_to}), and see that"
        " no other proxy stands in between",
    ),
    "tls": (
        "something else answers at {host} on port 443",
        "let its DNS records (A and AAAA) lead to this machine alone ({host} leads to {leads_to}), and see that"
        " no other proxy stands in between",
    ),
    "caa": (
        "a CAA record of the domain forbids this certificate authority",
        "allow it there, at your DNS provider, or use another authority (ingress_caddy.directory_url)",
    ),
    "rateLimited": (
        "the certificate authority refuses more certificates for now",
        "wait as long as it says; to try things out, set ingress_caddy: {{staging: true}}",
    ),
    "rejectedIdentifier": (
        "the certificate authority gives no certificates for {host}",
        "use a name in a public domain, another authority (ingress_caddy.directory_url), or a certificate of your"
        " own (ingress_caddy.certificate_file)",
    ),
    "invalidContact": ("the certificate authority refuses the e-mail address", "correct ingress_caddy.email"),
    "externalAccountRequired": (
        "the certificate authority wants an account that exists there already",
        "use another (ingress_caddy.directory_url), or a certificate of your own (ingress_caddy.certificate_file)",
    ),
}
UNTRUSTED = (
    "the machine does not trust the certificate authority's own certificate",
    "set ingress_caddy.ca_file to a file on the machine with its root certificate",
)
UNREACHABLE = (
    "the certificate authority cannot be reached from the machine",
    "look whether the machine reaches the internet (and that ingress_caddy.directory_url is right, where it is set)",
)
REFUSED = ("the certificate authority refuses", "see its words below")


@dataclass(frozen=True)
class Certificate:
    """What Caddy showed."""

    begins: datetime
    ends: datetime

    def left(self, now: datetime) -> float:
        """Return which part of its lifetime is still to come."""
        return (self.ends - now) / (self.ends - self.begins)


def docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Docker client."""
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)


def address_of(container: str, network: str) -> str:
    """Return the container's address on a network, "" where it has none."""
    described = json.loads(docker("container", "inspect", container).stdout or "[]")
    networks = described[0]["NetworkSettings"]["Networks"] if described else {}
    return str(networks.get(network, {}).get("IPAddress") or "")


def started_at(container: str) -> str:
    """Return when the container was started, as the engine writes it; "" where there is none."""
    return docker("container", "inspect", "--format", "{{.State.StartedAt}}", container).stdout.strip()


def shown(address: str, host: str) -> bytes | None:
    """Return the certificate that is shown to who asks for the host, None where there is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether browsers trust the authority is not asked: it may be one for trying, or the operator's own.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, PORT), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            return tls.getpeercert(binary_form=True)
    except OSError:
        return None


def parse(dates: str) -> Certificate:
    """Return what `openssl x509 -startdate -enddate` prints."""
    found = dict(line.partition("=")[::2] for line in dates.splitlines())
    begins, ends = (
        datetime.strptime(found[name], "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        for name in ("notBefore", "notAfter")
    )
    return Certificate(begins, ends)


def read(certificate: bytes) -> Certificate | None:
    """Return the dates of a certificate; None where the machine has no openssl."""
    command = ["openssl", "x509", "-inform", "der", "-noout", "-startdate", "-enddate"]
    try:
        done = subprocess.run(command, input=certificate, capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return parse(done.stdout.decode())


def entries(log: str) -> Iterator[dict[str, Any]]:
    """Yield what Caddy logged, a JSON object per line."""
    for line in log.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def complaints(log: str, host: str) -> Iterator[str]:
    """Yield why there is no certificate, in Caddy's words and those of the authority."""
    for entry in entries(log):
        if entry.get("level") != "error" or entry.get("identifier", host) != host:
            continue
        if entry.get("msg") == "challenge failed":
            # As of 2.6, and as of later ones.
            problem = entry.get("problem") or {"type": entry.get("problem_type"), "detail": entry.get("error")}
            yield f"{problem['type']} - {problem['detail']}"
        # The latter names no identifier.
        elif entry.get("msg") in GAVE_UP and host in (entry.get("identifier") or str(entry.get("error"))):
            yield str(entry.get("error"))


def gave_up(log: str, host: str) -> bool:
    """Return whether Caddy waits before it tries again."""
    return any(entry.get("msg") == "will retry" and host in str(entry.get("error")) for entry in entries(log))


def leads_to(host: str) -> str:
    """Return the addresses of a name, as this machine finds them."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, PORT)}
    except OSError:
        return "nowhere, as this machine sees it"
    return ", ".join(sorted(found))


def typed(complaint: str) -> str:
    """Return the type that an authority gave its complaint; "" where the complaint is Caddy's."""
    found = re.search(re.escape(ACME) + r"(\w+)", complaint)
    return found[1] if found else ""


def kind_of(complaint: str) -> str:
    """Return what an authority complains about, a key of PROBLEMS where it is known.

    Its words count for more than the type, which differs between authorities and between the ways that they try.
    """
    kind = typed(complaint)
    if kind and re.search(r"resolving|NXDOMAIN|no such host|no valid A records", complaint):
        return "dns"
    return "connection" if kind and NOT_REACHED.search(complaint) else kind


def explained(complaint: str, host: str) -> str:
    """Return what a complaint means, the fix, and its own words."""
    if kind := kind_of(complaint):
        what, fix = PROBLEMS.get(kind, REFUSED)
    elif "x509:" in complaint:
        what, fix = UNTRUSTED
    elif re.search(r"dial tcp|no such host|i/o timeout|context deadline|connection refused", complaint):
        what, fix = UNREACHABLE
    else:
        what, fix = REFUSED
    words = {"host": host, "leads_to": leads_to(host) if "{leads_to}" in fix else ""}
    return f"{what.format(**words)}.\n   Fix: {fix.format(**words)}\n   It said: {complaint}"


def worst(found: list[str]) -> str:
    """Return the complaint that says most: one by the authority itself, about what is named first above.

    The authority tries port 80 and port 443, in any order, and each may meet something else.
    """
    order = [*PROBLEMS]

    def rank(complaint: str) -> tuple[int, bool]:
        kind, type_ = kind_of(complaint), typed(complaint)
        if not kind:
            return len(order) + 1, False
        # "Failed to connect" of another type stands where that type does: Pebble says so, too, where what answers on
        # port 443 is not Caddy, and then what port 80 met tells more.
        place = type_ if kind == "connection" else kind
        return (order.index(place) if place in order else len(order)), place != kind

    # Of several that say as much, the last.
    return min(reversed(found), key=rank, default="")


def reason(container: str, host: str, since: str) -> str:
    """Return why there is no certificate, explained; "" where Caddy does not complain."""
    done = docker("logs", "--since", since, container)
    complaint = worst(list(complaints(done.stdout + done.stderr, host)))
    return explained(complaint, host) if complaint else ""


def last_words(container: str) -> str:
    """Return the end of the container's log."""
    done = docker("logs", "--tail", str(LAST_LINES), container)
    return (done.stdout + done.stderr).strip() or "(it wrote nothing)"


def reload(module: AnsibleModule, *options: str) -> None:
    """Have Caddy read its Caddyfile; one that it refuses leaves the old one in force."""
    container = module.params["container"]
    done = docker("exec", container, "caddy", "reload", *CADDYFILE, "--address", "unix//run/caddy/admin.sock", *options)
    if done.returncode:
        module.fail_json(
            msg=f"Caddy refused its configuration, and goes on with the one before: {done.stderr.strip()[-1500:]}"
        )


def first_certificate(module: AnsibleModule, address: str) -> bytes:
    """Have Caddy try at once, wait for the certificate, and return it; or fail with the reason."""
    container, host, timeout_s = (module.params[name] for name in ("container", "host", "timeout_s"))
    deadline, since = time.monotonic() + timeout_s, str(int(time.time()) - 1)
    if module.params["fresh"]:
        # It tries since then: what one way met may have been said before this module ran.
        since = started_at(container) or since
    else:
        # After a failure Caddy waits, for hours in the end.
        reload(module, "--force")
    while not (certificate := shown(address, host)):
        done = docker("logs", "--since", since, container)
        if gave_up(done.stdout + done.stderr, host) or time.monotonic() > deadline:
            why = reason(container, host, since)
            why = why or f"Caddy did not say why within {timeout_s} s. The end of its log:\n\n{last_words(container)}"
            module.fail_json(
                msg=f"The Hub runs, but browsers cannot reach it: there is no certificate for {host}.\n\n"
                f"Why: {why}\n\nCaddy tries again by itself, less and less often; deploy again, and it does at once."
                f" Its log: docker logs {container}"
            )
        time.sleep(0.5)
    return certificate


def warning(module: AnsibleModule, certificate: Certificate) -> str:
    """Return what the operator should know about a certificate that is near its end, "" where it is not."""
    container, host = module.params["container"], module.params["host"]
    now = datetime.now(UTC)
    ends = f"{certificate.ends:%Y-%m-%d %H:%M} UTC"
    if module.params["own"]:
        if (certificate.ends - now).days >= OWN_DUE_DAYS:
            return ""
        return (
            f"The certificate of {host} ends on {ends}. Renew it, put it into the files that"
            " ingress_caddy.certificate_file and key_file name on the machine, and deploy again"
        )
    if certificate.left(now) > DUE:
        return ""
    # What failed before it was due has been cured since.
    due = certificate.ends - (certificate.ends - certificate.begins) * DUE
    why = reason(container, host, str(int(due.timestamp())))
    return f"The certificate of {host} ends on {ends}, and could not be renewed: {why}" if why else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "network": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "own": {"type": "bool", "default": False},
            "fresh": {"type": "bool", "default": False},
            "timeout_s": {"type": "int", "default": 150},
        },
    )
    try:
        serve(module)
    except subprocess.TimeoutExpired as error:
        module.fail_json(msg=f"The engine did not answer within {error.timeout:.0f} s: {' '.join(error.cmd[:3])}")


def serve(module: AnsibleModule) -> None:
    """Bring the Caddyfile into force, and end the module with what there is to say of the certificate."""
    reload(module)
    address = address_of(module.params["container"], module.params["network"])
    certificate = shown(address, module.params["host"]) or first_certificate(module, address)
    read_out = read(certificate)
    warned = warning(module, read_out) if read_out else ""
    ends = {"ends": f"{read_out.ends:%Y-%m-%d %H:%M}"} if read_out else {}
    module.exit_json(changed=False, **ends, **({"warnings": [warned]} if warned else {}))


if __name__ == "__main__":
    main()
