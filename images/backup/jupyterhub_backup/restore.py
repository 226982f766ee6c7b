"""Restores parts of a snapshot: volumes of a user, single paths, the Hub itself."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import databases, state
from .places import Places
from .restic import Done, Restic, StoreError, chosen, explained
from .save import DATABASE, VERSION

KIND, USER, SERVER = (f"jupyterhub-ansible.{each}" for each in ("kind", "user", "server"))
# What of jupyterhub_root is restored; everything else is written by a run.
SECRETS = ("hub/secrets", "proxy/secrets", "ingress/data", "ingress/caddy/secrets")
HUB_UID = 64101


class Snapshot:
    """A snapshot of this Hub, and what is in it."""

    def __init__(self, places: Places, wanted: str) -> None:
        self.places = places
        plan = places.plan()
        self.restic = Restic(places, plan["repository"], read_only=True)
        self.restic.open()
        found = chosen(self.restic.snapshots(plan["name"]), wanted)
        self.id, self.time = str(found["id"]), str(found["time"])
        text = self.restic.must("dump", self.id, str(places.copies / "manifest.json")).output
        self.manifest: dict[str, Any] = json.loads(text)
        if self.manifest["version"] != VERSION:
            raise StoreError(
                f"the snapshot {self.id[:8]} was made by another version of this program. Fix: check out the commit"
                " that made it"
            )

    def labels(self) -> dict[str, dict[str, str]]:
        """Return the labels of all volumes by name."""
        return {each["name"]: each["labels"] for each in self.manifest["volumes"]}

    def home(self, user: str, server: str) -> str:
        """Return the volume of a user's server.

        Raises:
            StoreError: it is not in this snapshot.
        """
        users = {labels.get(USER, ""): volume for volume, labels in self.labels().items() if labels.get(KIND) == "home"}
        for volume, labels in self.labels().items():
            if (labels.get(KIND), labels.get(USER), labels.get(SERVER, "")) == ("home", user, server):
                return volume
        what = f"{user}'s server {server}" if server else f"the user {user}"
        known = ", ".join(sorted(filter(None, users))[:20])
        raise StoreError(
            f"no home of {what} is in the backup of {self.time[:10]}. Fix: choose another day, or one of: {known}"
        )

    def restored(self, source: str, target: Path, *options: str) -> Done:
        """Restore what is below a path of the snapshot into a folder.

        Raises:
            StoreError: it failed.
        """
        # Sparse: otherwise a file of a user with a hole of terabytes would fill the disk.
        always = (f"--target={target}", "--json", "--sparse")
        done = self.restic.call("restore", f"{self.id}:{source}", *always, *options)
        if done.code:
            named = [str(each.get("item")) for each in done.lines() if each.get("message_type") == "error"]
            names = f" Not restored: {', '.join(named[:20])}." if named else ""
            raise StoreError(f"{explained(done, self.restic.repository)}.{names}")
        return done

    def node(self, path: str) -> dict[str, Any]:
        """Return what the snapshot knows of a file or folder, {} if it does not have it."""
        done = self.restic.call("ls", "--json", self.id, path)
        return next((each for each in done.lines() if each.get("path") == path), {}) if done.code == 0 else {}

    def dress(self, name: str, target: Path) -> None:
        """Give a volume's own folder its owner and mode, which restic does not restore: a new volume is root's."""
        if node := self.node(f"{self.places.volumes}/{name}"):
            os.chown(target, node["uid"], node["gid"])
            target.chmod(_permissions(node["mode"]))

    def volume(self, name: str, target: Path, path: str = "", *options: str) -> int:
        """Restore a volume, or a path in it, and return the number of files."""
        sources = [f"{self.places.volumes}/{name}", f"{self.places.copies}/volumes/{name}"]
        count = 0
        found = False
        for source in sources:
            whole = f"{source}/{path}".rstrip("/") if path else source
            if not self.node(whole):
                continue
            found = True
            include = [f"--include=/{_literal(path)}"] if path else []
            done = self.restored(source, target, *include, *options)
            count += int(done.last("summary").get("files_restored", 0))
        if not found:
            what = f"{path} in the volume {name}" if path else f"the volume {name}"
            raise StoreError(f"{what} is not in the backup of {self.time[:10]}. Fix: choose another day or path")
        return count

    def without_stale_logs(self, name: str, target: Path, path: str = "") -> None:
        """Remove the logs beside databases that were restored: SQLite would apply them to the other content.

        One that the snapshot has belongs to its database.  By descriptors, as a user may have put links there.
        """
        known: set[str] = set()
        try:
            for folder, _, files, opened in os.fwalk(target, follow_symlinks=False):
                for file, end in ((file, end) for file in files for end in databases.BESIDE if file.endswith(end)):
                    known = known or self._files(name)
                    log = os.path.relpath(f"{folder}/{file}", target)
                    database = log.removesuffix(end)
                    below = not path or database == path or database.startswith(f"{path}/")
                    if below and database in known and log not in known:
                        _unlink_beside(opened, file.removesuffix(end), file)
        except OSError as error:
            # Such as more nested folders than files can be open.
            print(f"{name}: logs beside restored databases may be left: {error.strerror or error}", file=sys.stderr)

    def _files(self, name: str) -> set[str]:
        """Return the paths of all files of a volume in the snapshot, and of its copies of databases."""
        found = set()
        for source in (f"{self.places.volumes}/{name}", f"{self.places.copies}/volumes/{name}"):
            done = self.restic.call("ls", "--json", "--recursive", self.id, source)
            found |= {os.path.relpath(str(each["path"]), source) for each in done.lines() if each.get("type") == "file"}
        return found


def _unlink_beside(folder: int, database: str, log: str) -> None:
    try:
        opened = os.open(database, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return
    try:
        if databases.is_database(opened):
            os.unlink(log, dir_fd=folder)
    finally:
        os.close(opened)


def _permissions(mode: int) -> int:
    """Return the permissions in a mode as Go has it (io/fs): only its lowest nine bits are those of Unix."""
    special = {23: 0o4000, 22: 0o2000, 20: 0o1000}
    return (mode & 0o777) | sum(bit for number, bit in special.items() if mode >> number & 1)


def _literal(path: str) -> str:
    return re.sub(r"([\\*?\[])", r"\\\1", path)


def inside(path: str) -> str:
    """Return a path in a home, without a slash at its ends.

    Raises:
        StoreError: it leads out of it.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise StoreError(f"{path}: leads out of the home. Fix: write the path as the user sees it in JupyterLab")
    return "/".join(parts)


