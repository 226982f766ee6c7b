"""The Hub's HTTP server, with limits on each client, and trusting only the proxy's forwarded headers.

JupyterHub starts tornado's server without limits (jupyterhub.app.JupyterHub.start): bodies of 100 MB may take for ever,
a silent connection stays open for an hour, and any client can claim an address and a protocol.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from typing import Any, ClassVar

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)

API_BODY, PAGE_BODY = 2 * 1024**2, 256 * 1024
"""Bytes of a request's body: for the API, enough to add thousands of users at once; for pages, a form."""
MAX_BODIES = 32 * 1024**2
"""Bytes of all incomplete bodies together."""
HEAD = 32 * 1024
"""Bytes of a request's headers: twice the proxy's limit."""
BODY_S = 60
IDLE_S = 60
"""Seconds for a body; and until the end of the headers, from connection or last answer."""
MAX_PER_CLIENT = 128
"""Connections from one address other than the proxy's, that is from one user's server."""

# The forwarded headers that tornado and JupyterHub read; the proxy's headers/clients.mjs drops more.
_CLAIM = re.compile(r"forwarded|x[-_](forwarded([-_].*)?|real[-_]ip|scheme)", re.IGNORECASE)


def _host(address: Any) -> str:
    # A Unix socket has none.
    return str(address[0]) if address else ""


class HubServer(HTTPServer):
    """tornado's HTTPServer with limits on size, time and connections (installed by `HTTPServer.configure`)."""

    proxies: ClassVar[Callable[[], Collection[str]]] = frozenset
    """Returns the proxy's addresses."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Initialize with tornado's arguments, and our limits."""
        kwargs["max_body_size"], kwargs["max_header_size"] = API_BODY, HEAD
        kwargs["body_timeout"], kwargs["idle_connection_timeout"] = BODY_S, IDLE_S
        super().initialize(*args, **kwargs)
        self._per_client: Counter[str] = Counter()
        # Bytes received of incomplete bodies, by connection.
        self._incomplete: dict[Any, int] = {}
        self._total = 0

    def is_proxy(self, address: str) -> bool:
        """Whether this is one of the proxy's addresses, whose headers are trusted."""
        return address in type(self).proxies()

    def handle_stream(self, stream: Any, address: Any) -> None:
        """Serve a new connection, unless its address has too many."""
        peer = _host(address)
        if self._per_client[peer] >= MAX_PER_CLIENT and not self.is_proxy(peer):
            stream.close()
            return
        self._per_client[peer] += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Forget a connection."""
        peer = _host(server_conn.context.address)
        self._per_client[peer] -= 1
        if not self._per_client[peer]:
            del self._per_client[peer]
        super().on_close(server_conn)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Start a request, with checks of its headers and body."""
        return _Watched(self, super().start_request(server_conn, request_conn), request_conn)

    def count(self, connection: Any, size: int) -> None:
        """Count received bytes of a body; if all bodies together are too large, close the largest."""
        self._incomplete[connection] = self._incomplete.get(connection, 0) + size
        self._total += size
        if self._total > MAX_BODIES:
            largest = max(self._incomplete, key=lambda each: self._incomplete[each])
            self.release(largest)
            largest.close()

    def release(self, connection: Any) -> None:
        """Stop counting a body that is complete or aborted."""
        self._total -= self._incomplete.pop(connection, 0)


class _Watched(HTTPMessageDelegate):
    def __init__(self, server: HubServer, delegate: HTTPMessageDelegate, connection: Any) -> None:
        self.server, self.delegate, self.connection = server, delegate, connection

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if not self.server.is_proxy(_host(self.connection.context.address)):
            for name in [name for name in headers if _CLAIM.fullmatch(name)]:
                del headers[name]
        if isinstance(start_line, RequestStartLine) and "/hub/api/" not in start_line.path.partition("?")[0]:
            self.connection.set_max_body_size(PAGE_BODY)
        return self.delegate.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self.server.count(self.connection, len(chunk))
        return self.delegate.data_received(chunk)

    def finish(self) -> None:
        self.server.release(self.connection)
        self.delegate.finish()

    def on_connection_close(self) -> None:
        self.server.release(self.connection)
        self.delegate.on_connection_close()
