"""One run: copies of databases, a manifest, one snapshot, and the removal of old ones."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from . import databases, scan, state
from .places import Places
from .restic import INCOMPLETE, Restic, StoreError, explained

VERSION = 1
"""Of the manifest and the layout of snapshots."""
DATABASE = "jupyterhub.sqlite"
# Of jupyterhub_root: the repository's own key, logs of builds.
LEFT_OUT = ("backup", "builds")


@dataclass
class Found:
    """What a run found besides the snapshot."""

    incomplete: scan.Names = field(default_factory=scan.Names)
    excluded: list[str] = field(default_factory=list)
    live: scan.Names = field(default_factory=scan.Names)
    warnings: list[str] = field(default_factory=list)


def save(places: Places) -> dict[str, Any]:
    """Make one backup, and return its result, which is also written down."""
    plan = places.plan()
    begin = time.time()
    result: dict[str, Any] = {"started": state.stamp(begin), "name": plan["name"], "repository": plan["repository"]}
    state.write(places.state / state.RUNNING, result)
    try:
        result |= _saved(places, plan, begin)
    except StoreError as error:
        result |= {"result": "failed", "error": state.printable(str(error))}
    except OSError as error:
        problem = f"{error.filename or 'the machine'}: {error.strerror or error}"
        result |= {"result": "failed", "error": state.printable(problem)}
    result["duration_s"] = round(time.time() - begin, 1)
    result["ended"] = state.stamp(time.time())
    state.write(places.state / state.LAST, result)
    (places.state / "last.txt").write_text(f"{state.told(result)}\n")
    (places.state / state.RUNNING).unlink(missing_ok=True)
    return result


def _saved(places: Places, plan: dict[str, Any], begin: float) -> dict[str, Any]:
    known = state.read(places.state / state.REPOSITORY)
    restic = Restic(places, plan["repository"])
    same = known.get("repository") == plan["repository"]
    identity = restic.open(known["id"] if same else "", make=True)
    state.write(places.state / state.REPOSITORY, {"id": identity, "repository": plan["repository"]})
    restic.remove_stale_locks(socket.gethostname())
    found = Found()
    hub = plan["hub_volume"]
    _copy_hub_database(places, hub, found)
    live = scan.LiveDatabases(places.volumes, places.copies / "volumes", begin)
    live.run(frozenset({hub}))
    found.excluded += live.copied
    found.live = live.named
    found.incomplete.extend(live.unwalked)
    _write_manifest(places, plan, begin)
    done = restic.call(*_arguments(places, plan, found))
    summary = done.last("summary")
    if done.code not in (0, INCOMPLETE) or not summary:
        raise StoreError(explained(done, plan["repository"]))
    for each in done.lines():
        if each.get("message_type") == "error":
            found.incomplete.add(_name(places, str(each.get("item") or each.get("error"))))
    changed, unwalked = scan.changed_since(places.volumes, int(begin * 1e9), frozenset(_with_logs(found.excluded)))
    found.incomplete.extend(unwalked)
    result = {
        "result": "incomplete" if done.code or found.incomplete.count else "complete",
        "snapshot": summary["snapshot_id"],
        "files": summary["total_files_processed"],
        "bytes": summary["total_bytes_processed"],
        "added": summary.get("data_added_packed", summary["data_added"]),
    }
    for key, names in (("incomplete", found.incomplete), ("changed", changed), ("live_databases", found.live)):
        result |= {key: names.first, f"{key}_count": names.count}
    try:
        _forget(restic, plan)
    except StoreError as error:
        # The snapshot is there; the next run tries again.
        found.warnings.append(f"old snapshots were not removed: {error}")
    if found.warnings:
        result["warning"] = "; ".join(found.warnings)
    return result


def _copy_hub_database(places: Places, volume: str, found: Found) -> None:
    """Copy the Hub's database, and check the copy; if that fails, the file itself is in the snapshot."""
    folder, copy = places.volumes / volume, places.copies / DATABASE
    if not (folder / DATABASE).exists():
        found.incomplete.add(f"the Hub's database: there is no {DATABASE} in the volume {volume}")
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        databases.copy(opened, DATABASE, copy, limit_s=60)
    except databases.CopyError as error:
        found.incomplete.add(f"the Hub's database: {error}")
        return
    finally:
        os.close(opened)
    if wrong := databases.damage(copy):
        found.incomplete.add(f"the Hub's database is damaged: {wrong}")
        copy.unlink()
        return
    if rows := databases.dangling(copy):
        found.warnings.append(f"in the Hub's database, {rows}")
    found.excluded.append(str(folder / DATABASE))


def _write_manifest(places: Places, plan: dict[str, Any], begin: float) -> None:
    """Describe the snapshot: what a restore on another machine must make again."""
    copy = places.copies / DATABASE
    digest = hashlib.sha256(copy.read_bytes()).hexdigest() if copy.exists() else ""
    listed = places.copies / "volumes.json"
    volumes = json.loads(listed.read_text()) if listed.exists() else []
    content = {
        "version": VERSION,
        "name": plan["name"],
        "time": state.stamp(begin),
        "hub_volume": plan["hub_volume"],
        "database_sha256": digest,
        "settings": plan["settings"],
        "volumes": [{"name": each["Name"], "labels": each.get("Labels") or {}} for each in volumes],
    }
    state.write(places.copies / "manifest.json", content)
    listed.unlink(missing_ok=True)


def _with_logs(files: list[str]) -> list[str]:
    return [f"{file}{end}" for file in files for end in ("", *databases.BESIDE)]


def _arguments(places: Places, plan: dict[str, Any], found: Found) -> list[str]:
    excluded = [*_with_logs(found.excluded), *(str(places.deployment / each) for each in LEFT_OUT)]
    listed = places.root / "tmp/excluded"
    listed.write_text("".join(f"{scan.pattern(each)}\n" for each in excluded), errors="surrogateescape")
    return [
        "backup",
        "--json",
        f"--host={plan['name']}",
        f"--tag={plan['name']}",
        "--group-by=host,tags",
        f"--exclude-file={listed}",
        "--no-scan",
        str(places.data),
    ]


def _name(places: Places, path: str) -> str:
    """Return how a result calls a file."""
    for folder in (places.volumes, places.data):
        if path.startswith(f"{folder}/"):
            return path.removeprefix(f"{folder}/")
    return path


def _forget(restic: Restic, plan: dict[str, Any]) -> None:
    """Remove snapshots beyond those to keep; at an append-only store, that is done on its side."""
    keep = plan.get("keep") or {}
    if plan.get("append_only") or not keep:
        return
    options = [f"--keep-{unit}={count}" for unit, count in sorted(keep.items())]
    own = [f"--host={plan['name']}", f"--tag={plan['name']}", "--group-by=host,tags"]
    restic.must("forget", "--prune", *own, *options)
