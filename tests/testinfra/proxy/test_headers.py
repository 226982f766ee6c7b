"""Whom the proxy believes about the client, which headers its answers have, and how long it and others wait.

Proxies of the image that was built, each with other settings, stand between one peer (peer.py) that asks and the same
peer as the server behind: on the networks `front`, where a proxy in front of ours would be, and `users`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from testinfra.host import Host
from vps import image

PEER = (Path(__file__).parent / "peer.py").read_text()
NAME = "test-proxies"
FRONT, USERS = f"{NAME}-front", f"{NAME}-users"
SUBNETS = {FRONT: ("10.213.248.0/24", "fd00:213:248::/64"), USERS: ("10.213.249.0/24", "fd00:213:249::/64")}
# The peer's own addresses, and a proxy's.
ME, ME_AS_USER, ME_6 = "10.213.248.9", "10.213.249.9", "fd00:213:248::9"
YEAR, YEARS = "max-age=31536000", "max-age=63072000; preload"


@dataclass(frozen=True)
class Proxy:
    """A proxy with settings of its own, at `.<at>` of both networks."""

    at: int
    trusted: str = ""
    untrusted: str = ""

    @property
    def front(self) -> str:
        return f"10.213.248.{self.at}"

    @property
    def front_6(self) -> str:
        return f"fd00:213:248::{self.at}"

    @property
    def users(self) -> str:
        return f"10.213.249.{self.at}"


NOBODY = Proxy(20)
LISTED = Proxy(21, f"{ME}, 192.0.2.0/24,2001:db8:1::/48, {ME_6}")
NEIGHBOURS = Proxy(22, "neighbours", "10.213.249.0/24, fd00:213:249::/64")
EVERYBODY = Proxy(23, "0.0.0.0/0,::/0", "10.213.249.0/24")
OPEN = Proxy(24, "neighbours")
MAPPED = Proxy(25, "::ffff:10.213.248.0/120")
PROXIES = (NOBODY, LISTED, NEIGHBOURS, EVERYBODY, OPEN, MAPPED)

FOR, PROTO = "X-Forwarded-For: ", "X-Forwarded-Proto: "
# Everything that a client may claim at once, in spellings of all kinds.
LIES = (
    *("Forwarded: for=6.6.6.6;proto=https", "X-Forwarded: for=6.6.6.6"),
    *("X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 6.6.6.7", "X_Forwarded_For: 6.6.6.6"),
    *("X-REAL-IP: 6.6.6.6", "X-Real-Ip: 6.6.6.8", "X_Real_IP: 6.6.6.6"),
    *("X-Scheme: https", "x-sCHEME: https", "X_Scheme: https", "X-Forwarded-Scheme: https", "X-Url-Scheme: https"),
    *("X-Forwarded-Proto: https", "X-FORWARDED-PROTO: https", "X-Forwarded-Ssl: on"),
    *("X-Forwarded-Host: evil.example", "X-Forwarded-Server: evil.example"),
    *("X-Forwarded-Port: 666", "X-Forwarded-Prefix: /evil"),
    *("X-Client-IP: 6.6.6.6", "X_Client_Ip: 6.6.6.6", "True-Client-IP: 6.6.6.6", "Client-Ip: 6.6.6.6"),
    *("CF-Connecting-IP: 6.6.6.6", "CF-Connecting-IPv6: 2001:db8::6", "Fastly-Client-IP: 6.6.6.6"),
    *("X-Cluster-Client-Ip: 6.6.6.6", "X-Original-Forwarded-For: 6.6.6.6", "X-Remote-Addr: 6.6.6.6"),
    *("X-Azure-ClientIP: 6.6.6.6", "X-Envoy-External-Address: 6.6.6.6", "Front-End-Https: on"),
)
# Of these a trusted proxy in front may let through what a client sent it: they count for nothing from there, too.
LET_THROUGH = tuple(line for line in LIES if not line.lower().startswith(("x-forwarded-for", "x-forwarded-proto:")))
LET_THROUGH = tuple(line for line in LET_THROUGH if not line.startswith("X-Forwarded-Host"))


@dataclass(frozen=True)
class Case:
    """A request, and who the client is by it."""

    proxy: Proxy
    lines: tuple[str, ...]
    client: str
    protocol: str = "http"
    to: str = "front"
    source: str = ""


# fmt: off
CASES = {
    "no claim": Case(NOBODY, (), ME),
    "nobody is believed": Case(NOBODY, LIES, ME),
    "nobody is believed over IPv6": Case(NOBODY, LIES, ME_6, to="front_6"),
    "one who is not listed": Case(LISTED, LIES, ME_AS_USER, to="users"),
    "listed": Case(LISTED, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "listed, over IPv6": Case(LISTED, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https", to="front_6"),
    "listed, with no claim": Case(LISTED, (), ME),
    "an empty claim": Case(LISTED, (FOR, PROTO), ME),
    "protocol alone": Case(LISTED, (PROTO + "https",), ME, "https"),
    "a forged entry on the left": Case(LISTED, (FOR + "6.6.6.6, 203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "a forged entry that looks trusted": Case(LISTED, (FOR + "192.0.2.1, 203.0.113.5",), "203.0.113.5"),
    "trusted hops on the right": Case(LISTED, (FOR + "6.6.6.6,203.0.113.5 ,192.0.2.1,\t2001:db8:1::7",), "203.0.113.5"),
    "the header twice": Case(LISTED, (FOR + "6.6.6.6", "x-FORWARDED-for: 203.0.113.5, 192.0.2.1"), "203.0.113.5"),
    "all are trusted": Case(LISTED, (FOR + "192.0.2.1, 192.0.2.2",), "192.0.2.1"),
    "a client with IPv6": Case(LISTED, (FOR + "2001:db8:2::1, 2001:DB8:1:0::7",), "2001:db8:2::1"),
    "another spelling": Case(LISTED, (FOR + "2001:0DB8:0002:0::0001",), "2001:db8:2::1"),
    "mapped": Case(LISTED, (FOR + "::ffff:203.0.113.5",), "203.0.113.5"),
    "mapped, in hex": Case(LISTED, (FOR + "203.0.113.5, 0:0:0:0:0:FFFF:c000:0201",), "203.0.113.5"),
    "a name for an address": Case(LISTED, (FOR + "203.0.113.5, unknown",), ME),
    "a name that is left of the client": Case(LISTED, (FOR + "unknown, 203.0.113.5",), "203.0.113.5"),
    "a bad entry left of a trusted one": Case(LISTED, (FOR + "203.0.113.5, <b>, 192.0.2.1",), ME),
    "an address with a port": Case(LISTED, (FOR + "203.0.113.5:1234",), ME),
    "too large a number": Case(LISTED, (FOR + "203.0.113.256",), ME),
    "a gap": Case(LISTED, (FOR + "203.0.113.5, ",), ME),
    "other headers of a client, let through": Case(LISTED, (*LET_THROUGH, FOR + "203.0.113.5"), "203.0.113.5"),
    "the first protocol counts": Case(LISTED, (PROTO + "https, http",), ME, "https"),
    "the first protocol counts, in two headers": Case(LISTED, (PROTO + "http", PROTO + "https"), ME),
    "a protocol in capitals": Case(LISTED, (PROTO + "HTTPS",), ME, "https"),
    "a websocket's protocol": Case(LISTED, (PROTO + "wss",), ME, "https"),
    "a websocket's protocol without TLS": Case(LISTED, (PROTO + "ws",), ME),
    "a protocol that is none": Case(LISTED, (PROTO + "gopher, https",), ME),
    "a protocol that every object has": Case(LISTED, (PROTO + "constructor",), ME),
    "a neighbour": Case(NEIGHBOURS, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "a neighbour, over IPv6": Case(NEIGHBOURS, (FOR + "203.0.113.5",), "203.0.113.5", to="front_6"),
    "neighbours in a row": Case(NEIGHBOURS, (FOR + "203.0.113.5, 10.213.248.77",), "203.0.113.5"),
    "a neighbour for a user": Case(NEIGHBOURS, (FOR + "6.6.6.6, 10.213.249.9",), "10.213.249.9"),
    "users are no neighbours": Case(NEIGHBOURS, LIES, ME_AS_USER, to="users"),
    "users are neighbours where nobody says no": Case(OPEN, (FOR + "203.0.113.5",), "203.0.113.5", to="users"),
    "a stranger on a neighbours' address": Case(OPEN, LIES, OPEN.users, source=OPEN.users),
    "everybody": Case(EVERYBODY, (FOR + "203.0.113.5, 198.51.100.1", PROTO + "https"), "203.0.113.5", "https"),
    "everybody, over IPv6": Case(EVERYBODY, (FOR + "203.0.113.5",), "203.0.113.5", to="front_6"),
    "everybody but users": Case(EVERYBODY, LIES, ME_AS_USER, to="users"),
    "everybody but users, in between": Case(EVERYBODY, (FOR + "6.6.6.6, 10.213.249.7",), "10.213.249.7"),
    "a mapped network": Case(MAPPED, (FOR + "203.0.113.5",), "203.0.113.5"),
    "outside a mapped network": Case(MAPPED, LIES, ME_AS_USER, to="users"),
}
# fmt: on
UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MTIzNDU2Nzg5MGFiY2RlZg=="),
)  # fmt: skip
# The same ask for a page, open a websocket, and want one where there is none.
WAYS = {
    "page": ("/echo", ("Connection: close",), 200),
    "websocket": ("/socket", UPGRADE, 101),
    "no websocket": ("/echo", UPGRADE, 200),
}

Ask = Callable[..., list[Any]]


def request(path: str, *lines: str, host: str = "hub.example", method: str = "GET") -> list[str]:
    """The lines of a request."""
    return [f"{method} {path} HTTP/1.1", f"Host: {host}", *lines]


def proxy_image(host: Host) -> str:
    """The proxy's image."""
    images: str = host.check_output("docker image ls --filter label=jupyterhub-ansible.kind=proxy --format '{{.ID}}'")
    return images.split()[0]


