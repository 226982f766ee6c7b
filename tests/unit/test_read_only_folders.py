"""Which errors of a folder become "permission denied"."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from read_only_folders import refusing


class RefusedError(Exception):
    """The answer 403."""


@contextmanager
def upstream(manager: Any, os_path: str = "") -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise RefusedError(os_path or error.filename) from error


@pytest.mark.parametrize("path", ["", "/srv/shared/course/a.ipynb"])
def test_read_only_file_system_refuses(path: str) -> None:
    with pytest.raises(RefusedError, match=path or "a.ipynb"), refusing(upstream)(None, path):
        raise OSError(errno.EROFS, "Read-only file system", "a.ipynb")


@pytest.mark.parametrize(
    ("error", "seen"),
    [(PermissionError(errno.EACCES, "x", "y"), RefusedError), (OSError(errno.ENOSPC, "full"), OSError), (None, None)],
)
def test_all_else_is_as_upstream_has_it(error: Exception | None, seen: type[Exception] | None) -> None:
    if error is None or seen is None:
        with refusing(upstream)(None):
            return
    with pytest.raises(seen), refusing(upstream)(None):
        raise error
