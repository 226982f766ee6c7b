"""A synchronous websocket for tests.

The library's client for threads reads and writes in different threads, against which Python 3.11 does not protect TLS
connections (issue 461 of python-engineio explains it): 11 of 5000 such connections were lost at their start.  So this
wraps the client for asyncio, which does everything in one thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect

Result = TypeVar("Result")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="websockets", daemon=True).start()
    return loop


def _done(work: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


class Websocket:
    """An open websocket; its exceptions are those of the library websockets."""

    def __init__(self, url: str, **options: Any) -> None:
        async def opened() -> ClientConnection:
            return await connect(url, **options)

        self._connection = _done(opened())

    def send(self, text: str) -> None:
        """Send a text frame.

        Raises:
            websockets.ConnectionClosed: the connection broke.
        """
        _done(self._connection.send(text))

    def recv(self, timeout_s: float) -> str | bytes:
        """Return the next frame.

        Raises:
            TimeoutError: no frame arrived within `timeout_s` seconds.
            websockets.ConnectionClosed: the connection broke.
        """
        return _done(asyncio.wait_for(self._connection.recv(), timeout_s))

    def close(self) -> None:
        """Close it, if it is open."""
        _done(self._connection.close())

    def __enter__(self) -> Websocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
