"""The link to the shared folders in the home; nothing of the user's is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from jupyterhub_shared import link


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    folders = tmp_path / "srv-shared"
    (folders / "lab").mkdir(parents=True)
    return folders


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_link_comes_and_goes_with_the_folders(home: Path, folders: Path) -> None:
    assert link(home, folders) == link(home, folders) == ""
    assert (home / "shared").readlink() == folders
    assert (home / "shared/lab").is_dir()
    (folders / "lab").rmdir()
    folders.rmdir()
    assert link(home, folders) == ""
    assert [*home.iterdir()] == []


@pytest.mark.parametrize("kind", ["file", "folder", "link", "broken link"])
def test_what_the_user_has_stays(home: Path, folders: Path, kind: str) -> None:
    mine = home / "shared"
    if kind == "file":
        mine.write_text("mine")
    elif kind == "folder":
        mine.mkdir()
    else:
        mine.symlink_to(home if kind == "link" else home / "missing")
    before = mine.lstat()
    assert f"are in {folders}, and not in your home" in link(home, folders)
    assert link(home, folders / "missing") == "", "without folders there is nothing to say"
    assert mine.lstat().st_ino == before.st_ino


def test_a_home_that_cannot_be_written_is_no_obstacle(home: Path, folders: Path) -> None:
    (home / "file").touch()
    assert link(home / "file", folders).endswith("cannot be made: Not a directory")
