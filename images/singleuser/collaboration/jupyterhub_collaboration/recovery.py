"""After a crash, brings what the store of a document has, and the file lacks, into the file.

The store gets every keystroke at once, the file a second or two later.  When upstream (jupyter_server_ydoc) loads a
document and they differ, it takes the file, and drops what was typed last.  That is right only if another program
wrote the file.  The document in the store knows the hash of the file that was last saved: while that is on the disk,
the store is what people last saw.  A server may be killed after a save, before the store has its hash: so it is noted
before each save, too, what will be in the file, and that together with everything up to then.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from inspect import isawaitable
from pathlib import Path
from typing import Any

Initialize = Callable[[Any], Awaitable[None]]
Merge = Callable[..., bytes]

STORED_S = 1
"""The longest that a save waits for the store."""
NOTHING = bytes(2)
"""An update of a document that changes nothing."""


def from_store(
    initialize: Initialize, new_document: Callable[[str], Any], missing: type[Exception], merge: Merge
) -> Initialize:
    """Return DocumentRoom.initialize that first writes the file if the store is ahead of it.

    Args:
        initialize: upstream's.
        new_document: returns an empty document for a type of file.
        missing: what a store raises if it does not have a document.
        merge: makes one update of several.
    """

    async def initialize_room(room: Any) -> None:
        if room.ready:
            return
        if room.ystore is not None:
            # Without them, upstream (pycrdt-store) condenses a history by deleting it: a page that comes back then adds
            # all its cells once more.
            room.ystore.register_compression_callbacks(_same, _same)
            try:
                await _recover(room, new_document(room.file_type), missing)
            except Exception as error:
                # Upstream meets the same problem, and tells the page.
                room.log.warning("%s: nothing can be recovered: %r", room.room_id, error)
            keep_whole(room.ystore, room.ydoc, merge, room.log)
            note_saves(room)
        await initialize(room)
        # From now on, changes are stored.
        await room.ydoc_observed.wait()
        if room.ystore is not None:
            room.ystore.follow()
        async with room._update_lock:
            if room._document.hash != (found := await _hash(room)):
                room._document.hash = found

    return initialize_room


def keep_whole(store: Any, ydoc: Any, merge: Merge, log: Any) -> None:
    """Let a store never miss one change but have later ones, as when the disk was full for a moment; nor fall behind.

    Such a document would be loaded without all that follows the gap.  And while the store writes one change, which
    takes a while, people make several: they are written together.
    """
    write, lock, lacks = store.write, asyncio.Lock(), False
    waiting: list[bytes] = []
    seen: deque[bytes] = deque()

    async def write_whole(update: bytes) -> None:
        nonlocal lacks
        if update in seen:
            # It is waiting, or was written with an earlier one.
            while seen.popleft() != update:
                pass
        else:
            waiting.append(update)
        async with lock:
            if not waiting:
                return
            updates = waiting.copy()
            waiting.clear()
            lacked, lacks = lacks, True
            try:
                await write(ydoc.get_update() if lacked else merge(*updates))
                lacks = False
            except Exception as error:
                if not lacked:
                    log.warning("%s: changes cannot be stored: %r", store.path, error)

    def changed(event: Any) -> None:
        waiting.append(event.update)
        seen.append(event.update)

    def follow() -> None:
        """See changes before upstream brings them, so that a write has all that people see."""
        store.followed = ydoc.observe(changed)

    store.write, store.follow = write_whole, follow


def note_saves(room: Any) -> None:
    """Let the store know before each save what will be in the file, and have everything that will be in it."""
    save, store = room._file.maybe_save_content, room.ystore
    noted = b""
    # Stored with each entry.
    store.metadata_callback = lambda: noted

    async def maybe_save_content(model: dict[str, Any]) -> Any:
        nonlocal noted
        noted = await asyncio.to_thread(_digest, model["content"])
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(store.write(NOTHING)), STORED_S)
        return await save(model)

    room._file.maybe_save_content = maybe_save_content


async def _recover(room: Any, stored: Any, missing: type[Exception]) -> None:
    store = room.ystore
    async with store.start_lock:
        if not store.started.is_set():
            room.create_task(store.start())
            await store.started.wait()
    try:
        await store.apply_updates(stored.ydoc)
    except missing:
        return
    if stored.hash:
        _undo_half_a_save(room._file, stored.hash)
    content = await stored.aget()
    if not (content["cells"] if isinstance(content, dict) else content):
        return  # A store that is damaged must not empty the file.
    model = await room._file.load_content(room.file_format, room.file_type)
    if _in_file(content) == _in_file(model["content"]):
        return
    if not (stored.hash and stored.hash == await _hash(room)) and await _noted(store) != _digest(model["content"]):
        return
    room.log.warning("%s: saving what was typed just before the server ended", model["path"])
    await room._file.maybe_save_content({"format": room.file_format, "type": room.file_type, "content": content})


def _undo_half_a_save(file: Any, last_saved: str) -> None:
    """Bring back the file that was last saved, if a killed server was just writing it.

    Jupyter writes into the file itself, and keeps what it had beside it until it has done so (atomic_writing).  For
    notebooks, it does this itself when it reads one that is damaged; half a text is a text.
    """
    manager = file._contents_manager
    path = Path(manager._get_os_path(file.path))
    before = path.with_name(f".~{path.name}")
    if not before.is_file():
        return
    hashes = [hashlib.new(manager.hash_algorithm, each.read_bytes()).hexdigest() for each in (before, path)]
    if hashes[0] == last_saved != hashes[1]:
        before.replace(path)


def _same(update: bytes) -> bytes:
    return update


def _in_file(content: Any) -> Any:
    """Return a document's content without what a file does not have: whether a notebook's outputs are trusted."""
    if not isinstance(content, dict):
        return content
    cells = [{**cell, "metadata": {**cell["metadata"], "trusted": None}} for cell in content["cells"]]
    return {**content, "cells": cells}


def _digest(content: Any) -> bytes:
    return hashlib.sha256(json.dumps(_in_file(content), sort_keys=True).encode()).digest()


async def _noted(store: Any) -> bytes:
    """Return the digest of the content of the last file that was to be saved."""
    noted = b""
    async for _, metadata, _ in store.read():
        noted = metadata or noted
    return noted


async def _hash(room: Any) -> str:
    model = room._file._contents_manager.get(room._file.path, content=False, require_hash=True)
    return str((await model if isawaitable(model) else model)["hash"])
