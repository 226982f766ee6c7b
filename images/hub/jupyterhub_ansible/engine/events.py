"""Docker's events: that a user's server ended, or changed its address, is known at once and not by the next poll."""

import threading
import time
from collections.abc import Callable, Mapping
from logging import Logger
from typing import Any

import docker

from ..spawner.failures import DOCKER_ERRORS
from .labels import KIND, PROJECT

_ACTIONS = ("die", "destroy", "connect", "disconnect")
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 30.0
_OVERLAP_S = 2
"""From so long ago Docker tells events when it is asked: it may say yes a moment before it listens."""


def container_of(event: Mapping[str, Any], project: str, network: str) -> str:
    """Return the id of the container that an event is about, if it may be a user's server of ours; else ""."""
    actor = event.get("Actor") or {}
    about = actor.get("Attributes") or {}
    if event.get("Type") == "network":
        # It has no labels of the container.
        return str(about.get("container", "")) if about.get("name") == network else ""
    ours = about.get(PROJECT) == project and about.get(KIND) == "user-server"
    return str(actor.get("ID", "")) if ours else ""


class Events(threading.Thread):
    """Follows the events, in a thread of its own with a connection of its own.

    Args:
        connect: makes a client.
        project: `jupyterhub_name`.
        network: of users' servers.
        tell: gets the id of each container that may have ended or moved; None whenever events may have been missed.
        log: gets a line when the connection breaks.
    """

    def __init__(
        self,
        connect: Callable[[], docker.APIClient],
        project: str,
        network: str,
        tell: Callable[[str | None], None],
        log: Logger,
    ) -> None:
        super().__init__(name="docker-events", daemon=True)
        self._connect, self._project, self._network = connect, project, network
        self._tell, self._log = tell, log
        self._delay_s = _FIRST_DELAY_S
        self._wait: Callable[[float], None] = time.sleep

    def run(self) -> None:
        """Follow them, for ever; what is told ends it (SystemExit)."""
        while True:
            try:
                self.follow()
            except DOCKER_ERRORS as error:
                self._log.warning("Docker's events cannot be followed: %s", error)
            except Exception:
                # Whatever it was, they are followed again.
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
            self._tell(None)
            for event in events:
                self._delay_s = _FIRST_DELAY_S
                if container := container_of(event, self._project, self._network):
                    self._tell(container)
        finally:
            client.close()
