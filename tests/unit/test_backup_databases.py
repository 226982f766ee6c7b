"""Copies of databases that others write to."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_backup import databases

SCRIPT = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2].split(";"):
    database.execute(statement)
print("ready", flush=True)
sys.stdin.read()
"""
WAL = "pragma journal_mode=wal;pragma wal_autocheckpoint=0;create table t (x);insert into t values (7)"


@contextmanager
def writer(file: Path, statements: str) -> Iterator[None]:
    """Hold a database open in another process, as a user's server does."""
    command = [sys.executable, "-c", SCRIPT, str(file), statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield


def copied(file: Path, target: Path, limit_s: float = 5) -> None:
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        databases.copy(folder, file.name, target, limit_s)
    finally:
        os.close(folder)


def rows(file: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("select x from t").fetchall()


@pytest.mark.parametrize("name", ["a.sqlite", "with space $x #1 100%? [a].db", "ä\udcff.db"])
def test_what_is_only_in_the_log_is_copied(tmp_path: Path, name: str) -> None:
    file, target = tmp_path / name, tmp_path / "copy"
    with writer(file, WAL):
        assert (tmp_path / f"{name}-wal").stat().st_size > 0
        copied(file, target)
        assert target.stat().st_mtime_ns == file.stat().st_mtime_ns
    assert rows(target) == [(7,)]
    assert {each.name for each in tmp_path.iterdir()} - {name} == {"copy"}


def test_a_closed_database_with_a_log_is_copied_from_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_to = databases._copy_to

    def refused(source: str, new: Path, inode: tuple[int, int], options: str, limit_s: float) -> None:
        # As SQLite does on a read-only mount.
        if options == "mode=ro":
            raise sqlite3.OperationalError("unable to open database file")
        copy_to(source, new, inode, options, limit_s)

    monkeypatch.setattr(databases, "_copy_to", refused)
    folder, target = tmp_path / "volume", tmp_path / "copy"
    folder.mkdir()
    with writer(folder / "a.db", WAL):
        pass
    assert [each.name for each in folder.iterdir()] == ["a.db"]
    copied(folder / "a.db", target)
    assert rows(target) == [(7,)]


def test_a_database_that_stays_locked_is_not_waited_for(tmp_path: Path) -> None:
    file, target = tmp_path / "a.db", tmp_path / "copy"
    with writer(file, "create table t (x);begin exclusive;insert into t values (1)"):
        with pytest.raises(databases.CopyError):
            copied(file, target, limit_s=0.3)
        assert not target.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A user could otherwise have a copy of another one's database put into their home."""
    other = tmp_path / "bob.db"
    with closing(sqlite3.connect(other)) as database:
        database.execute("create table t (x)")
    link = tmp_path / "link.db"
    link.symlink_to(other)
    with pytest.raises(databases.CopyError):
        copied(link, tmp_path / "copy")


def test_a_link_put_in_its_place_in_time_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = tmp_path / "mine.db", tmp_path / "bob.db"
    for file in (mine, other):
        with closing(sqlite3.connect(file)) as database:
            database.execute("create table t (x)")
    connect = sqlite3.connect

    def replaced(path: str, **options: Any) -> Any:
        if "mine.db" in path:
            mine.unlink()
            mine.symlink_to(other)
        return connect(path, **options)

    monkeypatch.setattr(sqlite3, "connect", replaced)
    with pytest.raises(databases.CopyError, match="replaced"):
        copied(mine, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"SQLite format 3"])
def test_other_files_are_not_databases(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(databases.CopyError, match="not a database"):
        copied(tmp_path / "a.db", tmp_path / "copy")


def test_damage_is_found(tmp_path: Path) -> None:
    good, broken, dangling = (tmp_path / name for name in ("good", "broken", "dangling"))
    for file in (good, broken):
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("create table t (x)")
            database.execute("create index i on t (x)")
            database.executemany("insert into t values (?)", [(f"{number}" * 50,) for number in range(500)])
    content = bytearray(broken.read_bytes())
    content[-3000:-2000] = b"\xff" * 1000
    broken.write_bytes(content)
    with closing(sqlite3.connect(dangling)) as database, database:
        database.execute("create table a (x primary key)")
        database.execute("create table b (y references a)")
        database.execute("insert into b values (1)")
    assert databases.damage(good) == ""
    assert databases.damage(broken) != ""
    assert databases.damage(dangling) == ""
    assert "1 rows refer to rows that do not exist, first in b" in databases.dangling(dangling)
    assert databases.dangling(good) == ""
