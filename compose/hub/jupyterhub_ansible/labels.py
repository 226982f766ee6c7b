"""Labels on all that this project makes: what does not carry them is not ours to touch."""

from collections.abc import Mapping

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"
USER = "jupyterhub-ansible.user"
SERVER = "jupyterhub-ansible.server"

NOT_INHERITED = {"com.docker.compose.project": "", "com.docker.compose.service": "", "coolify.managed": "false"}
"""A container has its image's labels, and Compose labels what it builds: ours would pass for one of its services."""


def labels(project: str, kind: str, user: str, server: str) -> dict[str, str]:
    """Labels of a user's server (kind `user-server`) or home (kind `home`)."""
    return {PROJECT: project, KIND: kind, USER: user, SERVER: server}


def carries(found: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether an object that Docker reported with the labels `found` carries all labels of `wanted`."""
    return (found or {}).items() >= wanted.items()
