"""Bodies that a user's server accepts: a real server of tornado, with clients that send at once, in parts, or more."""

import asyncio
import re
import socket
import threading
from collections.abc import Iterator
from unittest.mock import Mock

import pytest
import request_bodies
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, RequestStartLine
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

MB = 1024**2


class Size(RequestHandler):
    def put(self) -> None:
        self.write(str(len(self.request.body)))


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that may use 12 MB, and that would take 20 MB at once by tornado's own limit."""
    monkeypatch.setenv("MEM_LIMIT", str(12 * MB))
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    ports: list[int] = []
    started, ended = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = request_bodies.BoundedServer(Application([("/.*", Size)]), max_body_size=20 * MB)
        listening = bind_sockets(0, "127.0.0.1")
        ports.append(listening[0].getsockname()[1])
        server.add_sockets(listening)
        started.set()
        await ended.wait()
        server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    started.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join(10)


def answers(port: int, path: str, size: int, chunked: bool = False) -> list[str]:
    """Send a body and, on the same connection, a small one; return status lines and what follows."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\n"
        part = b"x" * (MB // 2)
        if chunked:
            connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for _ in range(size // len(part)):
                connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
            for _ in range(size // len(part)):
                connection.sendall(part)
        connection.sendall(f"{head}Content-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        received = b""
        while more := connection.recv(65536):
            received += more
    text = received.decode()
    return re.findall(r"HTTP/1\.1 (\d{3})", text) + re.findall(r'"message": "([^"]*)', text)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_memory_is_refused_and_the_connection_goes_on(port: int, chunked: bool) -> None:
    assert answers(port, "/user/ada/api/contents/x", MB, chunked) == ["200", "200"]
    *codes, message = answers(port, "/user/ada/api/contents/x?a=1", 40 * MB, chunked)
    assert codes == ["413", "200"]
    assert "40 MB, and the memory of this server allows 1 MB at once. Upload files with JupyterLab" in message
    # It may have been a notebook that was saved.
    assert "Clear outputs of a notebook that cannot be saved" in message


def test_of_a_body_that_is_known_to_be_too_large_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was received until it is too large would be kept in memory, too."""
    monkeypatch.setenv("MEM_LIMIT", str(12 * MB))
    delegate = Mock()
    bounded = request_bodies._Bounded(delegate, Mock())
    line = RequestStartLine("PUT", "/api/contents/x", "HTTP/1.1")
    bounded.headers_received(line, HTTPHeaders({"Content-Length": str(40 * MB)}))
    bounded.data_received(b"x")
    assert not delegate.mock_calls


def test_what_is_only_passed_on_may_be_larger(port: int) -> None:
    assert answers(port, "/user/ada/proxy/8501/upload", 2 * MB) == ["200", "200"]
    assert answers(port, "/user/ada/proxy/8501/upload", 4 * MB)[0] == "413"


def test_the_memory_limit_decides() -> None:
    environ = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"}
    limits = {
        memory: request_bodies.largest({**environ, "MEM_LIMIT": memory}, "/user/ada/api/contents/x") // MB
        for memory in (str(1536 * MB), str(64 * 1024 * MB), "0", "", "None")
    }
    # Jupyter's default at most, and without a limit.
    assert list(limits.values()) == [128, 512, 512, 512, 512]


def test_jupyter_s_server_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        request_bodies.install()
        assert isinstance(HTTPServer(Application()), request_bodies.BoundedServer)
    finally:
        HTTPServer.configure(None)
