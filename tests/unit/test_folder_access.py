"""Whether servers can use a folder of the machine; tried as their user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.module_utils.folder_access import unusable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as another user")


@pytest.mark.parametrize(
    ("mode", "owner", "to_read", "to_write"),
    [
        (0o755, 0, "", "unwritable"),
        (0o700, 1000, "", ""),
        (0o770, 0, "unreadable", "unreadable"),
        (0o754, 0, "unreadable", "unreadable"),
        (0o555, 1000, "", "unwritable"),
        (0o777, 0, "", ""),
    ],
)
def test_owner_and_mode(tmp_path: Path, mode: int, owner: int, to_read: str, to_write: str) -> None:
    # A container sees the folder alone, whoever may pass those above it.
    tmp_path.chmod(0o700)
    folder = tmp_path / "course"
    folder.mkdir()
    os.chown(folder, owner, 0)
    folder.chmod(mode)
    assert unusable(str(folder), 1000, write=False) == to_read
    assert unusable(str(folder), 1000, write=True) == to_write


def test_a_group_of_root_does_not_help(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    assert unusable(str(tmp_path), 1000, write=False) == "unreadable"


def test_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert unusable(str(tmp_path / "file"), 1000, write=False) == "absent"
    assert unusable(str(tmp_path / "missing"), 1000, write=True) == "absent"


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=777", "tmpfs", tmp_path], check=False)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_file_system_that_is_read_only(read_only: Path) -> None:
    assert unusable(str(read_only), 1000, write=False) == ""
    assert unusable(str(read_only), 1000, write=True) == "read-only"
