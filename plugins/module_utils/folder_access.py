"""What servers can do in a folder of the machine that is mounted into them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ABSENT, UNREADABLE, READ_ONLY, UNWRITABLE = "absent", "unreadable", "read-only", "unwritable"


def unusable(path: str, uid: int, write: bool) -> str:
    """Return why a user cannot use a folder, one of the words above; "" if they can.

    What is above the folder does not matter: a container sees the folder alone.  It is tried as that user, because
    access control lists and other machines (NFS) decide, too.

    Args:
        path: of the folder.
        uid: of the user; the number of the group is the same.
        write: whether they must be able to write there, besides reading.
    """
    if not Path(path).is_dir():
        return ABSENT
    if os.geteuid() != 0:
        return ""  # nobody can be tried; without root a deployment is refused anyway
    if not _may("test -r . && test -x .", path, uid):
        return UNREADABLE
    if write and os.statvfs(path).f_flag & os.ST_RDONLY:
        return READ_ONLY
    return UNWRITABLE if write and not _may("test -w .", path, uid) else ""


def _may(test: str, path: str, uid: int) -> bool:
    # The folder is entered before the user is changed.
    done = subprocess.run(
        ["/bin/sh", "-c", test], cwd=path, user=uid, group=uid, extra_groups=[], capture_output=True, check=False
    )
    return done.returncode == 0
