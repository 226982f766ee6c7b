"""What a restore chooses and replaces, with a stand-in for restic."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from jupyterhub_backup import __main__ as program
from jupyterhub_backup import restic, restore, save, state
from jupyterhub_backup.places import Places
from jupyterhub_backup.restic import StoreError


def labels(kind: str, user: str = "", server: str = "") -> dict[str, str]:
    return {f"jupyterhub-ansible.{key}": value for key, value in (("kind", kind), ("user", user), ("server", server))}


OWNERS: dict[str, tuple[int, int]] = {}
VOLUMES = [
    {"name": "hub-user-ada", "labels": labels("home", "ada")},
    {"name": "hub-user-ada--gpu", "labels": labels("home", "ada", "gpu")},
    {"name": "hub-mount-ada", "labels": labels("mount", "ada")},
    {"name": "hub-hub", "labels": labels("hub-state")},
]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A snapshot in the folder `snapshot`, with the paths that it has there."""
    places = Places(tmp_path)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "etc/backup").mkdir(parents=True)
    plan = {"name": "hub", "repository": "/backups", "hub_volume": "hub-hub"}
    (tmp_path / "etc/backup/settings.json").write_text('{"settings": "x"}')
    (tmp_path / "etc/backup/plan.json").write_text(json.dumps(plan))
    copies = tmp_path / "snapshot" / places.copies.relative_to("/")
    copies.mkdir(parents=True)
    with closing(sqlite3.connect(copies / save.DATABASE)) as database, database:
        database.execute("create table users (name)")
    digest = hashlib.sha256((copies / save.DATABASE).read_bytes()).hexdigest()
    manifest = {"version": 1, "volumes": VOLUMES, "database_sha256": digest, "settings": "x"}
    (copies / "manifest.json").write_text(json.dumps(manifest))

    def call(_self: restic.Restic, command: str, *arguments: str) -> restic.Done:
        snapshot = tmp_path / "snapshot"
        if command == "snapshots":
            return restic.Done(0, json.dumps([{"id": "aaaa1111", "time": "2026-11-28T03:30:00Z"}]), "")
        if command == "cat":
            return restic.Done(0, '{"id": "id"}', "")
        if command == "dump":
            return restic.Done(0, (snapshot / arguments[1].lstrip("/")).read_text(), "")
        if command == "ls" and "--recursive" in arguments:
            folder = snapshot / arguments[-1].lstrip("/")
            nodes = [f"/{each.relative_to(snapshot)}" for each in folder.rglob("*") if each.is_file()]
            return restic.Done(0, "\n".join(json.dumps({"type": "file", "path": each}) for each in nodes), "")
        if command == "ls":
            there = os.path.lexists(snapshot / arguments[2].lstrip("/"))
            node = {"path": arguments[2], "uid": 1000, "gid": 1000, "mode": 2151678440}
            return restic.Done(0 if there else 1, json.dumps(node), "")
        source = snapshot / arguments[0].partition(":")[2].lstrip("/")
        target = Path(arguments[1].removeprefix("--target="))
        assert "--sparse" in arguments, "a hole would fill the disk"
        files = [path for path in source.rglob("*") if path.is_file()]
        for path in files if "--dry-run" not in arguments else []:
            new = target / path.relative_to(source)
            new.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(path.read_bytes())
        return restic.Done(0, json.dumps({"message_type": "summary", "files_restored": len(files)}), "")

    monkeypatch.setattr(restic.Restic, "call", call)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: OWNERS.update({str(path): (uid, gid)}))
    OWNERS.clear()
    return places


