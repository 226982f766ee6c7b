"""What fills a home: hard links once, other file systems not, what cannot be read, and homes that are too large."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_lab import disk

MB = 1_000_000


def fill(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def test_largest_are_told_by_the_first_two_levels(tmp_path: Path) -> None:
    fill(tmp_path / ".cache/uv/a/b/wheel", 2 * MB)
    fill(tmp_path / ".cache/pip/x", MB)
    fill(tmp_path / "data.csv", 3 * MB)
    fill(tmp_path / "project/deep/er/model", 4 * MB)
    # As uv links packages from its cache, and a link to a folder of others.
    (tmp_path / "env").mkdir()
    os.link(tmp_path / ".cache/uv/a/b/wheel", tmp_path / "env/wheel")
    (tmp_path / "shared").symlink_to(tmp_path / "project")
    found = disk.measure(tmp_path)
    assert [each["path"] for each in found["largest"]][:2] == ["project/deep", "data.csv"]
    sizes = {each["path"]: each["bytes"] for each in found["largest"]}
    assert 4 * MB <= sizes["project/deep"] < 4.1 * MB
    assert 10 * MB <= found["total"] < 10.2 * MB
    assert found["complete"]
    assert 0 < found["free"] <= found["size"]


class Mounted:
    """A folder that is another file system, as os.scandir yields it."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry, self.name = entry, entry.name

    def stat(self, *, follow_symlinks: bool) -> Any:
        about = self._entry.stat(follow_symlinks=follow_symlinks)
        device = about.st_dev + (self.name == "mount")
        return SimpleNamespace(
            st_dev=device, st_ino=about.st_ino, st_nlink=about.st_nlink, st_blocks=max(8, about.st_blocks)
        )

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return self._entry.is_dir(follow_symlinks=follow_symlinks)


def test_other_file_systems_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "mount"):
        fill(tmp_path / name / "file", MB)
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: [Mounted(each) for each in scandir(path)])
    assert {each["path"] for each in disk.measure(tmp_path)["largest"]} == {"mine", "mine/file"}


def test_what_was_found_in_time_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "a/b/late", MB)
    found = disk.measure(tmp_path, clock=iter((0.0, 1.0, disk.LONGEST_S + 1)).__next__)
    assert not found["complete"]
    assert found["total"] < MB


def test_holes_take_no_room_and_what_vanishes_is_left_out(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(50 * MB)
    fill(tmp_path / "gone/file", MB)

    def clock() -> float:
        (tmp_path / "gone/file").unlink(missing_ok=True)
        return 0

    found = disk.measure(tmp_path, clock)
    assert found["total"] < MB