def home(places: Places, snapshot: Snapshot, volume: str, path: str, *, in_place: bool, dry: bool) -> str:
    """Restore a home, beside the present files or in their place; return what was done."""
    target = places.target / "volumes" / volume
    options = ["--dry-run"] if dry else []
    day = snapshot.time[:10]
    if not dry and not any(target.iterdir()):
        snapshot.dress(volume, target)
    if in_place:
        count = snapshot.volume(volume, target, path, *options)
        if not dry:
            snapshot.without_stale_logs(volume, target, path)
        would = "would be" if dry else "were"
        return f"{count} files and folders of {day} {would} written over the present ones; what the backup lacks stays"
    folder = _new_folder(target, f"restored-{day}", dry=dry)
    count = snapshot.volume(volume, folder, path, *options)
    if not dry:
        # The home's own folder has the owner and the mode that its copy gets.
        about = target.stat()
        folder.chmod(0o700)
        os.chown(folder, about.st_uid, about.st_gid)
    return f"{count} files and folders of {day} {'would be' if dry else 'are'} in the folder {folder.name}"


def _new_folder(target: Path, name: str, *, dry: bool) -> Path:
    for number in range(1, 100):
        folder = target / (name if number == 1 else f"{name}-{number}")
        try:
            if not dry:
                # Never a folder or link that its owner has put there.
                folder.mkdir(0o700)
            return folder
        except FileExistsError:
            continue
    raise StoreError(f"there are 99 folders {name} already. Fix: remove some")


def _staged(places: Places, snapshot: Snapshot) -> Path:
    """Return a folder with the snapshot's database of the Hub, and all secrets.

    All of them first, so that nothing is half replaced if one cannot be read.

    Raises:
        StoreError: what is in the snapshot is damaged.
    """
    staged = places.root / "tmp/hub"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700)
    snapshot.restored(str(places.copies), staged, f"--include=/{DATABASE}")
    new = staged / DATABASE
    if not new.exists():
        raise StoreError(f"the backup of {snapshot.time[:10]} has no copy of the Hub's database. Fix: choose another")
    if hashlib.sha256(new.read_bytes()).hexdigest() != snapshot.manifest["database_sha256"] or databases.damage(new):
        raise StoreError(f"the copy of the Hub's database of {snapshot.time[:10]} is damaged. Fix: choose another")
    for each in SECRETS:
        if snapshot.node(f"{places.deployment}/{each}"):
            (staged / each).mkdir(parents=True)
            snapshot.restored(f"{places.deployment}/{each}", staged / each)
    return staged