def run_proxy(host: Host, at: Proxy, *options: str, run_options: tuple[str, ...] = ()) -> str:
    """Start a proxy on `front`; it joins `users` late, as an engine does it."""
    name = f"{NAME}-{at.at}"
    command = ["docker", "run", "--detach", "--name", name, "--network", FRONT, "--ip", at.front, "--ip6", at.front_6]
    command += ["--env", f"TRUSTED_PROXIES={at.trusted}", "--env", f"UNTRUSTED_NETWORKS={at.untrusted}", *run_options]
    # The public port listens on :: where it can, and so sees IPv4 addresses mapped.
    command += [proxy_image(host), "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001", *options]
    host.check_output(" ".join(["%s"] * len(command)), *command)
    host.check_output("docker network connect --ip %s %s %s", at.users, USERS, name)
    return name


def wait(host: Host, name: str) -> None:
    """The proxy answers."""
    script = "for _ in $(seq 100); do healthcheck 8000 /_chp_healthz && exit; sleep 0.1; done; exit 1"
    host.check_output("docker exec %s sh -c %s", name, script)


@pytest.fixture(scope="module")
def ask(host: Host) -> Iterator[Ask]:
    """Ask from the peer, all questions in one go; from within the named container's network instead."""

    def ask_all(questions: list[dict[str, Any]], within: str = "") -> list[Any]:
        where = f"docker run --rm --network container:{within} --entrypoint python {image(host)}"
        how = where if within else f"docker exec {NAME}-peer python"
        answers: list[Any] = json.loads(host.check_output(how + " -c %s ask %s", PEER, json.dumps(questions)))
        return answers

    def remove() -> None:
        # One after the other: removed at once, they can leave a network that the engine takes for used (seen: 20.10).
        host.run(
            f"docker ps --all --quiet --filter name=^{NAME}- | xargs --max-args 1 --no-run-if-empty docker rm --force"
        )
        host.run(f"docker network rm {FRONT} {USERS}")

    remove()
    try:
        for network, (four, six) in SUBNETS.items():
            host.check_output("docker network create --subnet %s --ipv6 --subnet %s %s", four, six, network)
        peer = f"docker run --detach --name {NAME}-peer --network {FRONT} --ip {ME} --ip6 {ME_6} --network-alias server"
        host.check_output(f"{peer} --entrypoint python {image(host)} -c %s serve", PEER)
        host.check_output(f"docker network connect --ip {ME_AS_USER} {USERS} {NAME}-peer")
        for name in [run_proxy(host, proxy, "--default-target=http://server:9000") for proxy in PROXIES]:
            wait(host, name)
        yield ask_all
    finally:
        remove()


