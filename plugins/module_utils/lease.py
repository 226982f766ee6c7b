"""The lease by which one run at a time changes a machine: a file there, which its holder renews."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any


def take_lease(wanted: dict[str, Any]) -> dict[str, Any] | None:
    """Take the lease, and return None; or return who has it."""
    path = Path(wanted["path"])
    while True:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            status = os.fstat(file.fileno())
            if not status.st_nlink:
                continue  # its holder gave it back meanwhile
            file.seek(0)
            text = file.read()
            # Either way, as the machine's clock may have been put right.
            fresh = abs(time.time() - status.st_mtime) < wanted["seconds"]
            if text and fresh:
                held = json.loads(text)
                return {"by": held["by"], "since": held["since"], "renewed": status.st_mtime_ns}
            file.truncate(0)
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            file.write(json.dumps({"by": wanted["by"], "since": since, "token": wanted["token"]}))
            return None