def saved(places: Places, path: Path, text: str) -> None:
    """Put a file into the snapshot."""
    file = places.root / "snapshot" / path.relative_to("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def target(places: Places, volume: str, **files: str) -> Path:
    folder = places.target / "volumes" / volume
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_homes_are_found_by_their_labels(places: Places) -> None:
    snapshot = restore.Snapshot(places, "latest")
    assert snapshot.home("ada", "") == "hub-user-ada"
    assert snapshot.home("ada", "gpu") == "hub-user-ada--gpu"
    with pytest.raises(StoreError, match=r"no home of the user bob .* of 2026-11-28.* one of: ada"):
        snapshot.home("bob", "")
    with pytest.raises(StoreError, match="ada's server cpu"):
        snapshot.home("ada", "cpu")


@pytest.mark.parametrize(
    ("path", "found"), [("a/b", "a/b"), ("/a/", "a"), ("./a//b", "a/b"), ("", ""), ("a..b", "a..b")]
)
def test_paths_in_a_home(path: str, found: str) -> None:
    assert restore.inside(path) == found


@pytest.mark.parametrize("path", ["..", "../bob", "a/../../bob"])
def test_paths_that_lead_out_of_it(path: str) -> None:
    with pytest.raises(StoreError, match="leads out of the home"):
        restore.inside(path)


def test_a_home_is_put_into_a_new_folder(places: Places) -> None:
    saved(places, places.volumes / "hub-user-ada/notes", "then")
    saved(places, places.copies / "volumes/hub-user-ada/history.sqlite", "copy")
    folder = target(places, "hub-user-ada", notes="now")
    # Whatever its owner has put there under that name.
    (folder / "restored-2026-11-28").symlink_to("/nowhere")
    snapshot = restore.Snapshot(places, "latest")
    said = restore.home(places, snapshot, "hub-user-ada", "", in_place=False, dry=False)
    assert said == "2 files and folders of 2026-11-28 are in the folder restored-2026-11-28-2"
    new = folder / "restored-2026-11-28-2"
    assert {path.name: path.read_text() for path in new.iterdir()} == {"notes": "then", "history.sqlite": "copy"}
    assert (folder / "notes").read_text() == "now"


def test_a_volume_that_was_made_again_is_its_user_s(places: Places) -> None:
    saved(places, places.volumes / "hub-user-ada/notes", "then")
    folder = target(places, "hub-user-ada")
    restore.home(places, restore.Snapshot(places, "latest"), "hub-user-ada", "", in_place=True, dry=False)
    assert (OWNERS[str(folder)], folder.stat().st_mode & 0o7777) == ((1000, 1000), 0o2750)


def test_everything_comes_back_with_the_owners_of_volumes(places: Places) -> None:
    folders = [target(places, str(each["name"])) for each in VOLUMES]
    for each in VOLUMES:
        saved(places, places.volumes / str(each["name"]) / "file", str(each["name"]))
    said = list(restore.everything(places, restore.Snapshot(places, "latest")))
    assert said[0] == "hub-mount-ada: 1 files and folders"
    assert [OWNERS.get(str(folder)) for folder in folders] == [(1000, 1000)] * 3 + [None]
    assert (folders[0] / "file").read_text() == "hub-user-ada"


@pytest.mark.parametrize(
    ("path", "gone"),
    [("", {"a.db-wal", "a.db-shm", "b-journal"}), ("a.db", {"a.db-wal", "a.db-shm"}), ("papers", set())],
)
@pytest.mark.parametrize("dry", [False, True])
def test_logs_of_another_content_are_removed(places: Places, path: str, gone: set[str], dry: bool) -> None:
    content, copies = places.volumes / "hub-user-ada", places.copies / "volumes/hub-user-ada"
    database = "SQLite format 3\0"
    for file in (copies / "a.db", content / "b", content / "c.db", content / "c.db-wal", content / "papers/d"):
        saved(places, file, database)
    saved(places, content / "lab", "text")
    logs = {"a.db-wal", "a.db-shm", "b-journal", "c.db-wal", "lab-journal", "other-journal", "e-wal"}
    folder = target(places, "hub-user-ada", e=database, **dict.fromkeys(logs, "now"))
    snapshot = restore.Snapshot(places, "latest")
    restore.home(places, snapshot, "hub-user-ada", path, in_place=True, dry=dry)
    left = {each.name for each in folder.iterdir() if each.name in logs}
    assert logs - left == (set() if dry else gone)


def test_a_dry_run_changes_nothing(places: Places) -> None:
    saved(places, places.volumes / "hub-user-ada/notes", "then")
    folder = target(places, "hub-user-ada", notes="now")
    snapshot = restore.Snapshot(places, "latest")
    said = restore.home(places, snapshot, "hub-user-ada", "", in_place=True, dry=True)
    assert said.startswith("1 files and folders of 2026-11-28 would be written over the present ones")
    assert (folder / "notes").read_text() == "now"


def test_what_is_not_in_the_snapshot(places: Places) -> None:
    saved(places, places.volumes / "hub-user-ada/notes", "then")
    target(places, "hub-user-ada")
    with pytest.raises(StoreError, match="papers in the volume hub-user-ada is not in the backup"):
        restore.home(places, restore.Snapshot(places, "latest"), "hub-user-ada", "papers", in_place=True, dry=False)


def kept_files(volume: Path) -> list[Path]:
    return sorted(volume.glob(f"{save.DATABASE}.before-restore*"))


def kept(volume: Path) -> dict[str, str]:
    """Return what is kept of the former database, by the end of the name."""
    [first, *_] = files = kept_files(volume)
    return {path.name.removeprefix(first.name): path.read_text(errors="replace") for path in files}


def test_the_hub_is_replaced(places: Places) -> None:
    saved(places, places.deployment / "hub/secrets/cookie_secret", "then")
    volume = target(places, "hub-hub", **{save.DATABASE: "now", f"{save.DATABASE}-wal": "of now"})
    (places.target / "deployment/hub/secrets").mkdir(parents=True)
    (places.target / "deployment/hub/secrets/cookie_secret").write_text("now")
    (places.target / "deployment/hub/secrets/other").write_text("stays")
    said = restore.hub(places, restore.Snapshot(places, "latest"))
    # The log has rows that the database lacks, and would be applied to the other one.
    assert kept(volume) == {"": "now", "-wal": "of now"}
    assert f"kept as {next(each.name for each in kept_files(volume))} in the volume" in said
    assert sorted(path.name for path in volume.iterdir() if path not in kept_files(volume)) == [save.DATABASE]
    with closing(sqlite3.connect(volume / save.DATABASE)) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("users",)]
    secrets = places.target / "deployment/hub/secrets"
    assert {path.name: path.read_text() for path in secrets.iterdir()} == {"cookie_secret": "then", "other": "stays"}


