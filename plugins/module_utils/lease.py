"""The lease that lets only one run at a time change a machine: a file, which its holder renews."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any


def take_lease(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Take the lease and return None; or return its holder if another run has it."""
    path = Path(wanted["path"])
    while True:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            status = os.fstat(file.fileno())
            if not status.st_nlink:
                continue  # Its holder returned it meanwhile.
            file.seek(0)
            text = file.read()
            # In both directions, since the machine's clock may have been corrected.
            fresh = abs(time.time() - status.st_mtime) < wanted["seconds"]
            if text and fresh:
                held = json.loads(text)
                return {"by": held["by"], "since": held["since"], "renewed": status.st_mtime_ns}
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            file.write(json.dumps({"by": wanted["by"], "since": since, "token": wanted["token"]}))
            return None


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of this file, as flock(1) takes it."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
