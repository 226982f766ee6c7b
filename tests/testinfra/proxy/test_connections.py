"""How long the proxy keeps connections open, and how many of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from proxies import ME, ME_AS_USER, NAME, NEIGHBOURS, UPGRADE, Ask, Proxy, networks_and_peer, request, run_proxy, wait
from testinfra.host import Host


@pytest.fixture(scope="module")
def ask(host: Host) -> Iterator[Ask]:
    with networks_and_peer(host, [NEIGHBOURS]) as ask:
        yield ask


# Loaded first: the timeouts of the public server become fifty times shorter.
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
    # 400 s by this clock: longer than Node's 300 s.
    "an upload that progresses": ({"lines": UPLOAD, "pieces": 80, "pause": 0.1}, True),
    "an upload that the server accepts late": ({"lines": LATE, "size": 8_000_000}, True),
    # 150 s without a byte.
    "an answer that takes long": ({"lines": request("/slow?seconds=3", "Connection: close")}, True),
    "a silent websocket": ({"lines": request("/socket", *UPGRADE), "idle": 4}, True),
    # nginx keeps connections for 60 s, and may be in front without our knowing.
    "idle for a minute": ({"lines": PAGE, "idle": 61 / 50}, True),
    "idle for two minutes": ({"lines": PAGE, "idle": 120 / 50}, False),
    "no request": ({"lines": [], "idle": 120 / 50}, False),
    "headers that take longer than a minute": ({"lines": PAGE, "pieces": 20, "pause": 0.1, "endless": True}, False),
    "an upload that stalls": ({"lines": UPLOAD, "pieces": 10, "pause": 0.1}, False),
    "an upload without data": ({"lines": UPLOAD}, False),
}
# fmt: on


def lasted(answer: Any) -> bool:
    """Whether a connection was not cut; a cut one may have been answered with 408."""
    return bool(answer) and answer.get("status") != 408 and answer.get("open", True)


def test_idle_connections_end_and_others_last(host: Host, ask: Ask) -> None:
    load = "data:text/javascript;base64," + base64.b64encode(HURRY.encode()).decode()
    hurry = ("--env", f"NODE_OPTIONS=--import={load}")
    ours, front, stock = Proxy(40), Proxy(41, "neighbours"), Proxy(42)
    options = {ours: hurry, front: hurry, stock: (*hurry, "--entrypoint", "configurable-http-proxy")}
    for proxy, run_options in options.items():
        wait(host, run_proxy(host, proxy, "--default-target=http://server:9000", run_options=run_options))
    *answers, kept, gone, cut = ask(
        [{"to": ours.front, **question} for question, _ in WAITS.values()]
        # 135 s, longer than Caddy's 120 s, lasts; 200 s does not.
        + [{"to": front.front, "lines": PAGE, "idle": seconds / 50} for seconds in (135, 200)]
        # Without our settings, an upload is cut: the clock does work.
        + [{"to": stock.front, **WAITS["an upload that progresses"][0]}]
    )
    assert {name: lasted(answer) for name, answer in zip(WAITS, answers, strict=True)} == {
        name: expected for name, (_, expected) in WAITS.items()
    }
    assert (lasted(kept), lasted(gone), lasted(cut)) == (True, False, False)
    assert [answer["seen"]["received"] for answer in answers[:2]] == [80, 8_000_000]


# Runs in the peer: requests that wait for servers, whose routes are removed meanwhile.
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

# A server that accepts no more connections, like an address where nothing runs.
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
# Another address for the same path, as after a restart of the server.
moved = api("POST", "/socket", f"http://{other}:9000")
for each in asked:
    each.join()
print(json.dumps({"api": [*made, *gone, moved], "kept": kept, "answers": answers}))
"""


def test_requests_to_a_server_whose_route_is_removed_end(host: Host, ask: Ask) -> None:
    proxy = Proxy(50)
    wait(host, run_proxy(host, proxy))
    command = f"docker exec {NAME}-peer python -c %s {proxy.front} {ME} {ME_AS_USER}"
    found = json.loads(host.check_output(command, LEFT))
    assert found["api"] == [201, 201, 201, 201, 204, 204, 201]
    assert found["kept"], "another route leads to the same address"
    answers = found["answers"]
    assert {name: status for name, (status, _) in answers.items()} == {
        "slow": 503,
        "websocket": 101,
        "full": 503,
        "other": 200,
    }
    # No request waits for the kernel's 130 s, nor for the server's 60.
    assert answers["full"][1] < 6
    assert all(8 < answers[name][1] < 30 for name in ("slow", "websocket"))


def test_many_idle_connections_block_nobody(ask: Ask) -> None:
    # From a user's server; and from outside, where a whole company may share one address.
    many = 3_000
    [of_server] = ask([{"to": NEIGHBOURS.front, "held_at": NEIGHBOURS.users, "held": many, "lines": PAGE}])
    assert (of_server["status"], len(of_server["open"])) == (200, 256)
    [of_company] = ask([{"to": NEIGHBOURS.front, "held": many, "lines": PAGE}])
    assert (of_company["status"], len(of_company["open"])) == (200, many)
    # The oldest are closed to make room.
    [of_many] = ask([{"to": NEIGHBOURS.front, "held": 6_100, "lines": PAGE}])
    assert of_many["status"] == 200
    assert of_many["open"] == list(range(101, 6_100))
