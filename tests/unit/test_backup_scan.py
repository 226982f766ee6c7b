"""What a run finds in volumes."""

from __future__ import annotations

import os
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from jupyterhub_backup import scan

OLD = 1_000_000_000


def database(file: Path, age: float = 0, rows: int = 1) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as opened, opened:
        opened.execute("create table t (x)")
        opened.executemany("insert into t values (?)", [("x" * 1000,)] * rows)
    os.utime(file, (time.time() - age,) * 2)


@pytest.fixture
def live(tmp_path: Path) -> scan.LiveDatabases:
    (tmp_path / "volumes/ada").mkdir(parents=True)
    return scan.LiveDatabases(tmp_path / "volumes", tmp_path / "copies", time.time())


def names(live: scan.LiveDatabases) -> list[str]:
    return sorted(os.path.relpath(file, live.volumes) for file in live.copied)


def test_only_databases_in_use_are_copied(live: scan.LiveDatabases) -> None:
    home = live.volumes / "ada"
    database(home / "now.db")
    database(home / "deep/er/history.sqlite")
    database(home / "old.db", age=scan.LIVE_S * 2)
    database(home / "logged", age=scan.LIVE_S * 2)
    (home / "logged-wal").write_bytes(b"x" * 100)
    database(home / "plain.dat")
    (home / "text.db").write_text("no database")
    (home / "link.db").symlink_to("now.db")
    os.mkfifo(home / "pipe.db")
    database(live.volumes / "hub/hub.sqlite")
    live.run(frozenset({"hub"}))
    assert names(live) == ["ada/deep/er/history.sqlite", "ada/logged", "ada/now.db"]
    assert live.named.count == 0
    copies = sorted(os.path.relpath(each, live.copies) for each in live.copies.rglob("*") if each.is_file())
    assert copies == names(live)


def test_folders_of_copies_have_the_metadata_of_the_originals(live: scan.LiveDatabases) -> None:
    folder = live.volumes / "ada/deep"
    database(folder / "a.db")
    folder.chmod(0o2750)
    os.utime(folder, (OLD, OLD))
    os.chown(folder, os.getuid(), os.getgid())
    live.run()
    about = (live.copies / "ada/deep").stat()
    assert (about.st_mode & 0o7777, about.st_mtime) == (folder.stat().st_mode & 0o7777, OLD)


def test_large_ones_and_odd_names_are_named(live: scan.LiveDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    home = live.volumes / "ada"
    database(home / "large.db", rows=100)
    database(home / "two\nlines.db")
    monkeypatch.setattr(scan, "LARGEST", 50_000)
    live.run()
    assert (names(live), sorted(live.named.first)) == ([], ["ada/large.db", r"ada/two\nlines.db"])


def test_all_copies_together_have_a_limit(live: scan.LiveDatabases) -> None:
    for number in range(3):
        database(live.volumes / f"ada/{number}.db")
    live.room = 20_000
    live.run()
    assert (len(live.copied), live.named.count) == (2, 1)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/a/b.db", "/a/b.db"),
        ("/a b/[1]*?.db", r"/a b/\[1]\*\?.db"),
        ("/a/$HOME.db", "/a/$$HOME.db"),
    ],
)
def test_lines_exclude_exactly_one_path(path: str, line: str) -> None:
    assert (scan.excludable(path), scan.pattern(path)) == (True, line)


@pytest.mark.parametrize("path", ["/a/b\n.db", "/a/b.db ", "/a\\b.db"])
def test_some_names_cannot_be_excluded(path: str) -> None:
    assert not scan.excludable(path)


def test_changes_during_a_run_are_found(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    for name in ("before", "during", "copied"):
        (home / name).write_text(name)
    time.sleep(0.05)
    start = time.time_ns()
    (home / "during").write_text("changed")
    # Its time is set back, as by an archive that is unpacked.
    os.utime(home / "during", (OLD, OLD))
    (home / "copied").write_text("changed")
    found, unwalked = scan.changed_since(tmp_path, start, frozenset({f"{home}/copied"}))
    assert (found.first, found.count, unwalked.count) == (["ada/during"], 1, 0)


@contextmanager
def few_files_open() -> Iterator[None]:
    """More nested folders than that cannot be walked through."""
    now = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, now[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, now)


def test_one_user_s_home_does_not_end_the_backup_of_the_others(live: scan.LiveDatabases) -> None:
    live.volumes.joinpath("ada", *["d"] * 200).mkdir(parents=True)
    database(live.volumes / "bob/now.db")
    with few_files_open():
        live.run()
        found, unwalked = scan.changed_since(live.volumes, 0)
    assert (names(live), live.unwalked.first) == (["bob/now.db"], ["ada: Too many open files"])
    assert (found.first, unwalked.first) == (["bob/now.db"], ["ada: Too many open files"])


def test_a_folder_that_is_removed_meanwhile_is_named(live: scan.LiveDatabases) -> None:
    database(live.volumes / "ada/deep/a.db")
    (live.copies / "ada/gone").mkdir(parents=True)
    live.run()
    assert (names(live), live.named.first) == (["ada/deep/a.db"], ["ada/gone"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("täglich $1 名", "täglich $1 名"),
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("a\r\nb\x9b", r"a\r\nb\x9b"),
        ("\u202eexe", r"\u202eexe"),
        ("\udcff", r"\udcff"),
    ],
)
def test_names_do_nothing_to_a_terminal(name: str, shown: str) -> None:
    found = scan.Names()
    found.add(name)
    assert found.first == [shown]


def test_only_so_many_are_named() -> None:
    found = scan.Names()
    for number in range(scan.NAMED + 3):
        found.add(str(number))
    assert (len(found.first), found.count) == (scan.NAMED, scan.NAMED + 3)
