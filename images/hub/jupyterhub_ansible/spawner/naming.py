"""Names of users' containers and volumes.

Frozen: if a name changes, a home is lost.  tests/unit/test_spawner_naming.py holds golden names.

A name is `<project>-user-<user>` or `<project>-user-<user>--<server>`, or for the volume of a shared folder
`<project>--shared-<slug>`.  The number of hyphens tells the parts apart:

====  =========================================================
`-`   inside a part, or after the project and `user`
`--`  between user and server, and before `shared`
`---`   between a sanitised part and the hash of what it was
`----`  between a shortened name and the hash of user and server
====  =========================================================

A part that is kept unchanged has no two hyphens in a row, so no two servers share a name (except for a collision
of 64 bits of SHA-256, against which the spawner checks the labels).
"""

import hashlib
import json
import re

from ..rules import mounts

MAX_LENGTH = 63
"""Characters in a DNS label (RFC 1035): Docker's DNS resolves a container by its name."""

_PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _part(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    # ASCII only: Unicode properties of a character may change with Python.
    sanitised = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"
    return f"{sanitised}---{_digest(text)}"


def server_name(project: str, user: str, server: str = "") -> str:
    """Name of the container of a user's server, and of its home volume.

    Args:
        project: `jupyterhub_name`; at most 12 characters, without `-user` at the end of a word.
        user: the user's name, as the authenticator gave it.
        server: the named server, or "" for the default server.

    Returns:
        At most 63 characters of `[a-z0-9-]`; never `<project>`, `<project>-hub` or `<project>-proxy`.
    """
    prefix = f"{project}-user-"
    label = _part(user) + (f"--{_part(server)}" if server else "")
    if len(prefix + label) <= MAX_LENGTH:
        return prefix + label
    digest = _digest(json.dumps([user, server]))
    kept = label[: MAX_LENGTH - len(prefix) - len(digest) - 4].rstrip("-")
    return f"{prefix}{kept}----{digest}"


def user_slug(user: str) -> str:
    """Return what `{username}` stands for in mounts and variables: of `[a-z0-9-]`, and no two users have the same."""
    slug = _part(user)
    if len(slug) <= MAX_LENGTH:
        return slug
    digest = _digest(user)
    return f"{slug[: MAX_LENGTH - len(digest) - 4].rstrip('-')}----{digest}"


def home_name(project: str, user: str, server: str = "", *, shared: bool = False) -> str:
    """Name of the volume that is a server's home: the server's name, or the user's if all servers share one home."""
    return server_name(project, user, "" if shared else server)


def shared_name(project: str, slug: str) -> str:
    """Name of the volume that is a shared folder."""
    return f"{mounts.shared_prefix(project)}{slug}"


def is_home_shared(template: str | None, *, shared: bool) -> bool:
    """Return whether all servers of a user have one home, by `hub_volume_name_template` if that is set."""
    return "servername}" not in template if template else shared
