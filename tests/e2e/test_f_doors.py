"""How much a stranger or a user's server can take of Hub and proxy, and what these keep of what users send."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from e2e.attacks import TIMEOUT_S
from e2e.client import NewUser, User, eventually
from e2e.deployment import SETTINGS, Deployment, docker

MB = 1024**2
MANY = 3_000

# Opens silent connections, without waiting for refused or dropped ones.
HOLD = f"""
import resource, select, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
held, poll = [], select.poll()
for _ in range({MANY}):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex({{to!r}})
    held.append(one)
print("held", flush=True)
time.sleep({{seconds}})
"""

# Requests to the ports of Hub and proxy with forged client addresses.
CLAIM = """
import http.client, json
answers = []
for host in {hosts!r}:
    connection = http.client.HTTPConnection(*host, timeout=10)
    connection.request("GET", "/hub/login?{marker}", headers={headers!r})
    answers.append(connection.getresponse().status)
print(answers)
"""
CLAIMS = dict.fromkeys(
    ("X-Real-Ip", "X-Forwarded-For", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"), "203.0.113.66"
)


@pytest.fixture(scope="module", autouse=True)
def settled(deployment: Deployment) -> None:
    """Deploy the inventory's settings, whatever an earlier file has changed."""
    deployment.settle()


def log(deployment: Deployment) -> str:
    """Return the Hub's log."""
    return docker("logs", deployment.hub)


def in_memory(deployment: Deployment) -> int:
    """Return the memory of the Hub's process, the child of its init process, in bytes."""
    init = deployment.containers()[deployment.hub]["State"]["Pid"]
    [hub] = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{hub}/status").read_text())[0]) * 1024


def test_unfinished_uploads_are_not_kept(deployment: Deployment) -> None:
    before = in_memory(deployment)
    address = (SETTINGS["jupyterhub_address"], SETTINGS["jupyterhub_port"])
    size = 60 * MB
    head = f"POST /hub/login HTTP/1.1\r\nHost: hub\r\nContent-Length: {size + 1}\r\n\r\n".encode()
    chunked = b"POST /hub/login HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{size:x}\r\n".encode()
    with ExitStack() as uploads:
        for first in (head, head, chunked, chunked):
            upload = uploads.enter_context(socket.create_connection(address, timeout=10))
            # The upload may be refused as too large.
            with contextlib.suppress(ConnectionError, TimeoutError):
                upload.sendall(first + b"x" * size)
        time.sleep(0.5)
        assert in_memory(deployment) - before < 10 * MB


@pytest.mark.parametrize("door", ["hub", "proxy"])
def test_many_connections_of_one_server_block_nobody(deployment: Deployment, alice: User, bob: User, door: str) -> None:
    container = deployment.containers()[f"{deployment.name}-{door}"]
    address = container["NetworkSettings"]["Networks"][deployment.users_network]["IPAddress"]
    with alice.server().kernel() as kernel, bob.server().kernel() as others:
        kernel.send(HOLD.format(to=(address, {"hub": 8081, "proxy": 8000}[door]), seconds=30))
        while "held" not in str(kernel.receive()["content"].get("text")):
            pass
        time.sleep(1)
        began = time.monotonic()
        # A page, the Hub's API, and a websocket that was open before.
        bob.request("GET", "/hub/home", timeout=TIMEOUT_S).raise_for_status()
        assert bob.api("GET", "users/bob", timeout=TIMEOUT_S).ok
        assert others.execute("1 + 1").result == "2"
        assert time.monotonic() - began < TIMEOUT_S


def test_server_cannot_forge_the_client_address(deployment: Deployment, alice: User) -> None:
    networks = {
        role: deployment.containers()[name]["NetworkSettings"]["Networks"][deployment.users_network]["IPAddress"]
        for role, name in (("hub", deployment.hub), ("proxy", deployment.proxy))
    }
    own = deployment.server("alice")["NetworkSettings"]["Networks"][deployment.users_network]["IPAddress"]
    marker = secrets.token_hex(8)
    hosts = [(networks["hub"], 8081), (networks["proxy"], 8000)]
    assert alice.server().run(CLAIM.format(hosts=hosts, marker=marker, headers=CLAIMS)).stdout == "[200, 200]\n"
    # The Hub logs a request after it has answered.
    eventually("both requests in the log", lambda: log(deployment).count(marker) >= 2)
    lines = [line for line in log(deployment).splitlines() if marker in line]
    assert len(lines) == 2
    assert all(f"@{own})" in line for line in lines)
    assert "203.0.113.66" not in log(deployment)


def test_hub_refuses_to_store_large_values(alice: User) -> None:
    large = "x" * 2_000_000
    for path, body in (
        ("users/alice/tokens", {"note": large}),
        ("users/alice/servers/large", {"user_options": {"profile": large}}),
        ("users/alice/servers/large", {"display_name": large}),
    ):
        answer = alice.api("POST", path, json=body)
        assert answer.status_code == 400
        assert "That is too much to store" in answer.json()["message"]
    assert not any(
        token["note"].startswith("xx") for token in alice.api("GET", "users/alice/tokens").json()["api_tokens"]
    )


def test_log_has_no_control_characters_and_long_lines(deployment: Deployment, alice: User, new_user: NewUser) -> None:
    marker = secrets.token_hex(8)
    dirt = f"{marker}\x1b[2J\x1b]0;owned\x07" + "x" * 200_000
    alice.request("POST", "/hub/security/csp-report", data=dirt.encode())
    stranger = User(deployment.url, dirt, "wrong")
    assert stranger.login().status_code in (400, 403, 429)
    server = new_user("dora").server()
    server.start("base")
    server.run(f"open('/proc/1/fd/1', 'w').write({dirt!r} + chr(10)); None")
    docker("kill", deployment.server("dora")["Id"])
    eventually("the Hub's notice", lambda: "dora ended" in log(deployment))
    text = log(deployment)
    assert text.count(marker) >= 2
    assert "\x1b[2J" not in text
    assert max(len(line) for line in text.splitlines()) < 5_000


@pytest.mark.parametrize("door", ["hub", "proxy"])
def test_hub_and_proxy_are_limited(deployment: Deployment, door: str) -> None:
    container = deployment.containers()[f"{deployment.name}-{door}"]
    limits = (Path("/proc") / str(container["State"]["Pid"]) / "limits").read_text()
    assert re.search(r"Max open files +16384 +16384 ", limits)
    assert container["HostConfig"]["Memory"] == 768 * MB
    assert 0 < container["HostConfig"]["PidsLimit"] <= 512
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
