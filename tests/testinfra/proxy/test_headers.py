"""Which proxies in front the proxy trusts about the client, and which headers its answers have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from e2e.client import eventually
from proxies import (
    EVERYBODY,
    LISTED,
    MAPPED,
    ME,
    ME_6,
    ME_AS_USER,
    NAME,
    NEIGHBOURS,
    NOBODY,
    OPEN,
    PROXIES,
    UPGRADE,
    Ask,
    Proxy,
    networks_and_peer,
    proxy_image,
    request,
    run_proxy,
    wait,
)
from testinfra.host import Host

YEAR, YEARS = "max-age=31536000", "max-age=63072000; preload"
FOR, PROTO = "X-Forwarded-For: ", "X-Forwarded-Proto: "
# Everything that a client can claim at once, in all kinds of spellings.
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
# Those that a trusted proxy in front may pass on from a client: they do not count even then.
LET_THROUGH = tuple(line for line in LIES if not line.lower().startswith(("x-forwarded-for", "x-forwarded-proto:")))
LET_THROUGH = tuple(line for line in LET_THROUGH if not line.startswith("X-Forwarded-Host"))


@dataclass(frozen=True)
class Case:
    """A request, and the client that it is from according to our proxy."""

    proxy: Proxy
    lines: tuple[str, ...]
    client: str
    protocol: str = "http"
    to: str = "front"
    source: str = ""


# fmt: off
CASES = {
    "no claim": Case(NOBODY, (), ME),
    "no proxy is trusted": Case(NOBODY, LIES, ME),
    "no proxy is trusted, over IPv6": Case(NOBODY, LIES, ME_6, to="front_6"),
    "an unlisted proxy": Case(LISTED, LIES, ME_AS_USER, to="users"),
    "listed": Case(LISTED, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "listed, over IPv6": Case(LISTED, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https", to="front_6"),
    "listed, with no claim": Case(LISTED, (), ME),
    "an empty claim": Case(LISTED, (FOR, PROTO), ME),
    "protocol alone": Case(LISTED, (PROTO + "https",), ME, "https"),
    "a forged entry on the left": Case(LISTED, (FOR + "6.6.6.6, 203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "a forged entry that looks trusted": Case(LISTED, (FOR + "192.0.2.1, 203.0.113.5",), "203.0.113.5"),
    "trusted hops on the right": Case(LISTED, (FOR + "6.6.6.6,203.0.113.5 ,192.0.2.1,\t2001:db8:1::7",), "203.0.113.5"),
    "the header twice": Case(LISTED, (FOR + "6.6.6.6", "x-FORWARDED-for: 203.0.113.5, 192.0.2.1"), "203.0.113.5"),
    "all entries are trusted": Case(LISTED, (FOR + "192.0.2.1, 192.0.2.2",), "192.0.2.1"),
    "a client with IPv6": Case(LISTED, (FOR + "2001:db8:2::1, 2001:DB8:1:0::7",), "2001:db8:2::1"),
    "another spelling": Case(LISTED, (FOR + "2001:0DB8:0002:0::0001",), "2001:db8:2::1"),
    "mapped": Case(LISTED, (FOR + "::ffff:203.0.113.5",), "203.0.113.5"),
    "mapped, in hex": Case(LISTED, (FOR + "203.0.113.5, 0:0:0:0:0:FFFF:c000:0201",), "203.0.113.5"),
    "a name instead of an address": Case(LISTED, (FOR + "203.0.113.5, unknown",), ME),
    "a name that is left of the client": Case(LISTED, (FOR + "unknown, 203.0.113.5",), "203.0.113.5"),
    "a bad entry left of a trusted one": Case(LISTED, (FOR + "203.0.113.5, <b>, 192.0.2.1",), ME),
    "an address with a port": Case(LISTED, (FOR + "203.0.113.5:1234",), ME),
    "too large a number": Case(LISTED, (FOR + "203.0.113.256",), ME),
    "an empty entry": Case(LISTED, (FOR + "203.0.113.5, ",), ME),
    "other headers of a client, passed on": Case(LISTED, (*LET_THROUGH, FOR + "203.0.113.5"), "203.0.113.5"),
    "the first protocol counts": Case(LISTED, (PROTO + "https, http",), ME, "https"),
    "the first protocol counts, in two headers": Case(LISTED, (PROTO + "http", PROTO + "https"), ME),
    "a protocol in capitals": Case(LISTED, (PROTO + "HTTPS",), ME, "https"),
    "a websocket's protocol": Case(LISTED, (PROTO + "wss",), ME, "https"),
    "a websocket's protocol without TLS": Case(LISTED, (PROTO + "ws",), ME),
    "an unknown protocol": Case(LISTED, (PROTO + "gopher, https",), ME),
    "a protocol named like a property of every object": Case(LISTED, (PROTO + "constructor",), ME),
    "a neighbour": Case(NEIGHBOURS, (FOR + "203.0.113.5", PROTO + "https"), "203.0.113.5", "https"),
    "a neighbour, over IPv6": Case(NEIGHBOURS, (FOR + "203.0.113.5",), "203.0.113.5", to="front_6"),
    "neighbours in a row": Case(NEIGHBOURS, (FOR + "203.0.113.5, 10.213.248.77",), "203.0.113.5"),
    "a neighbour on behalf of a user": Case(NEIGHBOURS, (FOR + "6.6.6.6, 10.213.249.9",), "10.213.249.9"),
    "users are not neighbours": Case(NEIGHBOURS, LIES, ME_AS_USER, to="users"),
    "users are neighbours unless they are excluded": Case(OPEN, (FOR + "203.0.113.5",), "203.0.113.5", to="users"),
    "the proxy's own address": Case(OPEN, LIES, OPEN.users, source=OPEN.users),
    "everybody": Case(EVERYBODY, (FOR + "203.0.113.5, 198.51.100.1", PROTO + "https"), "203.0.113.5", "https"),
    "everybody, over IPv6": Case(EVERYBODY, (FOR + "203.0.113.5",), "203.0.113.5", to="front_6"),
    "everybody but users": Case(EVERYBODY, LIES, ME_AS_USER, to="users"),
    "everybody but users, in between": Case(EVERYBODY, (FOR + "6.6.6.6, 10.213.249.7",), "10.213.249.7"),
    "a mapped network": Case(MAPPED, (FOR + "203.0.113.5",), "203.0.113.5"),
    "outside a mapped network": Case(MAPPED, LIES, ME_AS_USER, to="users"),
}
# fmt: on
# Request a page, open a websocket, and ask for a websocket where there is none.
WAYS = {
    "page": ("/echo", ("Connection: close",), 200),
    "websocket": ("/socket", UPGRADE, 101),
    "no websocket": ("/echo", UPGRADE, 200),
}


@pytest.fixture(scope="module")
def ask(host: Host) -> Iterator[Ask]:
    with networks_and_peer(host, PROXIES) as ask:
        yield ask


@pytest.fixture(scope="module")
def seen_by_server(ask: Ask) -> dict[tuple[str, str], Any]:
    """Return what the server behind the proxy saw, by case and way."""
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
def test_server_sees_the_true_client(seen_by_server: dict[tuple[str, str], Any], name: str, way: str) -> None:
    case, answer = CASES[name], seen_by_server[name, way]
    assert answer["status"] == WAYS[way][2]
    seen = answer["seen"]
    # As tornado and JupyterHub see it; the other headers are for other programs.
    assert (seen["ip"], seen["protocol"], seen["browser"]) == (case.client, case.protocol, case.protocol)
    about = [[name, value] for name, value in seen["headers"] if name not in ("host", "connection") and value]
    about = [pair for pair in about if pair[0] not in {line.partition(":")[0].lower() for line in UPGRADE}]
    trusted = case.client not in (ME_AS_USER, OPEN.users) and case.proxy is not NOBODY
    claims = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in case.lines} if trusted else {}
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


def test_two_clients_share_one_connection(ask: Ask) -> None:
    # As from a proxy in front, which reuses its connections.
    first, second = (FOR + "203.0.113.5", PROTO + "https"), (FOR + "203.0.113.6",)
    for now, then, client in ((first, second, ("203.0.113.6", "http")), (second, first, ("203.0.113.5", "https"))):
        question = {"to": LISTED.front, "lines": request("/echo", *now), "again": request("/echo", *then)}
        seen = ask([question])[0]["seen"]
        assert (seen["ip"], seen["protocol"]) == client


# A browser sends the cookie for `/user/ann/` to all paths below, so to ann's named servers, where others may be in.
OF_DEFAULT, OF_NAMED = "jupyterhub-user-ann", "jupyterhub-user-ann--my-lab"
LOGINS = ("-oauth-state", "-oauth-state-aBcDeFgH")
SESSION = ("_xsrf", "jupyterhub-session-id", "mine")
OF_HUB = ("jupyterhub-hub-login", "__Host-jupyterhub-hub-login", "__Host-service-mine")
ALL = OF_HUB + tuple(
    f"{prefix}{name}{login}"
    for prefix in ("", "__Host-")
    for name in (OF_DEFAULT, OF_NAMED, "jupyterhub-user-ben")
    for login in ("", *LOGINS)
)
OWN = {"/user/ann": OF_DEFAULT, "/user/ann/my-lab": OF_NAMED}
ROUTES = {
    **{path: {"user": "ann", "server_name": path[10:], "cookie": own} for path, own in OWN.items()},
    "/services/mine": {"service": "mine"},
}


@pytest.mark.parametrize("way", WAYS)
def test_server_gets_no_other_server_s_cookies(host: Host, ask: Ask, way: str) -> None:
    target = "http://server:9000"
    add = (
        "import json, sys, urllib.request\n"
        "for path, data in json.loads(sys.argv[1]).items():\n"
        f"    where = 'http://{LISTED.front}:8001/api/routes' + path\n"
        f"    body = json.dumps(dict(data, target='{target}')).encode()\n"
        "    urllib.request.urlopen(urllib.request.Request(where, body), timeout=10)"
    )
    host.check_output(f"docker exec {NAME}-peer python -c %s %s", add, json.dumps(ROUTES))
    path, lines, status = WAYS[way]
    cookie = "Cookie: " + "; ".join(f"{name}=1" for name in (*ALL, *SESSION))
    answers = ask(
        [{"to": LISTED.front, "lines": request(route + path, cookie, *lines)} for route in (*ROUTES, "")]
        # Without any left, and without any.
        + [
            {"to": LISTED.front, "lines": request("/user/ann" + path, *some, *lines)}
            for some in ((), (f"Cookie: {OF_NAMED}=1;jupyterhub-user-ben=1",))
        ]
    )
    assert [answer["status"] for answer in answers] == [status] * len(answers)
    seen = [dict(answer["seen"]["headers"]).get("cookie") for answer in answers]
    for route, got in zip((*ROUTES, ""), seen, strict=False):
        own = (
            [f"{prefix}{OWN[route]}{login}" for prefix in ("", "__Host-") for login in ("", *LOGINS)]
            if route in OWN
            else ALL
        )
        assert got == "; ".join(f"{name}=1" for name in (*own, *SESSION)), route
    assert seen[len(ROUTES) + 1 :] == [None, None]


# The headers of the server behind the proxy, and those that reach the browser.
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
    "software": ([["Server", "TornadoServer/6"], ["X-POWERED-BY", "PHP"], ["X-JupyterHub-Version", "6.1.1"]], {}),
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
    """Return the answers, by name, protocol and way."""
    questions = {
        (name, protocol, way): request(f"{path}?answer={quote(json.dumps(given))}", PROTO + protocol, *lines)
        for name, (given, _) in ANSWERS.items()
        for protocol in ("http", "https")
        for way, (path, lines, _) in WAYS.items()
    }
    all_of_them = ask([{"to": LISTED.front, "lines": lines} for lines in questions.values()])
    return dict(zip(questions, all_of_them, strict=True))


def values(answer: Any, names: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return all values of these headers in an answer."""
    return {name: [value for key, value in answer["headers"] if key == name] for name in names}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("protocol", ["http", "https"])
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_has_security_headers(
    answers: dict[tuple[str, str, str], Any], name: str, protocol: str, way: str
) -> None:
    answer = answers[name, protocol, way]
    assert answer["status"] == WAYS[way][2]
    expected = {**STANDARD, **ANSWERS[name][1]}
    if protocol == "http":
        expected["strict-transport-security"] = []
        expected |= {"set-cookie": [each.removesuffix("; Secure") for each in expected.get("set-cookie", [])]}
    assert values(answer, expected) == expected


