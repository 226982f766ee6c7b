"""The versions of each file: read-only copies in a folder of the home, which users can open, copy and delete.

`work/a.ipynb` has its versions in `versions/work/a.ipynb/`, as `2026-11-28_17-30-05.ipynb` (local time).  Everything
follows from these names: there is no index that could disagree with what users do to the copies.  Other files in that
folder are the user's, and are left alone.
"""

import errno
import filecmp
import math
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from . import thinning
from .limits import Limits

FOLDER = "versions"
SHARED = "shared"
"""The link to the folders that are shared with others (jupyterhub_shared): their files have versions here, too."""
_NAME = re.compile(r"(\d{4}-\d\d-\d\d)_(\d\d)-(\d\d)-(\d\d)(?:-(\d+))?(?:\.[^.]*)?")
_PART = ".part"
"""A copy that is being made; what a killed server left is overwritten by the next one."""
_RESERVE = 64 * 1024 * 1024
"""Bytes of the disk that versions leave to the user's own files; on small disks, a tenth."""
_BLOCK = 4096
_COUNT_S = 600
_PROBE = 8192


class NotKeptError(Exception):
    """No versions are kept of this file; `str()` says why."""


class ChangedError(Exception):
    """The file was written while it was copied."""


class Version(NamedTuple):
    """A copy: its time in seconds since 1970, its number within that second, its path and its size in bytes."""

    time: float
    number: int
    path: Path
    size: int

    @property
    def space(self) -> int:
        """What it takes of the limit: whole blocks, as on the disk."""
        return -(-self.size // _BLOCK) * _BLOCK


def _version(entry: os.DirEntry[str]) -> Version | None:
    found = _NAME.fullmatch(entry.name)
    if not found or not entry.is_file(follow_symlinks=False):
        return None
    day, hour, minute, second, number = found.groups()
    try:
        made = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second}").timestamp()
    except ValueError:
        return None
    return Version(made, int(number or 0), Path(entry.path), entry.stat(follow_symlinks=False).st_size)


def _is_version(name: Path) -> bool:
    return len(name.parts) > 2 and name.parts[0] == FOLDER and bool(_NAME.fullmatch(name.name))


