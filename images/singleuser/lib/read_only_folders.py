"""Lets JupyterLab say that a file cannot be written where a folder is mounted read-only.

Upstream answers so only to missing permissions, and takes a read-only file system for an internal error.
"""

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

Refusing = Callable[..., AbstractContextManager[None]]


def refusing(perm_to_403: Refusing) -> Refusing:
    """Return FileManagerMixin.perm_to_403 that turns this error, too, into the answer 403."""

    @contextmanager
    def refuse(manager: Any, os_path: str = "") -> Iterator[None]:
        with perm_to_403(manager, os_path):
            try:
                yield
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                raise PermissionError(errno.EACCES, error.strerror, error.filename) from error

    return refuse


def install() -> None:
    """Patch jupyter_server."""
    manager: Any = import_module("jupyter_server.services.contents.fileio").FileManagerMixin
    manager.perm_to_403 = refusing(manager.perm_to_403)