@pytest.fixture(scope="module")
def told(ask: Ask) -> dict[tuple[str, str], Any]:
    """What the server behind saw, by case and way."""
    questions: dict[str, list[tuple[tuple[str, str], dict[str, Any]]]] = {}
    for name, case in CASES.items():
        for way, (path, lines, _) in WAYS.items():
            question = {"to": getattr(case.proxy, case.to), "lines": request(path, *case.lines, *lines)}
            within = f"{NAME}-{case.proxy.at}" if case.source else ""
            questions.setdefault(within, []).append(((name, way), {**question, "source": case.source}))
    return {
        key: answer
        for within, asked in questions.items()
        for (key, _), answer in zip(asked, ask([question for _, question in asked], within), strict=True)
    }


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_server_is_told_the_truth(told: dict[tuple[str, str], Any], name: str, way: str) -> None:
    case, answer = CASES[name], told[name, way]
    assert answer["status"] == WAYS[way][2]
    seen = answer["seen"]
    # To tornado and JupyterHub, and in each header for programs that read others.
    assert (seen["ip"], seen["protocol"], seen["browser"]) == (case.client, case.protocol, case.protocol)
    about = [[name, value] for name, value in seen["headers"] if name not in ("host", "connection") and value]
    about = [pair for pair in about if pair[0] not in {line.partition(":")[0].lower() for line in UPGRADE}]
    believed = case.client not in (ME_AS_USER, OPEN.users) and case.proxy is not NOBODY
    claims = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in case.lines} if believed else {}
    assert sorted(about) == sorted(
        [
            ["x-real-ip", case.client],
            ["x-scheme", case.protocol],
            ["x-forwarded-for", case.client],
            ["x-forwarded-proto", case.protocol],
            ["x-forwarded-host", claims.get("x-forwarded-host", "hub.example")],
            ["x-forwarded-port", {"http": "80", "https": "443"}[case.protocol]],
        ]
    )
    assert any(value.startswith(YEAR) for name, value in answer["headers"] if name == "strict-transport-security") == (
        case.protocol == "https"
    )


