"""A websocket for tests that wait for each step.

Of the library's two clients, the one for threads reads in one and writes in another.  Python 3.11 does not guard a TLS
connection against that (python-engineio's issue 461 tells the whole story): here 11 of 5000 such connections were lost
at their beginning.  So this is the client for asyncio, all of which one thread does.
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
    """An open one; its errors are those of websockets."""

    def __init__(self, url: str, **options: Any) -> None:
        async def opened() -> ClientConnection:
            return await connect(url, **options)

        self._connection = _done(opened())

    def send(self, text: str) -> None:
        """Send a text.

        Raises:
            websockets.ConnectionClosed: the connection broke.
        """
        _done(self._connection.send(text))

    def recv(self, timeout_s: float) -> str | bytes:
        """Return the next frame.

        Raises:
            TimeoutError: none came within `timeout_s` seconds.
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