def _versions(folder: Path) -> list[Version]:
    try:
        with os.scandir(folder) as entries:
            return sorted(filter(None, map(_version, entries)), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    # Neither through a symbolic link that has just been put there, nor waiting for a writer of a pipe.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except NotADirectoryError:
        raise NotKeptError("It is not a file.") from None
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        os.close(descriptor)
        raise NotKeptError("It is not a file.")
    with os.fdopen(descriptor, "rb") as file:
        yield file, info


class Ring:
    """The versions of all files below a folder, the root of what JupyterLab shows.

    Methods may be called in any thread.  They raise NotKeptError, or OSError if the disk is full or read-only.
    """

    def __init__(self, root: str | Path, limits: Limits, shared: Path = Path("/srv/shared")) -> None:
        self._root = Path(root).resolve()
        self._shared = shared
        self._limits = limits
        self._lock = threading.Lock()
        # Bytes of all versions when they were last counted, and of those made since.  Users delete some, and another
        # server may share the home, so they are counted again now and then, and before any is removed.
        self._used = 0
        self._counted = -math.inf

    def name_of(self, path: str | Path) -> str:
        """Return a file's path below the root, without symbolic links.

        Args:
            path: absolute, or relative to the root; the file need not exist.

        Raises:
            NotKeptError: it is outside of the root, hidden, a version, or the root itself.
        """
        name = self._below_root(path)
        if _is_version(name):
            raise NotKeptError("It is a version itself.")
        return str(name)

    def original_of(self, path: str | Path) -> str:
        """Return the same for a file, or for the original of a version."""
        name = self._below_root(path)
        return str(name.parent.relative_to(FOLDER) if _is_version(name) else name)

    def _below_root(self, path: str | Path) -> Path:
        try:
            real = Path(os.path.realpath(self._root / path))
        except ValueError:
            raise NotKeptError("It is not a path.") from None
        if real.is_relative_to(self._root):
            name = real.relative_to(self._root)
        elif real.is_relative_to(self._shared) and os.path.realpath(self._root / SHARED) == str(self._shared):
            name = SHARED / real.relative_to(self._shared)
        else:
            raise NotKeptError("It is outside of your home.")
        if not name.parts or any(part.startswith(".") for part in name.parts):
            raise NotKeptError("It is hidden.")
        return name

    def path_of(self, name: str) -> Path:
        """Return the path of a file."""
        return self._root / name

    def versions(self, name: str) -> list[Version]:
        """Return the versions of a file, the newest first."""
        return _versions(self._folder(name))

    def is_newest(self, name: str) -> bool:
        """Whether the file is as in its newest version."""
        newest = self.versions(name)[:1]
        return bool(newest) and self._same(newest[0].path, self.path_of(name))

    def keep(self, name: str, *, whatever: bool = False) -> bool:
        """Make a version of the file as it is now; return False if it is the newest already.

        Args:
            name: as from `name_of`.
            whatever: also if the file is large or not text; not if other versions could not make room for it.

        Raises:
            ChangedError: it was written meanwhile.
        """
        with self._lock, _opened(self.path_of(name)) as (file, info):
            folder = self._folder(name)
            newest = _versions(folder)[:1]
            if not info.st_size or (newest and self._same(newest[0].path, self.path_of(name))):
                return False
            self._check(file, info, whatever)
            self._make(folder, file, info)
            self._thin(folder)
        return True

    def move(self, old: str, new: str) -> None:
        """Take the versions along with a file or folder that was renamed."""
        with self._lock:
            before, after = self._folder(old), self._folder(new)
            if not before.is_dir():
                return
            after.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):
                before.rename(after)
                return
            # There are versions of a former file of that name.
            for folder, _, _ in [*os.walk(before)]:
                target = after / Path(folder).relative_to(before)
                for version in _versions(Path(folder)):
                    target.mkdir(parents=True, exist_ok=True)
                    version.path.rename(self._free(target, version.path.name[:19], version.path.suffix))
                self._tidy(Path(folder))

    def _folder(self, name: str) -> Path:
        folder = self._root / FOLDER / name
        if os.path.realpath(folder) != str(folder):
            raise NotKeptError(f"The folder {FOLDER} has symbolic links.")
        return folder

    @staticmethod
    def _same(version: Path, path: Path) -> bool:
        # It compares contents once for each size and time of change of both.
        return filecmp.cmp(version, path, shallow=False)

    def _check(self, file: BinaryIO, info: os.stat_result, whatever: bool) -> None:
        most = self._limits.filled
        if info.st_size > most:
            raise NotKeptError(f"It is larger than {most // 1024**2} MB: it has no room even without other versions.")
        if whatever:
            return
        if info.st_size > self._limits.largest:
            raise NotKeptError(f"It is larger than {self._limits.largest // 1024**2} MB.")
        if b"\0" in file.read(_PROBE):
            raise NotKeptError("It is not text.")
        file.seek(0)

    def _make(self, folder: Path, file: BinaryIO, info: os.stat_result) -> None:
        disk = os.statvfs(self._root)
        reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // 10)
        if disk.f_bavail * disk.f_frsize < info.st_size + reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / _PART
        try:
            part.unlink(missing_ok=True)
            with part.open("xb") as copy:
                shutil.copyfileobj(file, copy, 1024 * 1024)
            now = os.fstat(file.fileno())
            if (now.st_mtime_ns, now.st_size) != (info.st_mtime_ns, info.st_size):
                raise ChangedError
            # JupyterLab opens it read-only: a version that somebody edits is none.
            part.chmod(stat.S_IMODE(info.st_mode) & 0o555)
            suffix = Path(folder.name).suffix
            part.rename(self._free(folder, time.strftime("%Y-%m-%d_%H-%M-%S"), suffix))
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            self._tidy(folder)
            raise
        self._used += info.st_size + _BLOCK

    @staticmethod
    def _free(folder: Path, second: str, suffix: str) -> Path:
        """Return the path of a new version: several of one second are numbered, in their order."""
        numbers = [each.number for each in _versions(folder) if each.path.name.startswith(second)]
        return folder / f"{second}-{max(numbers) + 1}{suffix}" if numbers else folder / f"{second}{suffix}"

    def _thin(self, folder: Path) -> None:
        now = time.time()
        kept = _versions(folder)
        gone = {kept[index] for index in thinning.outdated([each.time for each in kept], now)}
        kept = [each for each in kept if each not in gone]
        while len(kept) > self._limits.per_file:
            gone.add(kept.pop(thinning.least_useful([each.time for each in kept], now)))
        self._remove(gone)
        if self._used > self._limits.total or time.monotonic() - self._counted > _COUNT_S:
            self._make_room(folder, now)

    def _make_room(self, last: Path, now: float) -> None:
        """Keep to the limit of all versions together: what has most of them loses some, `last` the newest never."""
        rings = {Path(folder): _versions(Path(folder)) for folder, _, _ in os.walk(self._root / FOLDER)}
        space = {folder: sum(each.space for each in kept) for folder, kept in rings.items() if kept}
        self._used, self._counted = sum(space.values()), time.monotonic()
        if self._used <= self._limits.total:
            return
        gone = set()
        while self._used > self._limits.filled:
            if not (others := [each for each in space if len(rings[each]) > (each == last)]):
                break
            folder = max(others, key=lambda each: space[each])
            version = rings[folder].pop(thinning.least_useful([each.time for each in rings[folder]], now))
            gone.add(version)
            self._used -= version.space
            space[folder] -= version.space
        self._remove(gone)

    def _remove(self, versions: set[Version]) -> None:
        for version in versions:
            version.path.unlink(missing_ok=True)
            self._tidy(version.path.parent)

    def _tidy(self, folder: Path) -> None:
        """Remove the folder and those above it that are empty."""
        with suppress(OSError):
            while folder != self._root:
                folder.rmdir()
                folder = folder.parent
