"""A run, with a stand-in for restic."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_backup import restic, save, scan, state
from jupyterhub_backup.places import Places

SUMMARY = {
    "message_type": "summary",
    "snapshot_id": "aaaa1111",
    "total_files_processed": 3,
    "total_bytes_processed": 2048,
    "data_added": 100,
}


class Store:
    """What restic is asked, and answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.answers: dict[str, restic.Done] = {"backup": restic.Done(0, json.dumps(SUMMARY), "")}
        self.exists = True
        self.excluded = ""
        self.copied: list[str] = []

    def call(self, repository: restic.Restic, *arguments: str) -> restic.Done:
        self.calls.append(arguments)
        if arguments[0] == "backup":
            self.excluded = Path(
                next(each for each in arguments if "exclude-file" in each).partition("=")[2]
            ).read_text()
            self.copied = sorted(path.name for path in repository.places.copies.rglob("*") if path.is_file())
        if arguments[0] == "init":
            self.exists = True
        if arguments[:2] == ("cat", "config"):
            return restic.Done(0, '{"id": "id"}', "") if self.exists else restic.Done(10, "", "no repository")
        return self.answers.get(arguments[0], restic.Done(0, "", ""))

    @property
    def commands(self) -> list[str]:
        return [each[0] for each in self.calls]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    store = Store()
    monkeypatch.setattr(restic.Restic, "call", lambda self, *arguments: store.call(self, *arguments))
    return store


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path)
    hub = places.volumes / "hub"
    for folder in (
        places.repository,
        hub,
        places.volumes / "ada",
        places.copies,
        places.state,
        places.root / "tmp",
        tmp_path / "etc/backup",
    ):
        folder.mkdir(parents=True)
    with closing(sqlite3.connect(hub / save.DATABASE)) as database:
        database.execute("create table users (name)")
    planned(places)
    return places


def planned(places: Places, **others: Any) -> None:
    plan = {"name": "hub", "repository": "/backups", "keep": {"daily": 2}, "hub_volume": "hub", **others}
    (places.root / "etc/backup/plan.json").write_text(json.dumps(plan))
    (places.root / "etc/backup/settings.json").write_text('{"settings": "x"}')


def test_a_complete_run(places: Places, store: Store) -> None:
    listed = [{"Name": "ada", "Labels": {"kind": "home"}, "Mountpoint": "/x"}]
    (places.copies / "volumes.json").write_text(json.dumps(listed))
    result = save.save(places)
    assert (result["result"], result["files"], result["bytes"], result["snapshot"]) == ("complete", 3, 2048, "aaaa1111")
    assert state.read(places.state / state.LAST) == result
    assert not (places.state / state.RUNNING).exists()
    assert store.commands == ["cat", "list", "backup", "forget"]
    assert store.calls[-1][1:] == ("--prune", "--host=hub", "--tag=hub", "--group-by=host,tags", "--keep-daily=2")
    assert store.copied == [save.DATABASE, "manifest.json"]
    assert f"{places.volumes}/hub/{save.DATABASE}-journal" in store.excluded.splitlines()
    assert f"{places.deployment}/backup" in store.excluded.splitlines()
    manifest = json.loads((places.copies / "manifest.json").read_text())
    assert manifest["volumes"] == [{"name": "ada", "labels": {"kind": "home"}}]
    assert "complete, 3 files, 2.0 KiB" in state.told(result)


def test_what_cannot_be_read_is_named(places: Places, store: Store) -> None:
    error = {"message_type": "error", "error": {"message": "x"}, "item": f"{places.volumes}/ada/secret"}
    store.answers["backup"] = restic.Done(3, json.dumps(SUMMARY), json.dumps(error))
    result = save.save(places)
    assert (result["result"], result["incomplete"]) == ("incomplete", ["ada/secret"])
    assert "1 not in it: ada/secret" in state.told(result)


def test_rows_that_refer_to_nothing_are_a_warning(places: Places, store: Store) -> None:
    """The Hub works with them, and must be restorable."""
    with closing(sqlite3.connect(places.volumes / "hub" / save.DATABASE)) as database, database:
        database.execute("create table a (x primary key)")
        database.execute("create table b (y references a)")
        database.execute("insert into b values (1)")
    result = save.save(places)
    assert (result["result"], "1 rows refer to rows that do not exist" in result["warning"]) == ("complete", True)
    assert save.DATABASE in store.copied


