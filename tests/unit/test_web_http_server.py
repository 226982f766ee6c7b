"""The Hub's HTTP server: limits of size, time and number, and whose word counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from jupyterhub.utils import get_browser_protocol
from jupyterhub_ansible.web import http_server
from jupyterhub_ansible.web.http_server import HubServer
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets


class Echo(web.RequestHandler):
    """Says who asked, and how much came."""

    async def get(self) -> None:
        await asyncio.sleep(float(self.get_query_argument("wait", "0")))
        request = self.request
        self.write({"ip": request.remote_ip, "by": get_browser_protocol(request), "size": len(request.body)})

    post = get


Scenario = Callable[[int], Coroutine[Any, Any, None]]


def serving(scenario: Scenario, *, proxies: tuple[str, ...] = ()) -> HubServer:
    """Run it against a server, made as JupyterHub makes one."""
    sockets = bind_sockets(0, "127.0.0.1")

    async def run() -> HubServer:
        server = HTTPServer(web.Application([(".*", Echo)]), xheaders=True, trusted_downstream=[], ssl_options=None)
        assert isinstance(server, HubServer)
        server.add_sockets(sockets)
        await scenario(sockets[0].getsockname()[1])
        await asyncio.sleep(0.05)
        return server

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HubServer, "proxies", lambda: proxies)
        before = HTTPServer._save_configuration()
        HTTPServer.configure(HubServer)
        try:
            return asyncio.run(run())
        finally:
            HTTPServer._restore_configuration(before)


def head(path: str = "/hub/login", *lines: str, method: str = "POST", size: int | None = None) -> bytes:
    given = [f"{method} {path} HTTP/1.1", "Host: hub", *lines, *([] if size is None else [f"Content-Length: {size}"])]
    return "".join(line + "\r\n" for line in [*given, ""]).encode()


@asynccontextmanager
async def connected(port: int, *sent: bytes, source: str = "127.0.0.1") -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    try:
        for each in sent:
            writer.write(each)
            await writer.drain()
        yield reader
    finally:
        writer.close()


async def status(reader: asyncio.StreamReader) -> int:
    """The status of the answer; 0 where there is none any more."""
    try:
        line = await asyncio.wait_for(reader.readline(), 2)
    except ConnectionError:
        return 0
    return int(line.split()[1]) if line else 0


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the connection was closed; nothing was answered."""
    try:
        return not await asyncio.wait_for(reader.read(1), 0.05)
    except ConnectionError:
        return True
    except TimeoutError:
        return False


async def body(reader: asyncio.StreamReader) -> Any:
    text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)
    [length] = [line for line in text.decode().lower().split("\r\n") if line.startswith("content-length")]
    return json.loads(await reader.readexactly(int(length.split()[1])))


@pytest.mark.parametrize(
    ("path", "size", "expected"),
    [
        ("/hub/login", http_server.PAGE_BODY, 200),
        ("/hub/login", http_server.PAGE_BODY + 1, 400),
        # Only the path counts.
        ("/hub/login?next=/hub/api/", http_server.PAGE_BODY + 1, 400),
        ("/hub/api/users", http_server.API_BODY, 200),
        ("/hub/api/users", http_server.API_BODY + 1, 400),
    ],
)
def test_bodies_are_small(path: str, size: int, expected: int) -> None:
    async def scenario(port: int) -> None:
        sent = b"x" * size if expected == 200 else b""
        async with connected(port, head(path, size=size), sent) as reader:
            assert await status(reader) == expected

    serving(scenario)


def test_bodies_without_a_length_are_small_too() -> None:
    async def scenario(port: int) -> None:
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        async with connected(port, head("/hub/login", "Transfer-Encoding: chunked"), chunk * 5) as reader:
            assert await status(reader) == 400

    serving(scenario)


def test_incomplete_bodies_together_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_BODIES", 500_000)

    async def scenario(port: int) -> None:
        big, small = head(size=200_000), head(size=100)
        async with (
            connected(port, big, b"x" * 150_000) as first,
            connected(port, big, b"x" * 199_000) as largest,
            connected(port, small, b"x" * 50) as login,
        ):
            await asyncio.sleep(0.1)
            async with connected(port, big, b"x" * 199_999) as last:
                await asyncio.sleep(0.1)
                # Room is made by those who hold most; whoever logs in does not notice.
                assert [await ended(each) for each in (first, largest, login, last)] == [False, True, False, False]

    server = serving(scenario)
    assert (server._total, server._incomplete) == (0, {})


def test_stalled_request_is_closed_and_a_long_answer_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "BODY_S", 0.3)
    monkeypatch.setattr(http_server, "IDLE_S", 0.3)

    async def scenario(port: int) -> None:
        async with (
            connected(port) as silent,
            connected(port, head()[:-2]) as unfinished,
            connected(port, head(size=10), b"x") as standing,
            connected(port, head("/hub/?wait=0.8", method="GET")) as slow,
            connected(port, head("/hub/", method="GET")) as kept,
        ):
            assert await body(kept)
            assert [await status(each) for each in (silent, unfinished, standing, kept)] == [0, 0, 0, 0]
            assert await status(slow) == 200

    serving(scenario)


def test_one_address_does_not_hold_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_PER_CLIENT", 3)

    async def scenario(port: int) -> None:
        async with connected(port), connected(port), connected(port) as third, connected(port) as fourth:
            assert [await ended(third), await ended(fourth)] == [False, True]
            # Others come in, and the proxy has no such bound.
            async with connected(port, head("/", method="GET"), source="127.0.0.3") as other:
                assert await status(other) == 200
            for _ in range(5):
                async with connected(port, head("/", method="GET"), source="127.0.0.2") as proxy:
                    assert await status(proxy) == 200
        # What was closed does not count.
        await asyncio.sleep(0.1)
        async with connected(port, head("/", method="GET")) as again:
            assert await status(again) == 200

    server = serving(scenario, proxies=("127.0.0.2",))
    assert server._per_client == {}


CLAIMS = ("X-Real-Ip: 6.6.6.6", "X-Forwarded-For: 6.6.6.6", "X-Scheme: https", "X-Forwarded-Proto: https")


@pytest.mark.parametrize("claim", [*CLAIMS, "Forwarded: for=6.6.6.6;proto=https", "x-real-IP: 6.6.6.6"])
def test_only_the_proxy_is_trusted_for_headers(claim: str) -> None:
    async def scenario(port: int) -> None:
        asked = head("/hub/api/", claim, method="GET")
        async with connected(port, asked) as reader:
            answer = await body(reader)
            assert (answer["ip"], answer["by"]) == ("127.0.0.1", "http")
        async with connected(port, asked, source="127.0.0.2") as reader:
            answer = await body(reader)
            assert (answer["ip"], answer["by"]) != ("127.0.0.2", "http")

    serving(scenario, proxies=("127.0.0.2",))