def test_proxy_s_own_answers_have_security_headers(host: Host, ask: Ask) -> None:
    # Without a route, with an unreachable server, and the health check; as page and as websocket.
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
    # A long path does not fill the log.
    ask([{"to": away.front, "lines": request("/" + "x" * 15_000, "Connection: close")}])
    log = f"docker logs {NAME}-{away.at} 2>&1"
    eventually("the log", lambda: "503 GET /xxx" in host.check_output(log))
    assert max(map(len, host.check_output(log).splitlines())) < 1_100


def test_api_answers_have_no_added_headers(ask: Ask) -> None:
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
    "an empty entry": {"TRUSTED_PROXIES": "10.0.0.1,,10.0.0.2"},
    "spaces instead of commas": {"TRUSTED_PROXIES": "10.0.0.1 10.0.0.2"},
    "a word like neighbours": {"TRUSTED_PROXIES": "neighbors"},
    "the second entry": {"TRUSTED_PROXIES": "neighbours", "UNTRUSTED_NETWORKS": "10.0.0.0/8, users"},
    "neighbours as untrusted": {"UNTRUSTED_NETWORKS": "neighbours"},
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
    # The message offers the word only for the variable that accepts it.
    assert ('the keyword "neighbours"' in ended.stderr) == (wrong == "TRUSTED_PROXIES")
