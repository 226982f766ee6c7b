"""Limits what a user's server accepts in one request: it holds a body in memory several times.

Jupyter's own limit does not depend on the memory, and beyond it, tornado only closes the connection.  Here the rest of
the body is read and dropped, as the proxy and many clients do not look for an answer before they have sent everything.
JupyterLab uploads files in parts of 1 MB, but saves a notebook at once.
"""

import json
import os
from collections.abc import Awaitable, Mapping
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

VARIABLE = "MEM_LIMIT"
"""The memory limit in bytes, from JupyterHub; absent if there is none."""
COPIES, COPIES_PROXIED = 12, 5
"""The most memory that a body takes, in multiples of its size, and room for the server.

Measured with 60 MB: JSON with text that holds one emoji 10, a notebook 7.3, a file in base64 4.8, a list of numbers 7.
What is not parsed: 3.
"""
LARGEST = 512 * 1024**2
"""Jupyter's default, and its limit where memory is not limited."""
_NEVER = 2**62


def largest(environ: Mapping[str, str], path: str) -> int:
    """Return the largest body in bytes for a path below the server's prefix."""
    memory = environ.get(VARIABLE, "")
    if not memory.isdecimal() or not int(memory):
        return LARGEST
    rest = path.removeprefix(environ.get("JUPYTERHUB_SERVICE_PREFIX", "/"))
    return min(LARGEST, int(memory) // (COPIES if rest.startswith("api/") else COPIES_PROXIED))


class BoundedServer(HTTPServer):
    """tornado's HTTPServer with these limits (installed by `HTTPServer.configure`)."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Start a request, with a check of its body."""
        return _Bounded(super().start_request(server_conn, request_conn), request_conn)


class _Bounded(HTTPMessageDelegate):
    def __init__(self, delegate: HTTPMessageDelegate, connection: Any) -> None:
        self.delegate: HTTPMessageDelegate | None = delegate
        self.connection = connection
        self.received, self.largest = 0, LARGEST

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        self.largest = largest(os.environ, getattr(start_line, "path", "").partition("?")[0])
        # tornado would answer 400, and close the connection while the client sends.
        self.connection.set_max_body_size(_NEVER)
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > self.largest:
            self.delegate = None
        return self.delegate.headers_received(start_line, headers) if self.delegate else None

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.received += len(chunk)
        if self.delegate and self.received > self.largest:
            # Of unknown length.
            self.delegate.on_connection_close()
            self.delegate = None
        return self.delegate.data_received(chunk) if self.delegate else None

    def finish(self) -> None:
        if self.delegate:
            self.delegate.finish()
            return
        megabytes = self.largest // 1024**2
        message = (
            f"This request is too large: {self.received / 1024**2:.0f} MB, and the memory of this server allows"
            f" {megabytes} MB at once. Upload files with JupyterLab, which sends them in parts. Clear outputs of a"
            " notebook that cannot be saved. Or choose a server with more memory."
        )
        body = json.dumps({"message": message, "reason": None}).encode()
        headers = HTTPHeaders({"Content-Type": "application/json", "Content-Length": str(len(body))})
        self.connection.write_headers(ResponseStartLine("HTTP/1.1", 413, "Content Too Large"), headers, body)
        self.connection.finish()

    def on_connection_close(self) -> None:
        if self.delegate:
            self.delegate.on_connection_close()


def install() -> None:
    """Let Jupyter's server use these limits."""
    HTTPServer.configure(BoundedServer)
