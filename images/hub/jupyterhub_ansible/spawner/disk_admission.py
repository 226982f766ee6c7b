"""Disk admission: while the engine's disk is nearly full, servers start only to delete files.

What a start writes itself is little; but users write more, and an engine and a Hub without any room fail everybody.
"""

import os
from pathlib import Path
from typing import NamedTuple

from .errors import SpawnError

FOLDER = Path("/srv/jupyterhub")
"""A volume of the engine, which is on the disk of all volumes, homes among them, and of containers."""


class Disk(NamedTuple):
    """A file system, in bytes."""

    free: int
    """For everybody but root."""
    size: int

    def is_low(self, reserve_mb: int) -> bool:
        """Whether less is free than must stay free, in MiB."""
        return self.free < reserve_mb * 1024**2


def look() -> Disk:
    """Return how full the disk is."""
    found = os.statvfs(FOLDER)
    return Disk(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def nearly_full(disk: Disk, reserve_mb: int, server: str) -> SpawnError:
    """A server would make a disk fuller that is nearly full."""
    return SpawnError(
        "The machine's disk is nearly full, so servers start only to delete files: there is a button for that on the"
        " home page. Please tell the administrator, too.",
        reason="disk",
        log_message=f"{server}: {disk.free // 1024**2} MiB are free on the engine's disk, and {reserve_mb} must stay"
        " free (hub_reserve_disk_mb); free some, or add a larger disk",
    )
