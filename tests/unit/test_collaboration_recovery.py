"""Opening a document after a crash: the file, what the store has beyond it, and what another program wrote."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_collaboration import recovery
from jupyterhub_collaboration.recovery import from_store, keep_whole, note_saves


class MissingError(Exception):
    """The store does not have the document."""


class Document:
    """A shared document; `ydoc` is the document itself."""

    def __init__(self, content: Any = "", known: str = "") -> None:
        self.content, self.hash = content, known
        self.ydoc = self

    async def aget(self) -> Any:
        return self.content

    def observe(self, _: Callable[[Any], None]) -> None:
        """Tell of changes: there are none."""


class Store:
    """What was stored of a document: its content and the hash of the file that was last saved."""

    def __init__(self, stored: Document | None) -> None:
        self.path = "json:file:1"
        self.stored = stored
        self.noted = b""
        self.start_lock, self.started = asyncio.Lock(), asyncio.Event()

    def register_compression_callbacks(self, *callbacks: Callable[[bytes], bytes]) -> None:
        self.callbacks = callbacks

    async def start(self) -> None:
        self.started.set()

    async def apply_updates(self, document: Document) -> None:
        assert self.started.is_set()
        if not self.stored:
            raise MissingError
        document.content, document.hash = self.stored.content, self.stored.hash

    async def read(self) -> AsyncIterator[tuple[bytes, bytes, float]]:
        for noted in (b"older", self.noted, b""):
            yield b"update", noted, 0.0

    async def write(self, update: bytes) -> None:
        raise AssertionError(update)


def hash_of(content: Any) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()


class File:
    """A file, with the contents manager that reads it."""

    path = "a.txt"
    hash_algorithm = "sha256"
    folder = Path("/nowhere")

    def __init__(self, content: Any) -> None:
        self.content = content
        self.saved = 0
        self._contents_manager = self

    def _get_os_path(self, path: str) -> str:
        return str(self.folder / path)

    def get(self, path: str, *, content: bool, require_hash: bool) -> dict[str, Any]:
        assert require_hash
        assert not content
        return {"hash": hash_of(self.content)}

    async def load_content(self, file_format: str, file_type: str) -> dict[str, Any]:
        return {"path": self.path, "content": self.content}

    async def maybe_save_content(self, model: dict[str, Any]) -> None:
        self.saved += 1
        self.content = model["content"]


class Room:
    """A document that is being opened."""

    room_id, file_format, file_type = "text:file:1", "text", "file"

    def __init__(self, file: Any, stored: Document | None, *, has_store: bool = True, noted: Any = "") -> None:
        self.ready = False
        self.log = logging.getLogger("test")
        self._file = File(file)
        self.ystore = Store(stored) if has_store else None
        if self.ystore:
            self.ystore.noted = recovery._digest(noted) if noted else b""
        self._document = Document()
        self.ydoc = self._document
        self.ydoc_observed = asyncio.Event()
        self._update_lock = asyncio.Lock()
        self.tasks: list[Any] = []

    def create_task(self, task: Any) -> None:
        self.tasks.append(asyncio.create_task(task))


def merged(*updates: bytes) -> bytes:
    return b"".join(updates)


async def upstream(room: Room) -> None:
    """As upstream: the file wins."""
    room._document.content = room._file.content
    room.ready = True
    room.ydoc_observed.set()


def opened(file: Any, stored: Document | None, **options: Any) -> Room:
    async def scene() -> Room:
        room = Room(file, stored, **options)
        await from_store(upstream, lambda _: Document(), MissingError, merged)(room)
        return room

    return asyncio.run(scene())


def test_what_was_typed_just_before_a_crash_is_brought_back() -> None:
    room = opened("a", Document("a and more", hash_of("a")))
    assert (room._file.content, room._document.content) == ("a and more", "a and more")
    assert room._document.hash == hash_of("a and more"), "for the next crash"


def test_what_another_program_wrote_wins() -> None:
    """Such as git: the file is not the one that was last saved."""
    room = opened("from git", Document("a and more", hash_of("a")))
    assert (room._document.content, room._file.saved) == ("from git", 0)
    assert room._document.hash == hash_of("from git")


def test_killed_between_a_save_and_its_hash() -> None:
    """The store noted before what the file would have."""
    room = opened("a new", Document("a new and more", hash_of("a")), noted="a new")
    assert (room._file.content, room._document.content) == ("a new and more", "a new and more")
    # The very first save.
    assert opened("a new", Document("a new and more"), noted="a new")._file.content == "a new and more"
    assert opened("from git", Document("a new and more", hash_of("a")), noted="a new")._document.content == "from git"


@pytest.mark.parametrize(
    "stored",
    [None, Document("other"), Document("", hash_of("a"))],
    ids=["nothing stored", "never saved", "damaged"],
)
def test_file_stays_if_the_store_knows_no_better(stored: Document | None) -> None:
    room = opened("a", stored)
    assert (room._document.content, room._file.saved) == ("a", 0)


def test_condensed_history_is_kept() -> None:
    """Upstream only keeps one that it can decompress."""
    store = opened("a", None).ystore
    assert store
    assert [callback(b"update") for callback in store.callbacks] == [b"update", b"update"]


def test_without_a_store() -> None:
    assert opened("a", None, has_store=False)._document.content == "a"


def test_trust_is_no_difference() -> None:
    """It is not in the file, and would be a reason to write it at each start."""

    def notebook(trusted: bool) -> dict[str, Any]:
        return {"cells": [{"source": "1", "metadata": {"trusted": trusted, "a": 1}}], "nbformat": 4}

    assert opened(notebook(True), Document(notebook(False), hash_of(notebook(True))))._file.saved == 0
    changed = notebook(False)
    changed["cells"][0]["source"] = "12"
    assert opened(notebook(True), Document(changed, hash_of(notebook(True))))._file.saved == 1


def test_damaged_store_does_not_keep_a_file_from_being_opened(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> Room:
        room = Room("a", None)
        assert room.ystore
        room.ystore.start_lock = None  # type: ignore[assignment]
        await from_store(upstream, lambda _: Document(), MissingError, merged)(room)
        return room

    assert asyncio.run(scene())._document.content == "a"
    assert "nothing can be recovered" in caplog.text


@pytest.mark.parametrize(
    ("before", "damaged", "expected"),
    [
        ("last saved", "last sa", "last saved"),
        # The copy is what is not complete.
        ("last", "last saved", "last saved"),
        # Of an older server; git wrote the file.
        ("older", "from git", "from git"),
    ],
)
def test_half_a_save_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, damaged: str, expected: str
) -> None:
    monkeypatch.setattr(File, "folder", tmp_path)
    on_disk = property(lambda file: (tmp_path / "a.txt").read_text(), lambda *_: None)
    monkeypatch.setattr(File, "content", on_disk, raising=False)
    (tmp_path / ".~a.txt").write_text(before)
    (tmp_path / "a.txt").write_text(damaged)
    opened("", Document("last saved", hashlib.sha256(b"last saved").hexdigest()))
    assert (tmp_path / "a.txt").read_text() == expected


def test_open_document_is_left_alone() -> None:
    async def scene() -> None:
        room = Room("a", Document("b", hash_of("a")))
        room.ready = True
        await from_store(upstream, lambda _: Document(), MissingError, merged)(room)
        assert (room._document.content, room._file.content) == ("", "a")

    asyncio.run(scene())


def test_store_has_no_gaps() -> None:
    """After changes that could not be stored, the next entry has everything."""
    stored: list[bytes] = []
    full = False

    async def write(update: bytes) -> None:
        fails = full
        await asyncio.sleep(0)
        if fails:
            raise OSError("disk is full")
        stored.append(update)

    async def scene() -> None:
        nonlocal full
        store = SimpleNamespace(path="a", write=write)
        keep_whole(store, SimpleNamespace(get_update=lambda: b"everything"), merged, logging.getLogger("test"))
        await store.write(b"1")
        full = True
        # The second one starts before the first one has failed.
        await asyncio.gather(store.write(b"2"), store.write(b"3"))
        full = False
        await asyncio.gather(store.write(b"4"), store.write(b"5"))

    asyncio.run(scene())
    assert stored == [b"1", b"everything", b"5"]


def test_store_does_not_fall_behind() -> None:
    """What people type while it writes is written at once; a save waits for what it will write, and for no more."""
    stored: list[tuple[bytes, bytes]] = []
    saved: list[tuple[str, int]] = []
    follows: list[Callable[[Any], None]] = []

    async def write(update: bytes) -> None:
        note = store.metadata_callback()
        await asyncio.sleep(0.05)
        stored.append((update, note))

    async def save(model: dict[str, Any]) -> None:
        saved.append((model["content"], len(stored)))

    store = SimpleNamespace(path="a", write=write)
    room = SimpleNamespace(ystore=store, _file=SimpleNamespace(maybe_save_content=save))

    async def scene() -> None:
        keep_whole(store, SimpleNamespace(observe=follows.append), merged, logging.getLogger("test"))
        note_saves(room)
        # From before it was followed.
        early = asyncio.create_task(store.write(b"0"))
        await asyncio.sleep(0.01)
        store.follow()
        for number in range(1, 100):
            follows[0](SimpleNamespace(update=b"%d," % number))
        # Upstream brings them a little later than the save begins.
        await room._file.maybe_save_content({"content": "all"})
        await asyncio.gather(early, *(store.write(b"%d," % number) for number in range(1, 100)))
        await store.write(b"x")

    asyncio.run(scene())
    assert saved == [("all", 2)]
    changes = b"".join(b"%d," % number for number in range(1, 100))
    noted = recovery._digest("all")
    assert stored == [(b"0", b""), (changes + recovery.NOTHING, noted), (b"x", noted)]


def test_store_that_hangs_does_not_hold_a_save_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "STORED_S", 0.05)
    saved: list[Any] = []

    async def save(model: dict[str, Any]) -> None:
        saved.append(model["content"])

    async def write(_: bytes) -> None:
        await asyncio.Event().wait()

    async def scene() -> None:
        room = SimpleNamespace(ystore=SimpleNamespace(write=write), _file=SimpleNamespace(maybe_save_content=save))
        note_saves(room)
        await room._file.maybe_save_content({"content": "a"})

    asyncio.run(scene())
    assert saved == ["a"]
