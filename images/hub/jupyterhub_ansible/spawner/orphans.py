"""Orphans: containers of users' servers that the Hub does not know, after a crash or a restored database."""

from collections.abc import Awaitable, Callable, Collection
from logging import Logger
from typing import Any

from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import KIND, PROJECT, SERVER, USER

Known = Callable[[], Collection[tuple[str, str]]]
"""Returns the active servers, by user and server name."""


async def remove(
    docker: Callable[..., Awaitable[Any]], project: str, kind: str, known: Known, log: Logger
) -> list[str]:
    """Stop and remove orphans; return their names.

    They are unreachable, because their tokens are void and the proxy has no route; but they use memory that others
    may be waiting for, and occupy names.

    Args:
        docker: calls a method of docker.APIClient.
        project: `jupyterhub_name`.
        kind: value of their label labels.KIND.
        known: called before each removal, since users may start servers meanwhile.
        log: for a line about each.
    """
    wanted = [f"{PROJECT}={project}", f"{KIND}={kind}"]
    removed = []
    for container in await docker("containers", all=True, filters={"label": wanted}):
        labels, name = container["Labels"], (container["Names"] or [container["Id"]])[0].removeprefix("/")
        if (labels.get(USER, ""), labels.get(SERVER, "")) in known():
            continue
        log.warning("Removing the container %s, which no server of the Hub has (%s)", name, container["Status"])
        try:
            await docker("stop", container["Id"])
            await docker("remove_container", container["Id"], v=True)
        except DOCKER_ERRORS as error:
            log.warning("The container %s cannot be removed: %s", name, error)
        else:
            removed.append(name)
    return removed