def hub(places: Places, snapshot: Snapshot) -> str:
    """Restore the Hub's database and all secrets; the Hub is stopped meanwhile.

    Raises:
        StoreError: what is in the snapshot is damaged; nothing was changed.
    """
    return _replace_hub(places, snapshot, _staged(places, snapshot))


def _replace_hub(places: Places, snapshot: Snapshot, staged: Path) -> str:
    plan = places.plan()
    volume = places.target / "volumes" / str(plan["hub_volume"])
    kept = _replace_database(volume, staged / DATABASE)
    for each in SECRETS:
        if (staged / each).is_dir():
            _replace_files(staged / each, places.target / "deployment" / each)
    other = "; the settings were others then" if snapshot.manifest["settings"] != plan["settings"] else ""
    return f"The Hub's database and its secrets are those of {snapshot.time[:16]}{kept}{other}."


def everything(places: Places, snapshot: Snapshot) -> Iterator[str]:
    """Restore all volumes and the Hub, and yield what was done.

    Raises:
        StoreError: what is in the snapshot is damaged; if it is the Hub's own, nothing was changed.
    """
    staged = _staged(places, snapshot)
    own = str(places.plan()["hub_volume"])
    for volume, labels in sorted(snapshot.labels().items()):
        if volume != own:
            # Parts of another trail would not follow from the lines before them.
            options = ["--delete"] if labels.get(KIND) == "audit-trail" else []
            target = places.target / "volumes" / volume
            count = snapshot.volume(volume, target, "", *options)
            snapshot.without_stale_logs(volume, target)
            snapshot.dress(volume, target)
            yield f"{volume}: {count} files and folders"
    yield _replace_hub(places, snapshot, staged)


def _replace_database(volume: Path, new: Path) -> str:
    """Put a database in the place of the present one, which stays under a name of its own.

    The new one is written first, so that a full disk changes nothing.
    """
    part = volume / f".{DATABASE}.part"
    try:
        shutil.copyfile(new, part)
        part.chmod(0o600)
        os.chown(part, HUB_UID, HUB_UID)
        _flush(part)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    kept = ""
    # The log of a Hub that was killed has rows that the database lacks, and would be applied to the new one.
    present = [end for end in ("", "-wal", "-journal") if os.path.lexists(volume / f"{DATABASE}{end}")]
    if present:
        before = _free_name(volume, f"{DATABASE}.before-restore-{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}")
        for end in present:
            (volume / f"{DATABASE}{end}").rename(volume / f"{before}{end}")
        kept = f"; the present database is kept as {before} in the volume"
    (volume / f"{DATABASE}-shm").unlink(missing_ok=True)
    part.replace(volume / DATABASE)
    _flush(volume)
    return kept


def _free_name(folder: Path, name: str) -> str:
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(each for each in names if not any(folder.glob(f"{each}*")))


def _flush(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _replace_files(source: Path, target: Path) -> None:
    """Copy a folder over another one, with owners and modes; other files stay."""
    for path, _, files in os.walk(source):
        folder = target / os.path.relpath(path, source)
        if not folder.exists():
            folder.mkdir(parents=True)
            _like(Path(path), folder)
        for name in files:
            part = folder / f".{name}.part"
            shutil.copyfile(Path(path) / name, part)
            _like(Path(path) / name, part)
            part.replace(folder / name)


def _like(source: Path, target: Path) -> None:
    about = source.stat()
    target.chmod(about.st_mode & 0o7777)
    os.chown(target, about.st_uid, about.st_gid)


def listed(places: Places) -> str:
    """Return all backups as a table."""
    plan = places.plan()
    restic = Restic(places, plan["repository"], read_only=True)
    restic.open()
    lines = ["snapshot  time (UTC)           files        size"]
    for each in restic.snapshots(plan["name"]):
        summary = each.get("summary") or {}
        size = state.size(summary.get("total_bytes_processed", 0))
        time = str(each["time"])[:19].replace("T", " ")
        lines.append(f"{str(each['id'])[:8]}  {time}  {summary.get('total_files_processed', 0):>8}  {size:>10}")
    return "\n".join(lines) if len(lines) > 1 else "There is no backup yet."