def test_host_and_port_of_a_trusted_proxy_are_passed_on(ask: Ask) -> None:
    lines = request("/echo", "X-Forwarded-Host: hub.example:8443", "X-Forwarded-Port: 1", "Connection: close")
    own = request("/echo", "Connection: close", host="hub.example:8000")
    questions = [{"to": proxy.front, "lines": asked} for proxy in (LISTED, NOBODY) for asked in (lines, own)]
    seen = [dict(answer["seen"]["headers"]) for answer in ask(questions)]
    assert [(headers["x-forwarded-host"], headers["x-forwarded-port"]) for headers in seen] == [
        ("hub.example:8443", "8443"),
        ("hub.example:8000", "8000"),
        ("hub.example", "80"),
        ("hub.example:8000", "8000"),
    ]


def test_two_clients_over_one_connection(ask: Ask) -> None:
    # As from a proxy in front, which keeps its connections.
    first, second = (FOR + "203.0.113.5", PROTO + "https"), (FOR + "203.0.113.6",)
    for now, then, client in ((first, second, ("203.0.113.6", "http")), (second, first, ("203.0.113.5", "https"))):
        question = {"to": LISTED.front, "lines": request("/echo", *now), "again": request("/echo", *then)}
        seen = ask([question])[0]["seen"]
        assert (seen["ip"], seen["protocol"]) == client


