"""Labels on everything that this project creates: anything without them is never touched."""

from collections.abc import Mapping
from typing import Any

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"
USER = "jupyterhub-ansible.user"
SERVER = "jupyterhub-ansible.server"

OF_HOMES, OF_MOUNTS = "home", "mount"
"""Values of KIND for the volumes that may be a user's: homes, and those that mounts name."""

_OURS = "jupyterhub-ansible."
_MANAGED = "coolify.managed"


def labels(project: str, kind: str, user: str, server: str) -> dict[str, str]:
    """Return the labels of a user's server (kind `user-server`) or home (kind `home`)."""
    return {PROJECT: project, KIND: kind, USER: user, SERVER: server}


def not_inherited(image: Mapping[str, Any]) -> dict[str, str]:
    """Return labels that override an image's foreign labels for its container.

    A container inherits all labels of its image, and Docker can override but not remove them.  Otherwise an image's
    author could make Traefik route any domain to the container, and Compose or Coolify would treat a container of an
    image that they built as their own.

    Args:
        image: as from `inspect_image`.
    """
    found = image["Config"].get("Labels") or {}
    return {name: "false" if name == _MANAGED else "" for name in found if not name.startswith(_OURS)}


def carries(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether an object with the labels `found` has all labels of `wanted`."""
    return (found or {}).items() >= wanted.items()
