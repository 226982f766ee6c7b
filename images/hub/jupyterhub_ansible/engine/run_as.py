"""As whom a container of an image runs: a number, which the engine is then told.

The image's own word is not enough.  Its user may be a name, and what that means is in the image's /etc/passwd, where
any name may stand for 0; no name at all is root.  So a container of it is asked; and since an image may bring programs
that lie, the server's container gets the number that was found, by which it runs whatever the image says.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from docker.errors import APIError

from ..spawner.failures import DOCKER_ERRORS
from ..spawner.limits import HARDENING
from .labels import KIND, PROJECT, not_inherited

ROOT = 0
KIND_OF_PROBES = "user-probe"
_MEMORY = 64 * 1024**2
_TIMEOUT_S = 20
# As the engine reads one (Go's strconv.Atoi); it takes any such text for a number, also where a user has it as a name.
# A longer one is for the engine to read, as a name.
_NUMBER = re.compile("[+-]?[0-9]{1,10}")

Docker = Callable[..., Awaitable[Any]]
"""Calls a method of docker.APIClient."""
_known: dict[tuple[str, str], int] = {}


def number(user: str) -> int | None:
    """Return the uid that a user's text says by itself, without or with a group; None for a name."""
    name = user.partition(":")[0]
    if not name:
        return ROOT
    return int(name) if _NUMBER.fullmatch(name) else None


def numbered(user: str, uid: int) -> str:
    """Return a user's text with its number in the place of its name; a group stays as it is."""
    _, colon, group = user.partition(":")
    return f"{uid}{colon}{group}"


async def uid(docker: Docker, project: str, image: Mapping[str, Any], user: str) -> int | None:
    """Return the uid that this user has in an image; None if that cannot be found.

    A container is asked once for an image and a name.

    Args:
        docker: calls a method of docker.APIClient.
        project: `jupyterhub_name`.
        image: as Docker describes it.
        user: as the image or the administrator has it.
    """
    if (found := number(user)) is not None:
        return found
    key = (image["Id"], user)
    if key not in _known:
        if (found := await _asked(docker, project, image, user)) is None:
            return None
        _known[key] = found
    return _known[key]


async def _asked(docker: Docker, project: str, image: Mapping[str, Any], user: str) -> int | None:
    host_config = await docker(
        "create_host_config",
        network_mode="none",
        read_only=True,
        mem_limit=_MEMORY,
        memswap_limit=_MEMORY,
        pids_limit=16,
        # Its output is read, which the engine does of files and journald's only.
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
            # Its id does not end: that is the image's fault, and not an engine's that does not answer.
            return None
        said = await docker("logs", container["Id"], stdout=True, stderr=False, tail=1)
    except APIError:
        # There is no such user, or no program of that name.
        return None
    finally:
        if container:
            await docker("remove_container", container["Id"], v=True, force=True)
    return number(said.decode(errors="replace").strip() or "-")