# What the server behind says of itself, and what becomes of it.
STANDARD = {
    "x-content-type-options": ["nosniff"],
    "referrer-policy": ["strict-origin-when-cross-origin"],
    "x-frame-options": ["SAMEORIGIN"],
    "content-security-policy": ["frame-ancestors 'self'"],
    "strict-transport-security": [YEAR],
    "server": [],
    "x-powered-by": [],
    "x-jupyterhub-version": [],
}
ANSWERS: dict[str, tuple[list[list[str]], dict[str, list[str]]]] = {
    "nothing": ([], {}),
    "who it is": ([["Server", "TornadoServer/6"], ["X-POWERED-BY", "PHP"], ["X-JupyterHub-Version", "6.1.1"]], {}),
    "the Hub's pages": (
        [["Content-Security-Policy", "frame-ancestors 'none'; report-uri /hub/security/csp-report"]],
        {"content-security-policy": ["frame-ancestors 'none'; report-uri /hub/security/csp-report"]},
    ),
    "a server that may be framed elsewhere": (
        [["content-security-policy", "sandbox allow-scripts;Frame-Ancestors 'self' https://lms.example"]],
        {"content-security-policy": ["sandbox allow-scripts;Frame-Ancestors 'self' https://lms.example"]},
    ),
    "a policy about something else": (
        [["Content-Security-Policy", "default-src 'self'; report-uri /x-frame-ancestors"]],
        {"content-security-policy": ["default-src 'self'; report-uri /x-frame-ancestors; frame-ancestors 'self'"]},
    ),
    "two policies": (
        [["Content-Security-Policy", "sandbox"], ["Content-Security-Policy", "default-src 'self'"]],
        {"content-security-policy": ["sandbox, default-src 'self'; frame-ancestors 'self'"]},
    ),
    "stricter": (
        [["X-Frame-Options", "deny"], ["Referrer-Policy", "no-referrer"], ["Strict-Transport-Security", YEARS]],
        {"x-frame-options": ["DENY"], "referrer-policy": ["no-referrer"], "strict-transport-security": [YEARS]},
    ),
    "laxer": (
        [
            *(["X-Frame-Options", "ALLOWALL"], ["Referrer-Policy", "unsafe-url"]),
            *(["Strict-Transport-Security", "max-age=0"], ["X-Content-Type-Options", "sniff"]),
        ],
        {},
    ),
    "cookies": (
        [["Set-Cookie", "a=1; Path=/"], ["Set-Cookie", "b=2"], ["Set-Cookie", "c=secure; secure; Path=/"]],
        {"set-cookie": ["a=1; Path=/; Secure", "b=2; Secure", "c=secure; secure; Path=/"]},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def answers(ask: Ask) -> dict[tuple[str, str, str], Any]:
    """The answers, by what the server behind said, protocol and way."""
    questions = {
        (name, protocol, way): request(f"{path}?answer={quote(json.dumps(given))}", PROTO + protocol, *lines)
        for name, (given, _) in ANSWERS.items()
        for protocol in ("http", "https")
        for way, (path, lines, _) in WAYS.items()
    }
    all_of_them = ask([{"to": LISTED.front, "lines": lines} for lines in questions.values()])
    return dict(zip(questions, all_of_them, strict=True))


def values(answer: Any, names: dict[str, list[str]]) -> dict[str, list[str]]:
    """An answer's headers of these names, each as often as it is there."""
    return {name: [value for key, value in answer["headers"] if key == name] for name in names}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", ["http", "https"])
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_has_the_headers(answers: dict[tuple[str, str, str], Any], name: str, protocol: str, way: str) -> None:
    answer = answers[name, protocol, way]
    assert answer["status"] == WAYS[way][2]
    expected = {**STANDARD, **ANSWERS[name][1]}
    if protocol == "http":
        expected["strict-transport-security"] = []
        expected |= {"set-cookie": [each.removesuffix("; Secure") for each in expected.get("set-cookie", [])]}
    assert values(answer, expected) == expected


def test_own_answers_of_the_proxy_have_the_headers_too(host: Host, ask: Ask) -> None:
    # No route, a server that is away, and the health check; pages and websockets.
    lost, away = Proxy(30, "neighbours"), Proxy(31, "neighbours")
    wait(host, run_proxy(host, lost))
    wait(host, run_proxy(host, away, "--default-target=http://127.0.0.1:9"))
    asked = ((lost, "/"), (away, "/"), (away, "/_chp_healthz"))
    own = ask(
        [
            {"to": proxy.front, "lines": request(path, PROTO + "https", *lines)}
            for proxy, path in asked
            for lines in ((), UPGRADE)
        ]
    )
    assert [answer["status"] for answer in own] == [404, 404, 503, 503, 200, 503]
    for answer in own:
        assert values(answer, STANDARD) == STANDARD
    # What a client asks for does not fill the log.
    ask([{"to": away.front, "lines": request("/" + "x" * 15_000, "Connection: close")}])
    lines = host.check_output("docker logs %s 2>&1", f"{NAME}-{away.at}").splitlines()
    assert any("503 GET /xxx" in line for line in lines)
    assert max(map(len, lines)) < 1_100


def test_api_is_left_alone(ask: Ask) -> None:
    answer = ask([{"to": f"{EVERYBODY.front}|8001", "lines": request("/api/routes", *LIES, "Connection: close")}])[0]
    assert answer["status"] == 200
    assert {name for name, _ in answer["headers"]} == {"content-type", "date", "connection", "transfer-encoding"}


# fmt: off
BAD = {
    "a name": {"TRUSTED_PROXIES": "proxy.example"},
    "a number that is too large": {"TRUSTED_PROXIES": "10.0.0.256"},
    "too long a prefix": {"TRUSTED_PROXIES": "10.0.0.0/33"},
    "too long a prefix of IPv6": {"TRUSTED_PROXIES": "2001:db8::/129"},
    "too short a prefix of a mapped network": {"TRUSTED_PROXIES": "::ffff:10.0.0.0/95"},
    "no prefix": {"TRUSTED_PROXIES": "10.0.0.0/"},
    "two prefixes": {"TRUSTED_PROXIES": "10.0.0.0/8/8"},
    "a netmask": {"TRUSTED_PROXIES": "10.0.0.0/255.0.0.0"},
    "a gap": {"TRUSTED_PROXIES": "10.0.0.1,,10.0.0.2"},
    "spaces for commas": {"TRUSTED_PROXIES": "10.0.0.1 10.0.0.2"},
    "a word like neighbours": {"TRUSTED_PROXIES": "neighbors"},
    "the second entry": {"TRUSTED_PROXIES": "neighbours", "UNTRUSTED_NETWORKS": "10.0.0.0/8, users"},
    "neighbours who are not trusted": {"UNTRUSTED_NETWORKS": "neighbours"},
    "two lines": {"UNTRUSTED_NETWORKS": "10.0.0.0/8\nLISTEN"},
}
# fmt: on


@pytest.mark.parametrize("name", BAD)
def test_bad_value_stops_the_proxy_before_it_listens(host: Host, name: str) -> None:
    command = ["timeout", "20", "docker", "run", "--rm", "--init"]
    command += [word for variable, value in BAD[name].items() for word in ("--env", f"{variable}={value}")]
    command += [proxy_image(host)]
    ended = host.run(" ".join(["%s"] * len(command)), *command)
    wrong = list(BAD[name])[-1]
    assert (ended.rc, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert ended.stderr.startswith(f"{wrong}: ")
    # The word is offered only where it means something.
    assert ('the word "neighbours"' in ended.stderr) == (wrong == "TRUSTED_PROXIES")


# Loaded before all else: the clock by which the public server waits goes fifty times as fast.
HURRY = """
import http from "node:http";
import net from "node:net";
const create = http.createServer, every = globalThis.setInterval, wait = net.Socket.prototype.setTimeout;
http.createServer = (options, listener) => {
  if (typeof options !== "object") return create(options, listener);
  const { requestTimeout = 300_000, headersTimeout = Math.min(60_000, requestTimeout) } = options;
  const { connectionsCheckingInterval = 30_000 } = options;
  const hurried = { requestTimeout, headersTimeout, connectionsCheckingInterval };
  for (const name in hurried) hurried[name] /= 50;
  return create({ ...options, ...hurried }, listener);
};
globalThis.setInterval = (call, time) => every(call, time / 50);
net.Socket.prototype.setTimeout = function (time, ...more) { return wait.call(this, time / 50, ...more); };
"""
UPLOAD, PAGE = request("/echo", "Content-Length: 80", "Connection: close", method="POST"), request("/echo")
LATE = request("/late?seconds=3", "Content-Length: 8000000", "Connection: close", method="POST")
# fmt: off
WAITS: dict[str, tuple[dict[str, Any], bool]] = {
    # 400 s by that clock: longer than Node's 300 s.
    "an upload that moves": ({"lines": UPLOAD, "pieces": 80, "pause": 0.1}, True),
    "an upload that the server takes late": ({"lines": LATE, "size": 8_000_000}, True),
    # 150 s without a byte.
    "an answer that takes long": ({"lines": request("/slow?seconds=3", "Connection: close")}, True),
    "a websocket without a word": ({"lines": request("/socket", *UPGRADE), "idle": 4}, True),
    # nginx, which may be in front unannounced, keeps them for 60 s.
    "a little idle": ({"lines": PAGE, "idle": 61 / 50}, True),
    "idle": ({"lines": PAGE, "idle": 120 / 50}, False),
    "not a word": ({"lines": [], "idle": 120 / 50}, False),
    "a head that takes longer than a minute": ({"lines": PAGE, "pieces": 20, "pause": 0.1, "endless": True}, False),
    "an upload that stands still": ({"lines": UPLOAD, "pieces": 10, "pause": 0.1}, False),
    "an upload of which nothing comes": ({"lines": UPLOAD}, False),
}
# fmt: on


def lasted(answer: Any) -> bool:
    """Whether a connection did not end too early; one that is cut may be told so (408)."""
    return bool(answer) and answer.get("status") != 408 and answer.get("open", True)


def test_connections_that_nobody_uses_end_and_others_last(host: Host, ask: Ask) -> None:
    load = "data:text/javascript;base64," + base64.b64encode(HURRY.encode()).decode()
    hurry = ("--env", f"NODE_OPTIONS=--import={load}")
    ours, front, stock = Proxy(40), Proxy(41, "neighbours"), Proxy(42)
    options = {ours: hurry, front: hurry, stock: (*hurry, "--entrypoint", "configurable-http-proxy")}
    for proxy, run_options in options.items():
        wait(host, run_proxy(host, proxy, "--default-target=http://server:9000", run_options=run_options))
    *answers, kept, gone, cut = ask(
        [{"to": ours.front, **question} for question, _ in WAITS.values()]
        # 135 s: longer than Caddy's 120 s; and too long.
        + [{"to": front.front, "lines": PAGE, "idle": seconds / 50} for seconds in (135, 200)]
        # Without our part, an upload is cut: the clock does what it should.
        + [{"to": stock.front, **WAITS["an upload that moves"][0]}]
    )
    assert {name: lasted(answer) for name, answer in zip(WAITS, answers, strict=True)} == {
        name: expected for name, (_, expected) in WAITS.items()
    }
    assert (lasted(kept), lasted(gone), lasted(cut)) == (True, False, False)
    assert [answer["seen"]["received"] for answer in answers[:2]] == [80, 8_000_000]


# Asks a proxy, in the peer, for what servers owe; while it waits, their routes go.
LEFT = """
import http.client, json, socket, sys, threading, time
proxy, me, other = sys.argv[1:]

def api(method, path, target=None):
    connection = http.client.HTTPConnection(proxy, 8001, timeout=10)
    connection.request(method, f"/api/routes{path}", json.dumps({"target": target}) if target else None)
    return connection.getresponse().status

def ask(name, method, path, **headers):
    connection = http.client.HTTPConnection(proxy, 8000, timeout=60)
    connection.request(method, path, headers=headers)
    status = connection.getresponse().status
    if status == 101:
        while connection.sock.recv(4096):
            pass
    answers[name] = [status, time.monotonic() - began]

# One that takes no connections any more, as little as an address where nobody is.
full = socket.create_server((me, 9001), backlog=0)
filling = [socket.socket() for _ in range(4)]
for one in filling:
    one.setblocking(False)
    one.connect_ex((me, 9001))
time.sleep(0.2)
made = [api("POST", "/slow", f"http://{me}:9000"), api("POST", "/socket", f"http://{me}:9000")]
made += [api("POST", "/late", f"http://{other}:9000"), api("POST", "/full", f"http://{me}:9001")]
answers, began = {}, time.monotonic()
upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
upgrade |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "MTIzNDU2Nzg5MGFiY2RlZg=="}
asked = [threading.Thread(target=ask, args=args, kwargs=headers) for *args, headers in (
    ("slow", "GET", "/slow?seconds=60", {}), ("websocket", "GET", "/socket", upgrade), ("full", "GET", "/full", {}),
    ("other", "POST", "/late?seconds=12", {"Content-Length": "0"}))]
for each in asked:
    each.start()
time.sleep(1)
gone = [api("DELETE", "/slow"), api("DELETE", "/full")]
time.sleep(7)
kept = "slow" not in answers
# Another address for the same path, as after a start.
moved = api("POST", "/socket", f"http://{other}:9000")
for each in asked:
    each.join()
print(json.dumps({"api": [*made, *gone, moved], "kept": kept, "answers": answers}))
"""


def test_what_waits_for_a_server_that_has_no_route_any_more_ends(host: Host, ask: Ask) -> None:
    proxy = Proxy(50)
    wait(host, run_proxy(host, proxy))
    command = f"docker exec {NAME}-peer python -c %s {proxy.front} {ME} {ME_AS_USER}"
    found = json.loads(host.check_output(command, LEFT))
    assert found["api"] == [201, 201, 201, 201, 204, 204, 201]
    assert found["kept"], "another route leads there"
    answers = found["answers"]
    assert {name: status for name, (status, _) in answers.items()} == {
        "slow": 503,
        "websocket": 101,
        "full": 503,
        "other": 200,
    }
    # Nobody had to wait for the kernel's 130 s, nor for the server's 60.
    assert answers["full"][1] < 6
    assert all(8 < answers[name][1] < 30 for name in ("slow", "websocket"))


def test_idle_connections_keep_nobody_out(ask: Ask) -> None:
    # From a user's server; and from the outside, where a whole company may be one address.
    many = 3_000
    [of_server] = ask([{"to": NEIGHBOURS.front, "held_at": NEIGHBOURS.users, "held": many, "lines": PAGE}])
    assert (of_server["status"], len(of_server["open"])) == (200, 256)
    [of_company] = ask([{"to": NEIGHBOURS.front, "held": many, "lines": PAGE}])
    assert (of_company["status"], len(of_company["open"])) == (200, many)
    # The oldest make room.
    [of_many] = ask([{"to": NEIGHBOURS.front, "held": 6_100, "lines": PAGE}])
    assert of_many["status"] == 200
    assert of_many["open"] == list(range(101, 6_100))
