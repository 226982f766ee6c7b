"""Labels on all that this project makes: what does not carry them is not ours to touch."""

from collections.abc import Mapping
from typing import Any

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"
USER = "jupyterhub-ansible.user"
SERVER = "jupyterhub-ansible.server"

_OURS = "jupyterhub-ansible."
_MANAGED = "coolify.managed"


def labels(project: str, kind: str, user: str, server: str) -> dict[str, str]:
    """Labels of a user's server (kind `user-server`) or home (kind `home`)."""
    return {PROJECT: project, KIND: kind, USER: user, SERVER: server}


def not_inherited(image: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels that keep a container from having those of its image that are not ours.

    A container has all labels of its image, which Docker cannot take away, only blank.  Whoever made the image could
    have Traefik lead any domain to it, and what Compose or Coolify built would pass for one of their own containers.

    Args:
        image: as Docker describes it.
    """
    found = image["Config"].get("Labels") or {}
    return {name: "false" if name == _MANAGED else "" for name in found if not name.startswith(_OURS)}


def carries(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether an object that Docker reported with the labels `found` carries all labels of `wanted`."""
    return (found or {}).items() >= wanted.items()
