"""The versions of files: what is kept, how much of it, and that nothing but copies is ever written or removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from jupyterhub_versions.limits import Limits
from jupyterhub_versions.ring import ChangedError, NotKeptError, Ring

MB = 1024 * 1024


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    return home


@pytest.fixture
def ring(home: Path) -> Ring:
    return Ring(home, Limits(per_file=10, mb=8))


def save(ring: Ring, name: str, content: str | bytes) -> bool:
    path = ring.path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ring.keep(ring.name_of(name))


def contents(ring: Ring, name: str) -> list[str]:
    return [version.path.read_text() for version in ring.versions(name)]


def aged(ring: Ring, name: str, seconds: int) -> None:
    """As if all versions had been made earlier."""
    for version in ring.versions(name):
        stem = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(version.time - seconds))
        version.path.rename(version.path.with_name(stem + version.path.name[19:]))


def all_files(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): path.stat().st_size for path in home.rglob("*") if path.is_file()}


def test_each_saved_content_is_a_read_only_copy_beside_the_others(ring: Ring, home: Path) -> None:
    for content in ("one", "two", "two", "three"):
        save(ring, "work/a.ipynb", content)
    assert contents(ring, "work/a.ipynb") == ["three", "two", "one"]
    for version in ring.versions("work/a.ipynb"):
        assert version.path.parent == home / "versions/work/a.ipynb"
        assert version.path.suffix == ".ipynb"
        assert version.path.stat().st_mode & 0o222 == 0
        assert abs(version.time - time.time()) < 10


def test_a_second_ring_continues_the_first(ring: Ring, home: Path) -> None:
    save(ring, "a.txt", "one")
    again = Ring(home, Limits(10, 8))
    assert not save(again, "a.txt", "one")
    assert save(again, "a.txt", "two")
    assert contents(again, "a.txt") == ["two", "one"]


def test_their_number_is_bounded(ring: Ring) -> None:
    for number in range(30):
        save(ring, "a.txt", str(number))
    kept = contents(ring, "a.txt")
    assert len(kept) == 10
    assert kept[:2] == ["29", "28"]


def test_old_ones_are_thinned(ring: Ring) -> None:
    for number in range(5):
        save(ring, "a.txt", str(number))
    aged(ring, "a.txt", 3 * 3600)
    save(ring, "a.txt", "now")
    # One of that hour.
    assert contents(ring, "a.txt") == ["now", "4"]


def test_all_together_keep_to_the_limit_and_the_largest_lose_first(ring: Ring, home: Path) -> None:
    for number in range(3):
        save(ring, "small.txt", str(number))
    save(ring, "deleted.txt", "x" * MB)
    (home / "deleted.txt").unlink()
    for number in range(20):
        save(ring, "large.ipynb", str(number % 10) * (2 * MB - 100))
        used = sum(size for name, size in all_files(home).items() if name.startswith("versions/"))
        assert used <= 8 * MB
    # Those of a small file are not pushed out by a large one.
    assert contents(ring, "small.txt") == ["2", "1", "0"]
    assert contents(ring, "deleted.txt") == ["x" * MB]
    kept = contents(ring, "large.ipynb")
    assert len(kept) >= 3
    assert kept[0][0] == "9"


def test_many_small_files_keep_to_the_limit_too(home: Path) -> None:
    ring = Ring(home, Limits(per_file=10, mb=1))
    for number in range(400):
        save(ring, f"folder/{number}.txt", "content")
    # Each takes a block of 4 KiB.
    assert sum(name.startswith("versions/") for name in all_files(home)) <= 256
    assert contents(ring, "folder/399.txt") == ["content"]
    # No empty folders are left.
    assert all(any(folder.iterdir()) for folder in (home / "versions").rglob("*") if folder.is_dir())


def test_a_notebook_of_30_mb_is_bounded_as_set(home: Path) -> None:
    ring = Ring(home, Limits(per_file=120, mb=120))
    for number in range(6):
        save(ring, "large.ipynb", str(number) * (30 * MB))
    sizes = [size for name, size in all_files(home).items() if name.startswith("versions/")]
    assert sizes in ([30 * MB] * 3, [30 * MB] * 4)
    assert contents(ring, "large.ipynb")[0][0] == "5"


@pytest.mark.parametrize(
    ("content", "reason"), [("x" * (2 * MB + 1), "larger than 2 MB"), (b"PK\0\0", "not text")], ids=["large", "binary"]
)
def test_others_are_not_kept_unless_something_else_would_replace_them(
    ring: Ring, content: str | bytes, reason: str
) -> None:
    with pytest.raises(NotKeptError, match=reason):
        save(ring, "data.bin", content)
    assert ring.versions("data.bin") == []
    assert ring.keep("data.bin", whatever=True)
    assert len(ring.versions("data.bin")) == 1


def test_what_something_else_would_replace_is_never_removed_to_make_room(ring: Ring, home: Path) -> None:
    save(ring, "a.txt", "a" * MB)
    save(ring, "b.txt", "b")
    # The version that was just made takes most room of all; others go.
    (home / "large.bin").write_bytes(b"\0" * (15 * MB // 2))
    assert ring.keep("large.bin", whatever=True)
    assert [version.size for version in ring.versions("large.bin")] == [15 * MB // 2]
    assert ring.versions("a.txt") == []
    assert contents(ring, "b.txt") == ["b"]


def test_what_has_no_room_even_alone_is_not_kept_and_costs_no_other_version(ring: Ring, home: Path) -> None:
    save(ring, "a.txt", "one")
    (home / "large.bin").write_bytes(b"\0" * (31 * MB // 4))
    with pytest.raises(NotKeptError, match="larger than 7 MB: it has no room even without other versions"):
        ring.keep("large.bin", whatever=True)
    assert contents(ring, "a.txt") == ["one"]
    assert ring.versions("large.bin") == []


def test_an_empty_file_needs_no_version(ring: Ring, home: Path) -> None:
    assert not save(ring, "a.txt", "")
    assert not (home / "versions").exists()


@pytest.mark.parametrize(
    "path",
    ["", ".", "/etc/passwd", "../outside.txt", "a/../../outside.txt", ".bashrc", ".git/config", "a/.hidden/b", "a\0b"],
)
def test_nothing_outside_of_the_home_and_nothing_hidden(ring: Ring, path: str) -> None:
    for name_of in (ring.name_of, ring.original_of):
        with pytest.raises(NotKeptError):
            name_of(path)


def test_links_are_followed_within_the_home_only(ring: Ring, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (home / "out").symlink_to(outside)
    (home / "file.txt").symlink_to(outside / "secret.txt")
    for path in ("out/secret.txt", "file.txt", "out"):
        with pytest.raises(NotKeptError, match="outside"):
            ring.name_of(path)
    save(ring, "real.txt", "real")
    (home / "link.txt").symlink_to("real.txt")
    assert ring.name_of("link.txt") == "real.txt"
    # One that was put there after its name was checked.
    with pytest.raises(OSError, match="symbolic links"):
        ring.keep("file.txt")


def test_versions_are_written_through_no_link(ring: Ring, home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "versions").symlink_to(outside)
    with pytest.raises(NotKeptError, match="symbolic links"):
        save(ring, "a.txt", "one")
    assert [*outside.iterdir()] == []


@pytest.mark.timeout(10)
def test_a_pipe_does_not_hang(ring: Ring, home: Path) -> None:
    os.mkfifo(home / "pipe.txt")
    with pytest.raises(NotKeptError, match="not a file"):
        ring.keep("pipe.txt")
    (home / "folder").mkdir()
    with pytest.raises(NotKeptError, match="not a file"):
        ring.keep("folder")


def test_versions_have_no_versions_but_a_user_s_own_files_in_that_folder_have(ring: Ring, home: Path) -> None:
    save(ring, "versions/mine.txt", "mine")
    assert contents(ring, "versions/mine.txt") == ["mine"]
    [version] = ring.versions("versions/mine.txt")
    with pytest.raises(NotKeptError, match="version itself"):
        ring.name_of(version.path)
    assert ring.original_of(version.path) == "versions/mine.txt"
    for number in range(30):
        save(ring, "large.txt", str(number % 10) * 2 * MB)
    assert (home / "versions/mine.txt").read_text() == "mine"


def test_what_is_no_version_is_neither_listed_nor_removed(ring: Ring, home: Path) -> None:
    save(ring, "a.txt", "one")
    folder = home / "versions/a.txt"
    for name in ("notes.txt", "2026-99-99_00-00-00.txt", "2026-01-01.txt"):
        (folder / name).write_text("mine")
    (folder / "2026-01-01_00-00-00.txt").mkdir()
    save(ring, "a.txt", "two")
    assert contents(ring, "a.txt") == ["two", "one"]
    assert len([*folder.iterdir()]) == 6


def test_versions_follow_renamed_files_and_folders(ring: Ring, home: Path) -> None:
    save(ring, "work/a.txt", "one")
    save(ring, "work/deep/b.txt", "two")
    (home / "work").rename(home / "project")
    ring.move("work", "project")
    assert contents(ring, "project/a.txt") == ["one"]
    assert contents(ring, "project/deep/b.txt") == ["two"]
    assert not (home / "versions/work").exists()
    ring.move("never", "seen")


def test_versions_of_a_former_file_of_that_name_stay(ring: Ring) -> None:
    save(ring, "new.txt", "former")
    save(ring, "old.txt", "one")
    save(ring, "old.txt", "two")
    ring.move("old.txt", "new.txt")
    assert sorted(contents(ring, "new.txt")) == ["former", "one", "two"]
    assert ring.versions("old.txt") == []


def test_a_full_disk_is_left_to_the_user_s_files(ring: Ring, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(ring, "a.txt", "one")
    before = all_files(home)
    real = os.statvfs(home)
    nearly_full = os.statvfs_result((*real[:3], real.f_frsize, 1024, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: nearly_full)
    (home / "a.txt").write_text("two")
    with pytest.raises(OSError, match="No space left"):
        ring.keep("a.txt")
    assert {**before, "a.txt": 3} == all_files(home)


def test_a_copy_that_fails_leaves_nothing(ring: Ring, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: BinaryIO, target: BinaryIO, _: int) -> None:
        target.write(source.read(2))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", fails)
    with pytest.raises(OSError, match="No space left"):
        save(ring, "work/a.txt", "one")
    assert all_files(home) == {"work/a.txt": 3}
    assert not (home / "versions").exists()


def test_a_file_that_is_written_meanwhile_is_not_kept_half(
    ring: Ring, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy: Callable[..., Any] = shutil.copyfileobj

    def writes(source: BinaryIO, target: BinaryIO, length: int) -> None:
        copy(source, target, length)
        (home / "a.txt").write_text("changed")

    monkeypatch.setattr("shutil.copyfileobj", writes)
    with pytest.raises(ChangedError):
        save(ring, "a.txt", "one")
    assert ring.versions("a.txt") == []


def test_a_copy_that_a_killed_server_left_does_not_disturb(ring: Ring, home: Path) -> None:
    (home / "versions/a.txt").mkdir(parents=True)
    (home / "versions/a.txt/.part").write_text("half")
    save(ring, "a.txt", "one")
    assert contents(ring, "a.txt") == ["one"]
    assert [path.name for path in (home / "versions/a.txt").iterdir()] == [ring.versions("a.txt")[0].path.name]


def test_shared_folders_have_versions_in_the_home(home: Path, tmp_path: Path) -> None:
    shared = tmp_path / "srv-shared"
    (shared / "lab").mkdir(parents=True)
    ring = Ring(home, Limits(per_file=10, mb=8), shared)
    (shared / "lab/a.txt").write_text("one")
    with pytest.raises(NotKeptError, match="outside"):
        ring.name_of(shared / "lab/a.txt")
    (home / "shared").symlink_to(shared)
    for path in ("shared/lab/a.txt", home / "shared/lab/a.txt", shared / "lab/a.txt"):
        assert ring.name_of(path) == "shared/lab/a.txt"
    assert save(ring, "shared/lab/a.txt", "two")
    assert contents(ring, "shared/lab/a.txt") == ["two"]
    [version] = ring.versions("shared/lab/a.txt")
    assert version.path.is_relative_to(home / "versions/shared/lab/a.txt")
    assert ring.original_of(version.path) == "shared/lab/a.txt"
    # Any other link leads outside, as ever.
    (home / "shared").unlink()
    (home / "shared").symlink_to(tmp_path)
    with pytest.raises(NotKeptError, match="outside"):
        ring.name_of("shared/srv-shared/lab/a.txt")


def test_what_is_below_a_file_is_none(ring: Ring) -> None:
    """JupyterLab asks for `a.ipynb/checkpoints` of each notebook that it opens."""
    save(ring, "a.ipynb", "{}")
    with pytest.raises(NotKeptError, match="not a file"):
        ring.keep(ring.name_of("a.ipynb/checkpoints"))