def test_a_damaged_database_is_named_and_saved_as_it_is(places: Places, store: Store) -> None:
    file = places.volumes / "hub" / save.DATABASE
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("create table t (x)")
        database.execute("create index i on t (x)")
        database.executemany("insert into t values (?)", [(f"{number}" * 50,) for number in range(500)])
    content = bytearray(file.read_bytes())
    content[-3000:-2000] = b"\xff" * 1000
    file.write_bytes(content)
    result = save.save(places)
    assert result["result"] == "incomplete"
    assert result["incomplete"][0].startswith("the Hub's database is damaged: ")
    assert save.DATABASE not in store.copied
    assert save.DATABASE not in store.excluded


def test_without_a_database_the_run_is_incomplete(places: Places, store: Store) -> None:
    (places.volumes / "hub" / save.DATABASE).unlink()
    assert save.save(places)["incomplete"] == ["the Hub's database: there is no jupyterhub.sqlite in the volume hub"]


@pytest.mark.parametrize("others", [{"keep": {}}, {"append_only": True, "keep": {"daily": 1}}])
def test_nothing_is_removed(places: Places, store: Store, others: dict[str, Any]) -> None:
    planned(places, **others)
    assert save.save(places)["result"] == "complete"
    assert "forget" not in store.commands


def test_old_snapshots_that_cannot_be_removed_are_a_warning(places: Places, store: Store) -> None:
    store.answers["forget"] = restic.Done(11, "", "repository is already locked by PID 1 on other")
    result = save.save(places)
    assert (result["result"], "old snapshots were not removed: the repository is locked" in result["warning"]) == (
        "complete",
        True,
    )


def test_a_repository_is_made_once(places: Places, store: Store) -> None:
    store.exists = False
    assert save.save(places)["result"] == "complete"
    assert store.commands.count("init") == 1
    store.exists = False
    result = save.save(places)
    assert (result["result"], "is gone. Fix: mount its disk" in result["error"]) == ("failed", True)
    assert store.commands.count("init") == 1
    # Another address is another repository.
    planned(places, repository="/elsewhere")
    assert save.save(places)["result"] == "complete"


@pytest.mark.parametrize(
    ("name", "made"), [("lost+found", 1), ("keys", 1), ("config-tmp-12", 1), ("photos", 0), (".profile", 0)]
)
def test_a_repository_has_a_folder_of_its_own(places: Places, store: Store, name: str, made: int) -> None:
    store.exists = False
    (places.repository / name).mkdir()
    result = save.save(places)
    assert (store.commands.count("init"), f"has other files ({name})" in result.get("error", "")) == (made, not made)


def test_a_failure_is_a_result(places: Places, store: Store) -> None:
    store.answers["backup"] = restic.Done(1, "", "Fatal: no space left on device")
    result = save.save(places)
    assert (result["result"], "the store is full" in result["error"]) == ("failed", True)
    assert "failed: the store is full" in (places.state / "last.txt").read_text()
    os.truncate(places.state / state.LAST, 5)
    assert state.read(places.state / state.LAST) == {}


def test_a_database_in_a_home_is_replaced_by_its_copy(places: Places, store: Store) -> None:
    with closing(sqlite3.connect(places.volumes / "ada/history.sqlite")) as database:
        database.execute("create table t (x)")
    result = save.save(places)
    assert "history.sqlite" in store.copied
    assert f"{places.volumes}/ada/history.sqlite" in store.excluded.splitlines()
    # The original was made before the run; its copy does not count as a change.
    assert result["live_databases"] == []


def test_a_home_that_cannot_be_looked_through_is_incomplete(
    places: Places, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = os.fwalk

    def failing(folder: Path, **options: Any) -> Any:
        if folder.name == "ada":
            raise OSError(24, "Too many open files")
        return walk(folder, **options)

    monkeypatch.setattr(os, "fwalk", failing)
    result = save.save(places)
    assert (result["result"], result["incomplete"]) == ("incomplete", ["ada: Too many open files"])


def test_names_are_counted(monkeypatch: pytest.MonkeyPatch, places: Places, store: Store) -> None:
    monkeypatch.setattr(scan, "NAMED", 1)
    errors = [{"message_type": "error", "item": f"{places.volumes}/ada/{number}"} for number in range(3)]
    store.answers["backup"] = restic.Done(3, json.dumps(SUMMARY), "\n".join(map(json.dumps, errors)))
    assert "3 not in it: ada/0, and 2 more" in state.told(save.save(places))
