"""How much room the files in the home take, what takes most, and how much is left."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGEST = 12
"""So many entries are named."""
_BLOCK = 512
"""Of st_blocks, whatever the file system's own is."""
LONGEST_S = 45
"""Then what was found so far is told: a home may have millions of files."""


def measure(home: Path, clock: Callable[[], float] = time.monotonic) -> dict[str, Any]:
    """Return what files take on the disk, in bytes; of other file systems mounted in the home, nothing.

    Returns:
        `total`, `complete` (whether there was time for all), `largest` (path and bytes of the largest files and folders
        of the first two levels), `free` and `size` of the file system.
    """
    end, device = clock() + LONGEST_S, home.stat().st_dev
    entries: dict[str, int] = {}
    seen: set[int] = set()
    complete = True
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        if clock() > end:
            complete = False
            break
        try:
            found = list(os.scandir(home / folder))
        except OSError:
            # Gone meanwhile, or not readable: then users cannot delete it either.
            continue
        for each in found:
            path = f"{folder}/{each.name}" if folder else each.name
            try:
                about = each.stat(follow_symlinks=False)
            except OSError:
                continue
            if about.st_dev != device or about.st_ino in seen:
                continue
            if about.st_nlink > 1:
                # A hard link, as of uv's cache: the file is there once.
                seen.add(about.st_ino)
            # Below the second level, it counts for the folder there.
            entry = "/".join(path.split("/")[:2])
            entries[entry] = entries.get(entry, 0) + about.st_blocks * _BLOCK
            if each.is_dir(follow_symlinks=False):
                waiting.append(path)
    # A folder whose entries are told has only its own few blocks.
    largest = sorted(entries.items(), key=lambda pair: (-pair[1], pair[0]))[:LARGEST]
    disk = os.statvfs(home)
    return {
        "total": sum(entries.values()),
        "complete": complete,
        "largest": [{"path": path, "bytes": size} for path, size in largest if size],
        "free": disk.f_bavail * disk.f_frsize,
        "size": disk.f_blocks * disk.f_frsize,
    }