def test_every_former_database_is_kept(places: Places) -> None:
    volume = target(places, "hub-hub", **{save.DATABASE: "first"})
    restore.hub(places, restore.Snapshot(places, "latest"))
    (volume / save.DATABASE).write_text("second")
    restore.hub(places, restore.Snapshot(places, "latest"))
    assert sorted(path.read_text() for path in kept_files(volume)) == ["first", "second"]


def test_a_full_disk_changes_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    present = {save.DATABASE: "now", f"{save.DATABASE}-wal": "of now"}
    volume = target(places, "hub-hub", **present)

    def full(_source: Path, part: Path) -> None:
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device", str(part))

    monkeypatch.setattr(shutil, "copyfile", full)
    monkeypatch.setattr("sys.argv", ["jupyterhub_backup", "hub"])
    monkeypatch.setattr(program, "Places", lambda: places)
    assert program.main() == state.FAILED
    assert {path.name: path.read_text() for path in volume.iterdir()} == present


@pytest.mark.parametrize("command", ["hub", "all"])
def test_a_damaged_copy_replaces_nothing(places: Places, command: str) -> None:
    copy = places.root / "snapshot" / places.copies.relative_to("/") / save.DATABASE
    copy.write_bytes(copy.read_bytes()[:-1] + b"x")
    volume = target(places, "hub-hub", **{save.DATABASE: "now"})
    home = target(places, "hub-user-ada", notes="now")
    for each in VOLUMES:
        saved(places, places.volumes / str(each["name"]) / "notes", "then")
    snapshot = restore.Snapshot(places, "latest")
    with pytest.raises(StoreError, match="is damaged"):
        restore.hub(places, snapshot) if command == "hub" else list(restore.everything(places, snapshot))
    assert (home / "notes").read_text() == "now"
    assert {path.name: path.read_text() for path in volume.iterdir()} == {save.DATABASE: "now"}


def test_an_error_does_nothing_to_a_terminal(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["jupyterhub_backup", "home", "--user", "\x1b[2Jbob"])
    monkeypatch.setattr(program, "Places", lambda: places)
    assert program.main() == state.FAILED
    assert r"the user \x1b[2Jbob" in capsys.readouterr().err


def test_a_snapshot_of_another_version_is_refused(places: Places) -> None:
    manifest = places.root / "snapshot" / places.copies.relative_to("/") / "manifest.json"
    manifest.write_text(json.dumps({"version": 2}))
    with pytest.raises(StoreError, match="another version"):
        restore.Snapshot(places, "latest")


def test_the_list(places: Places) -> None:
    assert "aaaa1111  2026-11-28 03:30:00" in restore.listed(places)


def test_settings_of_another_day_are_said(places: Places) -> None:
    target(places, "hub-hub")
    (places.root / "etc/backup/settings.json").write_text('{"settings": "y"}')
    assert "the settings were others then" in restore.hub(places, restore.Snapshot(places, "latest"))
