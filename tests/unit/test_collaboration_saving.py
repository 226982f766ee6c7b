"""When shared documents are saved: while people type, after an error, before the server stops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_collaboration import saving
from jupyterhub_collaboration.saving import saving_first, steadily

DELAY_S = 0.1


class Room:
    """A document and its file; saving takes a moment, in which it may change."""

    def __init__(self, *, saves: bool = True, takes_s: float = 0.0) -> None:
        self._save_delay: float | None = DELAY_S
        self._file = SimpleNamespace(last_modified=0)
        self.saves, self.takes_s = saves, takes_s
        self.text = self.on_disk = ""
        self.count = 0
        self.clients: set[Any] = set()
        self.ystore: Any = None


async def upstream(room: Room, saving_document: Any, save_now: bool = False) -> None:
    assert save_now, "upstream would wait for a pause"
    room.count += 1
    text = room.text
    await asyncio.sleep(room.takes_s)
    if room.saves:
        room.on_disk = text
        room._file.last_modified += 1


def typing() -> tuple[Callable[[Room, str], Coroutine[Any, Any, None]], list[int]]:
    """Return what changes a document, and how often users were active."""
    noted: list[int] = []
    save = steadily(upstream, lambda: noted.append(1))

    async def change(room: Room, text: str) -> None:
        room.text += text
        await save(room, None)

    return change, noted


def test_typing_without_pause_does_not_postpone_saves() -> None:
    change, noted = typing()

    async def scene() -> Room:
        room = Room()
        for _ in range(40):
            await change(room, "x")
            await asyncio.sleep(DELAY_S / 4)
            # What was typed longer ago than the delay, and one keystroke of tolerance for a busy machine.
            assert len(room.text) - len(room.on_disk) <= 8
        await asyncio.sleep(3 * DELAY_S)
        return room

    room = asyncio.run(scene())
    assert room.on_disk == room.text
    assert 5 <= room.count <= 12, "not for each keystroke"
    assert len(noted) == 40


def test_change_during_a_save_is_saved_next() -> None:
    change, _ = typing()

    async def scene() -> Room:
        room = Room(takes_s=DELAY_S)
        await change(room, "a")
        await asyncio.sleep(1.5 * DELAY_S)
        assert room.count == 1
        await change(room, "b")
        await asyncio.sleep(5 * DELAY_S)
        return room

    room = asyncio.run(scene())
    assert (room.on_disk, room.count) == ("ab", 2)


def test_slow_saves_leave_time_for_others() -> None:
    change, _ = typing()

    async def scene() -> int:
        room = Room(takes_s=2 * DELAY_S)
        for _ in range(26):
            await change(room, "x")
            await asyncio.sleep(DELAY_S / 2)
        return room.count

    assert asyncio.run(scene()) <= 3


def test_save_that_failed_is_tried_again_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "RETRY_S", 2 * DELAY_S)
    change, _ = typing()

    async def scene() -> Room:
        room = Room(saves=False)
        await change(room, "a")
        await asyncio.sleep(1.5 * DELAY_S)
        assert (room.on_disk, room.count) == ("", 1)
        room.saves = True
        await asyncio.sleep(3 * DELAY_S)
        return room

    room = asyncio.run(scene())
    assert (room.on_disk, room.count) == ("a", 2)


def test_save_that_is_asked_for_is_upstreams_and_none_follows_without_automatic_saves() -> None:
    save = steadily(upstream, lambda: None)

    async def scene() -> Room:
        room = Room()
        room._save_delay = None
        room.text = "a"
        await save(room, None)
        await asyncio.sleep(2 * DELAY_S)
        assert room.count == 0
        await save(room, None, save_now=True)
        return room

    assert asyncio.run(scene()).on_disk == "a"


class Client:
    """A page's websocket; one that sleeps does not answer."""

    def __init__(self, room: Room, *, sleeps: bool = False) -> None:
        self.room, self.sleeps = room, sleeps
        self.ws_connection: Any = self
        self.closed: list[int] = []
        room.clients.add(self)

    def close(self, code: int, reason: str) -> None:
        self.ws_connection = None
        self.closed.append(code)
        if not self.sleeps:
            self.room.clients.discard(self)

    def on_connection_close(self) -> None:
        self.room.clients.discard(self)


class Store:
    """A store of changes, which is used."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.started.set()
        self.stopped = False

    async def stop(self) -> None:
        self.stopped = True


class Extension:
    """jupyter_server_ydoc's, whose own stop cancels what waits."""

    def __init__(self, *rooms: Room) -> None:
        self.ywebsocket_server = SimpleNamespace(rooms=dict(enumerate(rooms)), started=asyncio.Event())
        self.ywebsocket_server.started.set()
        self.log = logging.getLogger("test")
        self.found: list[str] = []


async def stop(extension: Extension) -> None:
    rooms = extension.ywebsocket_server.rooms
    extension.found = [room.on_disk for room in rooms.values()]
    rooms.clear()


def test_stop_saves_first_at_once() -> None:
    change, _ = typing()

    async def scene() -> tuple[Extension, Client, Client, Store]:
        typed, written = Room(), Room(takes_s=DELAY_S)
        typed._save_delay = 60
        awake, asleep = Client(typed), Client(typed, sleeps=True)
        typed.ystore = store = Store()
        await change(typed, "last words")
        await change(written, "a")
        # While it is being saved, it changes.
        await asyncio.sleep(1.5 * DELAY_S)
        await change(written, "b")
        extension = Extension(typed, written)
        await asyncio.wait_for(saving_first(stop)(extension), 5)
        return extension, awake, asleep, store

    extension, awake, asleep, store = asyncio.run(scene())
    assert extension.found == ["last words", "ab"]
    assert awake.closed == asleep.closed == [1001]
    assert not asleep.room.clients, "its task would keep a thread"
    assert store.stopped


def test_stop_without_documents_is_quiet() -> None:
    async def fails(extension: Extension) -> None:
        raise RuntimeError("WebsocketServer not running")

    async def scene() -> None:
        extension = Extension()
        extension.ywebsocket_server.started.clear()
        await saving_first(fails)(extension)

    asyncio.run(scene())


def test_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(saving, "LAST_SAVES_S", DELAY_S)
    change, _ = typing()

    async def scene() -> None:
        room = Room(takes_s=60)
        await change(room, "a")
        await asyncio.wait_for(saving_first(stop)(Extension(room)), 5)

    asyncio.run(scene())
    assert "1 documents could not be saved" in caplog.text


def test_stop_ends_threads_that_keep_the_process() -> None:
    class Thread(threading.Thread):
        """A worker of anyio."""

        __module__ = "anyio._backends._asyncio"

        def __init__(self) -> None:
            super().__init__(daemon=True)
            self.jobs: SimpleQueue[None] = SimpleQueue()

        def run(self) -> None:
            self.jobs.get()

        def stop(self) -> None:
            self.jobs.put(None)

    worker = Thread()
    worker.start()

    async def scene() -> None:
        await saving_first(stop)(Extension())

    asyncio.run(scene())
    worker.join(5)
    assert not worker.is_alive()
