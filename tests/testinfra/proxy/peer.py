"""Runs in a container of the Hub's image: both the server behind the proxy and its client.

``serve`` answers with what tornado and JupyterHub see of a request; ``ask`` sends requests exactly as written, one per
connection, and prints the answers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

PORT = 9000


def serve() -> None:
    """Serve until the container is removed.

    ``/echo`` accepts any body, ``/late`` reads it late, ``/slow`` answers late, and ``/socket`` is a websocket; the
    first and the last also further down, as in a user's server.
    """
    from jupyterhub.utils import get_browser_protocol
    from tornado import web, websocket

    def view(handler: web.RequestHandler) -> dict[str, Any]:
        request = handler.request
        return {
            "ip": request.remote_ip,
            "protocol": request.protocol,
            "browser": get_browser_protocol(request),
            "headers": [[name.lower(), value] for name, value in request.headers.get_all()],
            "received": len(request.body or b""),
        }

    def add_headers(handler: web.RequestHandler) -> None:
        given = json.loads(handler.get_query_argument("answer", "[]"))
        for name, _ in given:
            handler.clear_header(name)
        for name, value in given:
            handler.add_header(name, value)

    class Echo(web.RequestHandler):
        def get(self) -> None:
            add_headers(self)
            self.write(view(self))

        post = get

    class Slow(web.RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(float(self.get_query_argument("seconds")))
            self.write(view(self))

    @web.stream_request_body
    class Late(web.RequestHandler):
        async def prepare(self) -> None:
            self.received = 0
            await asyncio.sleep(float(self.get_query_argument("seconds")))

        def data_received(self, chunk: bytes) -> None:
            self.received += len(chunk)

        def post(self) -> None:
            self.write({**view(self), "received": self.received})

    class Socket(websocket.WebSocketHandler):
        async def get(self, *args: Any, **kwargs: Any) -> None:
            add_headers(self)
            await super().get(*args, **kwargs)

        def open(self, *_: str, **__: str) -> None:
            self.write_message(json.dumps(view(self)))

    async def forever() -> None:
        ways = [(".*/echo", Echo), (".*/socket", Socket), ("/slow", Slow), ("/late", Late)]
        web.Application(ways).listen(PORT, xheaders=True)
        await asyncio.Event().wait()

    asyncio.run(forever())


def ask(
    to: str,
    lines: list[str],
    *,
    source: str = "",
    pieces: int = 0,
    pause: float = 0,
    size: int = 0,
    endless: bool = False,
    again: list[str] | None = None,
    idle: float = 0,
    held: int = 0,
    held_at: str = "",
) -> Any:
    """Send a request, and return the answer to it, or to a second request over the same connection.

    With `idle` or `held`, the answer's `open` says which connections are still open in the end.

    Args:
        to: an address of the proxy; the port is 8000, or the one after a "|".
        lines: the request's first line and headers.
        source: address to ask from.
        pieces: how many single bytes follow.
        pause: seconds before each piece, and before the second request.
        size: how many bytes follow at once.
        endless: the headers do not end; the pieces belong to them.
        again: the lines of the second request.
        idle: seconds to leave the connection idle after the answer.
        held: how many silent connections to open first.
        held_at: the proxy's address for those, if it differs.
    """
    if held:
        with ExitStack() as holding:
            idle_ones = [
                holding.enter_context(socket.create_connection((held_at or to, 8000), timeout=10)) for _ in range(held)
            ]
            answer = ask(to, lines)
            # Wait until no more of them are closed.
            before, still_open = list(range(-1, held)), list(range(held))
            while still_open != before:
                time.sleep(1)
                before, still_open = still_open, [number for number in still_open if is_open(idle_ones[number])]
            return {**answer, "open": still_open}
    host, _, port = to.partition("|")
    with socket.create_connection((host, int(port or 8000)), timeout=10, source_address=(source, 0)) as connection:
        connection.sendall(text(lines).removesuffix(b"\r\n\r\n" if endless else b""))
        try:
            connection.sendall(b"x" * size)
            for _ in range(pieces):
                time.sleep(pause)
                connection.sendall(b"x")
        except ConnectionError:
            # An answer that was sent before the connection was closed can still be read.
            pass
        try:
            answer = read(connection) if lines else {}
            if again:
                time.sleep(pause)
                connection.sendall(text(again))
                answer = read(connection)
        except ConnectionError:
            return None
        if idle:
            time.sleep(idle)
            answer = {**answer, "open": is_open(connection)}
        return answer


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it."""
    connection.setblocking(False)
    try:
        # There may be an answer that says why.
        while connection.recv(65536):
            pass
        return False
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def text(lines: list[str]) -> bytes:
    """Return a request's head as it is sent; empty without lines."""
    return b"" if not lines else "".join(line + "\r\n" for line in [*lines, ""]).encode()


def read(connection: socket.socket) -> Any:
    """Read an answer: status, headers, and what ``serve`` saw; None if the connection was closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65536)
        if not received:
            return None
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [[name.lower(), value.strip()] for name, _, value in (line.partition(":") for line in lines)]
    code = int(status.split()[1])
    length = int(dict(headers).get("content-length", 0))
    if code == 101:
        # One small text frame; servers do not mask frames.
        while len(body) < 4:
            body += connection.recv(65536)
        assert body[0] == 0x81
        short = body[1] < 126
        length = body[1] if short else int.from_bytes(body[2:4], "big")
        body = body[2 if short else 4 :]
    while len(body) < length:
        body += connection.recv(65536)
    seen = json.loads(body[:length]) if body.startswith(b'{"ip"') else None
    return {"status": code, "headers": headers, "seen": seen}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        with ThreadPoolExecutor(16) as several:
            print(json.dumps(list(several.map(lambda question: ask(**question), json.loads(sys.argv[2])))))
