"""The record of what runs added to a machine, or changed on it, so that `make uninstall` removes that and nothing else.

All Hubs on a machine share the file.  What a run would add is recorded before it is added: an interrupted run leaves
nothing unrecorded, and what is recorded but was never added is not found when it is to be removed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Container, Mapping
from pathlib import Path

RECORD = Path("/var/lib/jupyterhub-ansible/installed.json")
ABOUT = "What jupyterhub-ansible added to this machine, and kernel settings before it changed them: for make uninstall."
# By name: a package's version, the value before of a kernel setting or of a policy of iptables.  Of the others only the
# names matter: packages that were not installed as a dependency, images that were pulled, and folders that appeared.
PACKAGES, KERNEL, POLICIES = "packages", "kernel", "policies"
ASKED, IMAGES, FOLDERS = "asked", "images", "folders"

Record = dict[str, dict[str, str]]
# Images are pulled in several threads.
_turn = threading.Lock()


def read(path: Path = RECORD) -> Record:
    """Return the record by kind; empty if there is none, as on machines that an older version deployed."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {kind: each for kind, each in found.items() if isinstance(each, dict)} if isinstance(found, dict) else {}


def remember(kind: str, values: Mapping[str, str], path: Path = RECORD) -> None:
    """Add to the record.  What is already in it stays: it tells how the machine was before the first run."""
    with _turn:
        record = read(path)
        if values.keys() - record.get(kind, {}).keys():
            record[kind] = {**values, **record.get(kind, {})}
            _write(record, path)


def keep(names: Container[str], path: Path = RECORD) -> None:
    """Forget everything else; without an entry left, remove the file and its folder."""
    before = read(path)
    record = {kind: {name: was for name, was in each.items() if name in names} for kind, each in before.items()}
    if any(record.values()):
        _write(record, path)
        return
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _write(record: Record, path: Path) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A fixed name, so that the next run overwrites what an interrupted one left behind.
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(json.dumps({"about": ABOUT, **record}, indent=1, sort_keys=True) + "\n")
    new.replace(path)
