"""Copies of SQLite databases while others write to them, by SQLite's own online backup."""

from __future__ import annotations

import os
import sqlite3
import stat
import string
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

MAGIC = b"SQLite format 3\0"
# What SQLite keeps beside a database.
BESIDE = ("-wal", "-shm", "-journal")
NAMES = (".sqlite", ".sqlite3", ".db", ".db3")
# In an URI, without a meaning of their own there.
PLAIN = "/-_." + string.ascii_letters + string.digits
# How long a writer may hold the database back.
PATIENCE_S = 10.0


class CopyError(Exception):
    """The database cannot be copied; says why."""


def is_database(descriptor: int) -> bool:
    """Return whether a regular file begins as SQLite's do."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.pread(descriptor, len(MAGIC), 0) == MAGIC


def _in_time(limit_s: float) -> Callable[[int, int, int], None]:
    end = time.monotonic() + limit_s

    def progress(_status: int, _remaining: int, _total: int) -> None:
        # Python repeats a step for as long as a writer keeps the database locked.
        if time.monotonic() > end:
            raise CopyError("another program keeps it locked")

    return progress


def _opened(inode: tuple[int, int]) -> bool:
    """Return whether this process has a file open."""
    for opened in Path("/proc/self/fd").iterdir():
        try:
            found = opened.stat()
        except OSError:
            continue
        if (found.st_dev, found.st_ino) == inode:
            return True
    return False


def _copy_to(source: str, target: Path, inode: tuple[int, int], options: str, limit_s: float) -> None:
    with closing(sqlite3.connect(f"file:{_quoted(source)}?{options}", uri=True, timeout=limit_s)) as database:
        database.execute("pragma schema_version")
        # Its owner may put a link to another user's database in its place at any time.
        if not _opened(inode):
            raise CopyError("it was replaced while it was read")
        with closing(sqlite3.connect(target)) as copy:
            database.backup(copy, pages=-1, progress=_in_time(limit_s), sleep=0.05)
            # Without a log beside it, the copy is a single file.
            copy.execute("pragma journal_mode=delete")


def _quoted(path: str) -> str:
    """Return a path as a part of an URI; a name need not be UTF-8."""
    return "".join(chr(byte) if chr(byte) in PLAIN else f"%{byte:02x}" for byte in os.fsencode(path))


def copy(folder: int, name: str, target: Path, limit_s: float = PATIENCE_S) -> None:
    """Copy a database, with its metadata.

    Args:
        folder: its folder, opened: nobody can put another one in its place.
        name: of the database in it.
        target: the new file.
        limit_s: how long to wait for a writer.

    Raises:
        CopyError: it cannot be copied; there is no new file.
    """
    try:
        first = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            if not is_database(first):
                raise CopyError("it is not a database of SQLite")
            about = os.fstat(first)
        finally:
            # Closing it later would drop the locks that SQLite has on it.
            os.close(first)
        inode, source = (about.st_dev, about.st_ino), f"/proc/self/fd/{folder}/{name}"
        try:
            _copy_to(source, target, inode, "mode=ro", limit_s)
        except sqlite3.OperationalError:
            # A closed database with a write-ahead log cannot be opened read-only, as its index would have to be made.
            if any(_exists(folder, f"{name}{end}") for end in BESIDE):
                raise
            target.unlink(missing_ok=True)
            _copy_to(source, target, inode, "mode=ro&immutable=1", limit_s)
        target.chmod(stat.S_IMODE(about.st_mode))
        os.utime(target, ns=(about.st_atime_ns, about.st_mtime_ns))
        os.chown(target, about.st_uid, about.st_gid)
        with target.open("rb") as file:
            os.fsync(file.fileno())
    except (OSError, sqlite3.Error) as error:
        target.unlink(missing_ok=True)
        raise CopyError(str(error)) from error
    except CopyError:
        target.unlink(missing_ok=True)
        raise


def _exists(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def damage(database: Path) -> str:
    """Return what is wrong in a database, "" if nothing is."""
    try:
        with closing(sqlite3.connect(f"file:{_quoted(str(database))}?mode=ro", uri=True)) as opened:
            [[first], *_] = opened.execute("pragma integrity_check(3)").fetchall()
            return "" if first == "ok" else str(first)
    except sqlite3.Error as error:
        return str(error)


def dangling(database: Path) -> str:
    """Return which rows refer to others that do not exist, "" if none do: the Hub works with them."""
    try:
        with closing(sqlite3.connect(f"file:{_quoted(str(database))}?mode=ro", uri=True)) as opened:
            rows = opened.execute("pragma foreign_key_check").fetchall()
    except sqlite3.Error as error:
        return str(error)
    return f"{len(rows)} rows refer to rows that do not exist, first in {rows[0][0]}" if rows else ""
