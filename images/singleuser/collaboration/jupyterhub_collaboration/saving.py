"""Saves shared documents while people type, and before the server stops.

Upstream (jupyter_server_ydoc) waits until nobody has changed a document for a second: two who type without pause
postpone that for ever.  A save that failed is not tried again.  And when the server stops, upstream cancels the saves
that wait, and its threads keep the process from ending until Docker kills it.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

LAST_SAVES_S = 20
"""For the last saves of a server that stops; Docker kills it after 30 (STOP_S of the Hub's sharing/spawner.py)."""
_FAREWELL_S = 0.5
_RATIO = 2
"""Between two saves at least so many times the time that a save takes: a large notebook must not fill the processor."""
RETRY_S = 30
"""After a save that failed, such as on a full disk; each time twice as long."""
_GOING_AWAY = 1001
"""Close code (RFC 6455, 7.4.1)."""

Save = Callable[..., Awaitable[None]]
Stop = Callable[[Any], Awaitable[None]]

_pending: WeakKeyDictionary[Any, "Saves"] = WeakKeyDictionary()
"""By document (jupyter_server_ydoc.rooms.DocumentRoom); of those that were changed."""


class Saves:
    """The automatic saves of one document."""

    def __init__(self, save: Save, delay_s: float) -> None:
        self._save = save
        self._delay_s = delay_s
        self._is_due = False
        self._task: asyncio.Task[None] | None = None
        self._last = asyncio.Event()

    def changed(self, room: Any) -> None:
        """Save soon, however many changes follow."""
        self._is_due = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_saving(room))

    async def finish(self, room: Any) -> None:
        """Save at once what is not saved yet."""
        self._last.set()
        if self._task and not self._task.done():
            await asyncio.wait([self._task])
        if self._is_due:
            await self._save_now(room)

    async def _keep_saving(self, room: Any) -> None:
        pause, retry = self._delay_s, float(RETRY_S)
        while self._is_due and not self._last.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._last.wait(), pause)
            began = time.monotonic()
            if not await self._save_now(room):
                pause, retry = retry, retry * 2
            else:
                pause = max(self._delay_s, _RATIO * (time.monotonic() - began))

    async def _save_now(self, room: Any) -> bool:
        """Save, and return whether that changed the file; upstream logs errors, and tells the pages."""
        # First, because the document may change while it is being saved.
        self._is_due = False
        before = room._file.last_modified
        await self._save(room, None, save_now=True)
        done = bool(room._file.last_modified != before)
        self._is_due = self._is_due or not done
        return done


def steadily(save: Save, note: Callable[[], None]) -> Save:
    """Return DocumentRoom._maybe_save_document without its waiting for a pause.

    Args:
        save: upstream's.
        note: called at each change by a user.
    """

    async def maybe_save_document(room: Any, saving_document: Any, save_now: bool = False) -> None:
        note()
        if save_now:
            await save(room, saving_document, save_now=True)
        elif room._save_delay is not None:
            if room not in _pending:
                _pending[room] = Saves(save, room._save_delay)
            _pending[room].changed(room)

    return maybe_save_document


def saving_first(stop: Stop) -> Stop:
    """Return YDocExtension.stop_extension that saves everything first, and leaves nothing behind that runs."""

    async def stop_extension(extension: Any) -> None:
        if not extension.ywebsocket_server.started.is_set():
            return  # No document was opened.  Upstream's would fail.
        rooms = list(extension.ywebsocket_server.rooms.values())
        await _disconnect(rooms)
        last = [asyncio.create_task(saves.finish(room)) for room, saves in list(_pending.items())]
        if last and (late := (await asyncio.wait(last, timeout=LAST_SAVES_S))[1]):
            extension.log.error("%d documents could not be saved before the server stopped", len(late))
        await stop(extension)
        for store in filter(None, (room.ystore for room in rooms)):
            if store.started.is_set():
                await store.stop()
        for thread in threading.enumerate():
            # anyio's, which wait for more work of the stores.
            if type(thread).__module__ == "anyio._backends._asyncio":
                thread.stop()  # type: ignore[attr-defined]

    return stop_extension


async def _disconnect(rooms: list[Any]) -> None:
    """Close all connections: what is typed from now on stays in the page, which reconnects."""
    clients = [client for room in rooms for client in room.clients]
    connections = [client.ws_connection for client in clients if client.ws_connection]
    for client in clients:
        client.close(_GOING_AWAY, "The server is stopping.")
    end = time.monotonic() + _FAREWELL_S
    while any(room.clients for room in rooms) and time.monotonic() < end:
        await asyncio.sleep(0.02)
    for connection in connections:
        # A computer that sleeps does not answer.
        connection.on_connection_close()
    # For the tasks that serve them to end.
    await asyncio.sleep(0.02)
