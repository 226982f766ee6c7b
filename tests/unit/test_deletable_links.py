"""Which requests to delete reach upstream, and which remove a link; real files."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import deletable_links
import pytest


class Manager:
    """The parts of AsyncFileContentsManager that are used."""

    perm_to_403 = nullcontext

    def __init__(self, root: Path) -> None:
        self.root_dir = str(root)
        self.upstream: list[str] = []

    def _get_os_path(self, path: str) -> str:
        return f"{self.root_dir}/{path}"


async def upstream(manager: Any, path: str) -> None:
    manager.upstream.append(path)


def is_hidden(path: str, root: str) -> bool:
    return "/." in path.removeprefix(root)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").touch()
    for name in ("link", ".hidden"):
        (tmp_path / name).symlink_to("folder")
    (tmp_path / "of a file").symlink_to("folder/file")
    return tmp_path


@pytest.mark.parametrize("path", ["link", "/link/"])
def test_a_link_to_a_folder_is_deleted_and_the_folder_is_not(home: Path, path: str) -> None:
    manager = Manager(home)
    asyncio.run(deletable_links.deleting(upstream, is_hidden)(manager, path))
    assert manager.upstream == []
    assert sorted(entry.name for entry in home.iterdir()) == [".hidden", "folder", "of a file"]
    assert (home / "folder/file").exists()


@pytest.mark.parametrize("path", ["folder", "folder/file", "of a file", "missing", ".hidden", "link/file"])
def test_all_else_is_upstream_s(home: Path, path: str) -> None:
    manager = Manager(home)
    asyncio.run(deletable_links.deleting(upstream, is_hidden)(manager, path))
    assert manager.upstream == [path]
    assert (home / ".hidden").is_symlink()
