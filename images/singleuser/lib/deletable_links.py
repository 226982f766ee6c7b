"""Lets JupyterLab delete a link to a folder: only the link.

Upstream removes the folder's files if there is no trash, which Python refuses for a link, and the request fails.
"""

from collections.abc import Callable, Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any

Delete = Callable[[Any, str], Coroutine[Any, Any, None]]


def deleting(delete_file: Delete, is_hidden: Callable[[str, str], bool]) -> Delete:
    """Return AsyncFileContentsManager.delete_file that deletes links to folders, too."""

    async def delete(manager: Any, path: str) -> None:
        link = Path(manager._get_os_path(path.strip("/")))
        # What upstream refuses, it refuses for links, too.
        if link.is_symlink() and link.is_dir() and not is_hidden(str(link), manager.root_dir):
            with manager.perm_to_403():
                link.unlink()
        else:
            await delete_file(manager, path)

    return delete


def install() -> None:
    """Patch jupyter_server."""
    contents: Any = import_module("jupyter_server.services.contents.filemanager")
    manager = contents.AsyncFileContentsManager
    manager.delete_file = deleting(manager.delete_file, contents.is_hidden)
