"""The health check of all containers: which answers count as healthy."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from project import IMAGES

HEALTHCHECK = IMAGES / "base/healthcheck"


@contextmanager
def server(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Listen on a port for one connection, and answer."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                question = b""
                # Sent line by line.
                while not question.endswith(b"\r\n\r\n"):
                    question += connection.recv(4096)
                asked.append(question)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(listener.getsockname()[1]), asked
        thread.join(timeout=10)


def check(port: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HEALTHCHECK, port, "/hub/health"], capture_output=True, text=True, timeout=20, check=False)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0, ""),
        (b"HTTP/1.1 200\r\n\r\n", 0, ""),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", 1, "answered 503\n"),
        (b"", 1, "answered nothing\n"),
    ],
)
def test_an_answer_of_200_is_health(answer: bytes, code: int, said: str) -> None:
    with server(answer) as (port, asked):
        done = check(port)
    assert asked == [b"GET /hub/health HTTP/1.0\r\nHost: localhost\r\n\r\n"]
    assert (done.returncode, done.stdout) == (code, said)


def test_without_a_listener_it_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    done = check(port)
    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_without_an_answer_it_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = check(str(listener.getsockname()[1]))
    assert (done.returncode, done.stdout) == (1, "answered nothing\n")
