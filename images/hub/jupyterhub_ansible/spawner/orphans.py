"""Containers of users' servers that the Hub does not know: left by a crash, or by a database that was put back."""

from collections.abc import Awaitable, Callable, Collection
from logging import Logger
from typing import Any

from ..engine.labels import KIND, PROJECT, SERVER, USER
from .failures import DOCKER_ERRORS

Known = Callable[[], Collection[tuple[str, str]]]
"""Servers that run, start or stop, by user and server name."""


async def remove(
    docker: Callable[..., Awaitable[Any]], project: str, kind: str, known: Known, log: Logger
) -> list[str]:
    """Stop and remove them; return their names.

    Nobody reaches them: their tokens are void, and the proxy has no route.  They hold memory that others wait for,
    and their names.

    Args:
        docker: calls a method of docker.APIClient.
        project: `jupyterhub_name`.
        kind: their label's value (labels.KIND).
        known: asked again before each removal, since users start servers meanwhile.
        log: gets a line for each.
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
