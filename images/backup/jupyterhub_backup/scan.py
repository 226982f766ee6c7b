"""Walks through volumes while their users change them: finds live databases, and what was changed during a run."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from . import databases, state

# A database that nobody has written to for so long, and that has no log, is read like any file; a copy has other bytes.
LIVE_S = 300
# Larger ones take long to copy; they are named instead.
LARGEST = 64 * 1024**2
ALL_COPIES = 1024**3
NAMED = 50
"""How many files a result names; it counts the others."""


class Names:
    """The first names, and how many there are."""

    def __init__(self) -> None:
        self.first: list[str] = []
        self.count = 0

    def add(self, name: str) -> None:
        """Add a name."""
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(state.printable(name))

    def extend(self, others: Names) -> None:
        """Add those that are not here yet."""
        for name in others.first:
            if name not in self.first:
                self.add(name)


class LiveDatabases:
    """Copies databases in use into a folder with the same paths, whose copies a snapshot has instead of the files."""

    def __init__(self, volumes: Path, copies: Path, now: float) -> None:
        self.volumes = volumes
        self.copies = copies
        self.now = now
        self.room = ALL_COPIES
        self.copied: list[str] = []
        """Paths of the files that a copy replaces."""
        self.named = Names()
        """Databases that are read like any file although they may be in use."""
        self.unwalked = Names()
        """Volumes that could not be looked through to their end."""

    def run(self, but: frozenset[str] = frozenset()) -> None:
        """Look through all volumes but these."""
        for volume in sorted(self.volumes.iterdir()):
            if volume.name not in but:
                # What one user has must not end the backup of the others, such as more nested folders than files can
                # be open.
                try:
                    self._walk(volume)
                except OSError as error:
                    self.unwalked.add(f"{volume.name}: {error.strerror or error}")
        self._dress()

    def _walk(self, volume: Path) -> None:
        # By descriptors: a user may replace a folder by a link while it is walked through.
        for path, _, files, folder in os.fwalk(volume, follow_symlinks=False):
            for name in self._candidates(files):
                self._take(path, name, folder)

    @staticmethod
    def _candidates(files: list[str]) -> list[str]:
        logged = {name.removesuffix(end) for name in files for end in ("-wal", "-journal") if name.endswith(end)}
        return sorted(name for name in files if name in logged or name.endswith(databases.NAMES))

    def _take(self, path: str, name: str, folder: int) -> None:
        try:
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            beside = [self._size(folder, f"{name}{end}") for end in ("-wal", "-journal")]
            if not stat.S_ISREG(about.st_mode) or (not any(beside) and about.st_mtime < self.now - LIVE_S):
                return
            first = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            try:
                if not databases.is_database(first):
                    return
            finally:
                os.close(first)
        except OSError:
            return  # It has gone, or restic names it.
        file, size = f"{path}/{name}", about.st_size + sum(beside)
        inside = os.path.relpath(file, self.volumes)
        if size > min(LARGEST, self.room) or not excludable(file):
            self.named.add(inside)
            return
        target = self.copies / inside
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            databases.copy(folder, name, target)
        except (databases.CopyError, OSError):
            self.named.add(inside)
            return
        self.room -= size
        self.copied.append(file)

    @staticmethod
    def _size(folder: int, name: str) -> int:
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
        except OSError:
            return 0

    def _dress(self) -> None:
        """Give the copies' folders the metadata of the originals', which restoring the copies writes again."""
        for path, _, _ in os.walk(self.copies, topdown=False):
            inside = os.path.relpath(path, self.copies)
            if inside == ".":
                continue
            try:
                about = os.lstat(self.volumes / inside)
                Path(path).chmod(stat.S_IMODE(about.st_mode))
                os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
                os.chown(path, about.st_uid, about.st_gid)
            except OSError:
                # Its user has removed it, so that a restore makes it again without its owner.
                self.named.add(inside)


def excludable(path: str) -> bool:
    """Return whether a line of restic's --exclude-file can name this path."""
    return path == path.strip() and not re.search(r"[\x00-\x1f\x7f\\]", path)


def pattern(path: str) -> str:
    """Return the line that excludes exactly this path: restic expands patterns and environment variables."""
    return re.sub(r"([*?\[])", r"\\\1", path).replace("$", "$$")


def changed_since(volumes: Path, start_ns: int, but: frozenset[str] = frozenset()) -> tuple[Names, Names]:
    """Return the files that were changed since a time: a snapshot may have a part of them in either state.

    The volumes that could not be looked through to their end are returned as well.

    Args:
        volumes: their folder.
        start_ns: the time, in nanoseconds since the epoch.
        but: paths that do not count.
    """
    found, unwalked = Names(), Names()
    for volume in sorted(volumes.iterdir()):
        try:
            for path, about in files_below(volume):
                if about.st_ctime_ns >= start_ns and path not in but:
                    found.add(os.path.relpath(path, volumes))
        except OSError as error:
            unwalked.add(f"{volume.name}: {error.strerror or error}")
    return found, unwalked


def files_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all regular files with their state."""
    for path, _, files, opened in os.fwalk(folder, follow_symlinks=False):
        for name in files:
            try:
                about = os.stat(name, dir_fd=opened, follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(about.st_mode):
                yield f"{path}/{name}", about
