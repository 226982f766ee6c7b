"""A Hub with backups, and two users who work."""

from __future__ import annotations

import pytest
from backups import FILL, LIST, WRITE, Backup, in_server
from testinfra.host import Host
from vps import Admin


@pytest.fixture(scope="module")
def backup(host: Host) -> Backup:
    return Backup(host)


@pytest.fixture(scope="module")
def homes(host: Host, admin: Admin) -> dict[str, str]:
    """Return what the homes of two users contain; both write to other files of theirs all the time."""
    for user in ("ada", "bob"):
        admin.start(user)
        in_server(host, user, FILL)
        in_server(host, user, WRITE, detached=True)
    return {user: in_server(host, user, LIST) for user in ("ada", "bob")}
