"""Why there is no certificate, from Caddy's log; the scenario ingress has a real authority."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from plugins.module_utils import acme_problems
from plugins.modules import caddy_serves

HOST = "hub.example.net"
UNFINISHED = "no solvers available for remaining challenges (configured=[http-01 tls-alpn-01])"


def log(*entries: dict[str, Any]) -> str:
    return "\n".join(["not JSON", "[1]", *(json.dumps(entry) for entry in entries)])


def challenge(kind: str, detail: str, later: bool = False, host: str = HOST) -> dict[str, Any]:
    """As Caddy 2.6 writes it, or a later one."""
    name = f"urn:ietf:params:acme:error:{kind}"
    problem = {"problem": {"type": name, "detail": detail}} if later else {"problem_type": name, "error": detail}
    return {"level": "error", "msg": "challenge failed", "identifier": host, **problem}


RETRY = {"level": "error", "msg": "will retry", "error": f"[{HOST}] Obtain: {UNFINISHED}", "retrying_in": 60}


@pytest.mark.parametrize("later", [False, True])
def test_the_authoritys_complaint_comes_before_caddys_own(later: bool) -> None:
    written = log(challenge("connection", "10.0.0.1: Connection refused", later), RETRY)
    complaint = acme_problems.most_telling(list(acme_problems.complaints(written, HOST)))
    assert complaint == "urn:ietf:params:acme:error:connection - 10.0.0.1: Connection refused"


# Pebble's message if port 443 is closed, or something answers there that does not know the challenge.
UNREACHED = ("unauthorized", f"Failed to connect to {HOST}:443 for the tls-alpn-01 challenge")
REFUSED = ("connection", f"Get http://{HOST}/.well-known: dial tcp 10.0.0.1:80: connect: connection refused")
ELSE = ("unauthorized", "Non-200 status code from HTTP: 404")


@pytest.mark.parametrize(
    ("met", "what"),
    [
        # Both ports closed, in any order; or only one tried, since the other one was tried before.
        ([REFUSED, UNREACHED], "cannot reach"),
        ([UNREACHED, REFUSED], "cannot reach"),
        ([UNREACHED], "cannot reach"),
        ([REFUSED], "cannot reach"),
        # Boulder's messages.
        ([("connection", "10.0.0.1: Timeout during connect (likely firewall problem)")], "cannot reach"),
        ([("tls", "10.0.0.1: Connection reset by peer")], "cannot reach"),
        ([("serverInternal", "10.0.0.1: Error dialing: no route to host")], "cannot reach"),
        # Something else answers: on both ports, or on one.
        ([ELSE, UNREACHED], "something else answers"),
        ([UNREACHED, ELSE], "something else answers"),
        ([("unauthorized", 'Cannot negotiate ALPN protocol "acme-tls/1"'), ELSE], "something else answers"),
        ([("tls", "remote error: tls: no application protocol")], "something else answers"),
        ([ELSE, REFUSED], "cannot reach"),
        ([REFUSED, ("dns", "NXDOMAIN looking up A")], "no address"),
        ([("somethingNew", "no"), ("caa", "forbidden")], "CAA record"),
    ],
)
def test_the_most_telling_complaint(monkeypatch: pytest.MonkeyPatch, met: list[tuple[str, str]], what: str) -> None:
    """In any order of the challenges."""
    monkeypatch.setattr(acme_problems, "resolves_to", lambda host: "10.0.0.1")
    written = log(*(challenge(kind, detail) for kind, detail in met), RETRY)
    complaint = acme_problems.most_telling(list(acme_problems.complaints(written, HOST)))
    assert what in acme_problems.explained(complaint, HOST).splitlines()[0]


def test_the_log_is_read_from_the_start_of_a_fresh_caddy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries before the module runs: on a busy machine the first challenge has already failed by then."""
    monkeypatch.setattr(caddy_serves, "shown", lambda address, host: None)
    calls: list[tuple[str, ...]] = []

    def docker(*arguments: str) -> SimpleNamespace:
        calls.append(arguments)
        written = (
            log(challenge(*REFUSED), challenge(*ELSE), RETRY) if arguments[0] == "logs" else "2026-11-01T00:00:00Z"
        )
        return SimpleNamespace(returncode=0, stdout=written, stderr="")

    monkeypatch.setattr(caddy_serves, "docker", docker)
    monkeypatch.setattr(acme_problems, "resolves_to", lambda host: "10.0.0.1")
    failed: list[str] = []

    def fail(msg: str) -> None:
        failed.append(msg)
        raise StopIteration

    parameters = {"container": "caddy", "host": HOST, "timeout_s": 9, "fresh": True}
    with pytest.raises(StopIteration):
        caddy_serves.first_certificate(SimpleNamespace(params=parameters, fail_json=fail), "10.0.0.1")
    assert "cannot reach" in failed[0]
    assert {call[2] for call in calls if call[0] == "logs"} == {"2026-11-01T00:00:00Z"}


