"""The uid that a container of an image runs as.

The image's configuration is not enough: its user may be a name, which the image's /etc/passwd may map to 0, and without
a user it is root.  So a probe container of the image is asked.  Since the image's programs may lie, the server's
container then runs as the uid that was found.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from docker.errors import APIError

from ..spawner.limits import HARDENING
from .errors import DOCKER_ERRORS
from .labels import KIND, PROJECT, not_inherited

ROOT = 0
KIND_OF_PROBES = "user-probe"
_MEMORY = 64 * 1024**2
_TIMEOUT_S = 20
# As the engine parses it (Go's strconv.Atoi): any such string is a number, even if a user has it as a name.  The engine
# treats longer ones as names.
_NUMBER = re.compile("[+-]?[0-9]{1,10}")

Docker = Callable[..., Awaitable[Any]]
"""Calls a method of docker.APIClient."""
_known: dict[tuple[str, str], int] = {}


def number(user: str) -> int | None:
    """Return the uid of a numeric `user` or `user:group`; None for a name."""
    name = user.partition(":")[0]
    if not name:
        return ROOT
    return int(name) if _NUMBER.fullmatch(name) else None


def numbered(user: str, uid: int) -> str:
    """Return `user` or `user:group` with the user replaced by its uid."""
    _, colon, group = user.partition(":")
    return f"{uid}{colon}{group}"


async def uid(docker: Docker, project: str, image: Mapping[str, Any], user: str) -> int | None:
    """Return the uid of a user in an image; None if it cannot be determined.

    The answer is cached for each image and name.

    Args:
        docker: calls a method of docker.APIClient.
        project: `jupyterhub_name`.
        image: as from `inspect_image`.
        user: as configured by the image or the administrator.
    """
    if (found := number(user)) is not None:
        return found
    key = (image["Id"], user)
    if key not in _known:
        if (found := await _probe(docker, project, image, user)) is None:
            return None
        _known[key] = found
    return _known[key]


async def _probe(docker: Docker, project: str, image: Mapping[str, Any], user: str) -> int | None:
    host_config = await docker(
        "create_host_config",
        network_mode="none",
        read_only=True,
        mem_limit=_MEMORY,
        memswap_limit=_MEMORY,
        pids_limit=16,
        # The engine can read logs only of files and journald.
        log_config={"type": "json-file", "config": {"max-size": "1m"}},
        **HARDENING,
    )
    container = None
    try:
        container = await docker(
            "create_container",
            image["Id"],
            entrypoint=["id", "-u"],
            user=user,
            labels={**not_inherited(image), PROJECT: project, KIND: KIND_OF_PROBES},
            healthcheck={"test": ["NONE"]},
            host_config=host_config,
        )
        await docker("start", container["Id"])
        try:
            await docker("wait", container["Id"], timeout=_TIMEOUT_S)
        except DOCKER_ERRORS:
            # The image's `id` does not end: blame the image, not the engine.
            return None
        output = await docker("logs", container["Id"], stdout=True, stderr=False, tail=1)
    except APIError:
        # The image has no such user, or no program `id`.
        return None
    finally:
        if container:
            await docker("remove_container", container["Id"], v=True, force=True)
    return number(output.decode(errors="replace").strip() or "-")
