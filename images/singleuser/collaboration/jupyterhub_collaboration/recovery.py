"""After a crash, brings what the store of a document has, and the file lacks, into the file.

The store gets every keystroke at once, the file a second or two later.  When upstream (jupyter_server_ydoc) loads a
document and they differ, it takes the file, and drops what was typed last.  That is right only if another program
wrote the file.  The document in the store knows the hash of the file that was last saved: while that is on the disk,
the store is what people last saw.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from pathlib import Path
from typing import Any

Initialize = Callable[[Any], Awaitable[None]]


def from_store(initialize: Initialize, new_document: Callable[[str], Any], missing: type[Exception]) -> Initialize:
    """Return DocumentRoom.initialize that first writes the file if the store is ahead of it.

    Args:
        initialize: upstream's.
        new_document: returns an empty document for a type of file.
        missing: what a store raises if it does not have a document.
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
            keep_whole(room.ystore, room.ydoc, room.log)
        await initialize(room)
        # From now on, changes are stored.
        await room.ydoc_observed.wait()
        async with room._update_lock:
            if room._document.hash != (found := await _hash(room)):
                room._document.hash = found

    return initialize_room


def keep_whole(store: Any, ydoc: Any, log: Any) -> None:
    """Let a store never miss one change but have later ones, as when the disk was full for a moment.

    Such a document would be loaded without all that follows the gap.
    """
    write, lock, lacks = store.write, asyncio.Lock(), False

    async def write_whole(update: bytes) -> None:
        nonlocal lacks
        async with lock:
            try:
                await write(ydoc.get_update() if lacks else update)
                lacks = False
            except Exception as error:
                if not lacks:
                    log.warning("%s: changes cannot be stored: %r", store.path, error)
                lacks = True

    store.write = write_whole


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
    if _in_file(content) == _in_file(model["content"]) or not stored.hash or stored.hash != await _hash(room):
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


async def _hash(room: Any) -> str:
    model = room._file._contents_manager.get(room._file.path, content=False, require_hash=True)
    return str((await model if isawaitable(model) else model)["hash"])
