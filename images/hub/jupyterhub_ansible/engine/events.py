"""Docker's events: the Hub learns at once, and not by the next poll, that a server ended or changed its address."""

import threading
import time
from collections.abc import Callable, Mapping
from logging import Logger
from typing import Any

import docker

from .errors import DOCKER_ERRORS
from .labels import KIND, PROJECT

_ACTIONS = ("die", "destroy", "connect", "disconnect")
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_OVERLAP_S = 2
"""Events are requested from this long ago, because Docker may answer shortly before it subscribes."""


def container_of(event: Mapping[str, Any], project: str, network: str) -> str:
    """Return the id of an event's container if it may be one of our users' servers; else ""."""
    actor = event.get("Actor") or {}
    about = actor.get("Attributes") or {}
    if event.get("Type") == "network":
        # Network events lack the container's labels.
        return str(about.get("container", "")) if about.get("name") == network else ""
    ours = about.get(PROJECT) == project and about.get(KIND) == "user-server"
    return str(actor.get("ID", "")) if ours else ""


class Events(threading.Thread):
    """Follows the events in a separate thread, with a separate connection.

    Args:
        connect: makes a client.
        project: `jupyterhub_name`.
        network: of users' servers.
        notify: called with the id of each container that may have ended or moved; with None if events may be missing.
        log: for a line when the connection breaks.
    """

    def __init__(
        self,
        connect: Callable[[], docker.APIClient],
        project: str,
        network: str,
        notify: Callable[[str | None], None],
        log: Logger,
    ) -> None:
        super().__init__(name="docker-events", daemon=True)
        self._connect, self._project, self._network = connect, project, network
        self._notify, self._log = notify, log
        self._delay_s = _FIRST_DELAY_S
        self._wait: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Follow them for ever, until the callback raises SystemExit."""
        while True:
            try:
                self.follow()
            except DOCKER_ERRORS as error:
                self._log.warning("Docker's events cannot be followed: %s", error)
            except Exception:
                self._log.exception("Docker's events cannot be followed")
            self._wait(self._delay_s)
            self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)

    def follow(self) -> None:
        """Follow them until the connection breaks."""
        client = self._connect()
        try:
            events = client.events(
                since=int(time.time()) - _OVERLAP_S,
                filters={"type": ["container", "network"], "event": list(_ACTIONS)},
                decode=True,
            )
            self._notify(None)
            for event in events:
                self._delay_s = _FIRST_DELAY_S
                if container := container_of(event, self._project, self._network):
                    self._notify(container)
        finally:
            client.close()