def test_entries_about_other_names_are_ignored() -> None:
    others = {"level": "error", "msg": "will retry", "error": "[other.example.net] Obtain: x"}
    written = log(challenge("dns", "NXDOMAIN", host="other.example.net"), others)
    assert list(acme_problems.complaints(written, HOST)) == []
    assert not acme_problems.gave_up(written, HOST)
    assert acme_problems.most_telling([]) == ""


def test_caddy_gave_up_when_it_waits_before_it_tries_again() -> None:
    assert not acme_problems.gave_up(log(challenge("connection", "x")), HOST)
    assert acme_problems.gave_up(log(RETRY), HOST)


@pytest.mark.parametrize(
    ("complaint", "what", "fix"),
    [
        ("urn:ietf:params:acme:error:dns - NXDOMAIN", f"no address for {HOST}", "A record"),
        ("urn:ietf:params:acme:error:malformed - while resolving URL", f"no address for {HOST}", "A record"),
        ("urn:ietf:params:acme:error:connection - refused", f"reach {HOST} on port 80 or 443", "resolves to 10.0.0.1)"),
        ("urn:ietf:params:acme:error:unauthorized - 404", f"something else answers at {HOST}", "resolves to 10.0.0.1)"),
        ("urn:ietf:params:acme:error:tls - no", f"something else answers at {HOST} on port", "resolves to 10.0.0.1)"),
        ("urn:ietf:params:acme:error:caa - forbidden", "a CAA record", "allow it there"),
        ("urn:ietf:params:acme:error:rateLimited - too many", "refuses more", "ingress_caddy: {staging: true}"),
        ("urn:ietf:params:acme:error:rejectedIdentifier - no", f"no certificates for {HOST}", "certificate_file"),
        ("urn:ietf:params:acme:error:invalidContact - no", "refuses the e-mail address", "ingress_caddy.email"),
        ("urn:ietf:params:acme:error:externalAccountRequired - no", "requires an account", "directory_url"),
        ("urn:ietf:params:acme:error:somethingNew - no", "the certificate authority refuses", "its message below"),
        ("Get https://ca: x509: certificate signed by unknown authority", "does not trust", "ingress_caddy.ca_file"),
        ("Get https://ca: dial tcp 10.0.0.9:443: i/o timeout", "cannot be reached", "internet"),
        ("lookup ca on 127.0.0.11:53: no such host", "cannot be reached", "directory_url"),
        ("whatever", "the certificate authority refuses", "its message below"),
    ],
)  # fmt: skip
def test_a_complaint_is_explained(monkeypatch: pytest.MonkeyPatch, complaint: str, what: str, fix: str) -> None:
    monkeypatch.setattr(acme_problems, "resolves_to", lambda host: "10.0.0.1")
    first, second, third = acme_problems.explained(complaint, HOST).splitlines()
    assert what in first
    assert fix in second.removeprefix("   Fix: ")
    assert third == f"   The message was: {complaint}"


def test_the_dates_of_a_certificate() -> None:
    certificate = caddy_serves.parse("notBefore=Nov  1 00:00:00 2026 GMT\nnotAfter=Jan 30 00:00:00 2027 GMT\n")
    assert certificate.ends == datetime(2027, 1, 30, tzinfo=UTC)
    assert certificate.left(datetime(2026, 12, 16, tzinfo=UTC)) == 0.5


def test_a_name_without_an_address_resolves_to_nothing() -> None:
    assert acme_problems.resolves_to("127.0.0.1") == "127.0.0.1"
    assert acme_problems.resolves_to("nothing.invalid") == "nothing, as seen from this machine"
