"""The Hub's HTTP server, of which nobody can hold much, and which believes the proxy alone about who the client is.

JupyterHub makes tornado's without a limit (jupyterhub.app.JupyterHub.start): bodies of 100 MB are kept for as long as
they take, a silent connection for an hour, and whoever connects can claim an address and a protocol.
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
"""Bytes of a request's body: thousands of users that an administrator adds at once; a form."""
ALL_BODIES = 32 * 1024**2
"""Bytes of all bodies that are still coming."""
HEAD = 32 * 1024
"""Bytes of a request's head: twice what the proxy lets through."""
BODY_S = 60
IDLE_S = 60
"""Seconds for a body; and for a head, from when the connection was opened or the last request answered."""
MOST_OF_ONE = 128
"""Connections from one address that is not the proxy's: one user's server."""

# As in headers/clients.mjs of the proxy, which drops more: these are what tornado and JupyterHub read.
_CLAIM = re.compile(r"forwarded|x[-_](forwarded([-_].*)?|real[-_]ip|scheme)", re.IGNORECASE)


def _host(address: Any) -> str:
    # A Unix socket has none.
    return str(address[0]) if address else ""


class HubServer(HTTPServer):
    """tornado's HTTPServer with limits of size, time and number (`HTTPServer.configure` puts it in its place)."""

    proxies: ClassVar[Callable[[], Collection[str]]] = frozenset
    """Gives the proxy's addresses."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Take tornado's arguments; the limits are ours."""
        kwargs["max_body_size"], kwargs["max_header_size"] = API_BODY, HEAD
        kwargs["body_timeout"], kwargs["idle_connection_timeout"] = BODY_S, IDLE_S
        super().initialize(*args, **kwargs)
        self._of_one: Counter[str] = Counter()
        # Bytes of bodies that are still coming.
        self._coming: dict[Any, int] = {}
        self._all = 0

    def is_proxy(self, address: str) -> bool:
        """Whether it is the proxy's, whose word counts."""
        return address in type(self).proxies()

    def handle_stream(self, stream: Any, address: Any) -> None:
        """Serve a new connection, unless its address has its share."""
        peer = _host(address)
        if self._of_one[peer] >= MOST_OF_ONE and not self.is_proxy(peer):
            stream.close()
            return
        self._of_one[peer] += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: Any) -> None:
        """Forget a connection."""
        peer = _host(server_conn.context.address)
        self._of_one[peer] -= 1
        if not self._of_one[peer]:
            del self._of_one[peer]
        super().on_close(server_conn)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Take a request, after a look at its head and with an eye on its body."""
        return _Watched(self, super().start_request(server_conn, request_conn), request_conn)

    def take(self, connection: Any, size: int) -> None:
        """Count what came of a body; if all together are too large, the largest ends."""
        self._coming[connection] = self._coming.get(connection, 0) + size
        self._all += size
        if self._all > ALL_BODIES:
            largest = max(self._coming, key=lambda each: self._coming[each])
            self.let_go(largest)
            largest.close()

    def let_go(self, connection: Any) -> None:
        """Forget a body that is here, or will not come."""
        self._all -= self._coming.pop(connection, 0)


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
        self.server.take(self.connection, len(chunk))
        return self.delegate.data_received(chunk)

    def finish(self) -> None:
        self.server.let_go(self.connection)
        self.delegate.finish()

    def on_connection_close(self) -> None:
        self.server.let_go(self.connection)
        self.delegate.on_connection_close()
