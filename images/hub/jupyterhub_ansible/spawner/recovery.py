"""The part of the spawner that finds out why a server ended, and takes over servers of the last Hub."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from ..engine import run_as
from ..engine.errors import DOCKER_ERRORS
from . import errors, orphans
from .admission import AdmittedSpawner

# Seconds that `docker restart` may take between end and start.
_RESTART_S = 1.5


class RecoveringSpawner(AdmittedSpawner):
    """A spawner that records why a server ended, and does not lose running ones."""

    ended = ""
    """Why the server ended, for its user; cleared by the next start."""

    def get_state(self) -> dict[str, Any]:
        """Return what the next spawner of this server needs to know, including why the server ended."""
        state = super().get_state()
        return {**state, "ended": self.ended} if self.ended else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a server."""
        super().load_state(state)
        self.ended = state.get("ended", "")

    async def poll(self) -> Any:
        """Return None while the server runs, else its exit status; log and remove one that ended.

        While Docker does not answer, a server counts as running, or the Hub would forget it.
        """
        known = self.object_id
        try:
            container = await self.get_object()
            if container and not container["State"]["Running"] and self._may_be_in_use():
                await self.unroute()
                await asyncio.sleep(_RESTART_S)
                container = await self.get_object()
        except DOCKER_ERRORS as error:
            self.log.warning("%s: Docker cannot be asked: %s", self._log_name, error)
            return None if known else 0
        if container and known and container["Id"] != known:
            # Started by another Hub, for example because this one's database was restored from a backup.
            self.log.warning("%s: the container %s is not the one that was started", self._log_name, self.object_name)
            container, self.object_id = None, ""
        if container is None:
            if known:
                self.log.warning("%s: its container %s was removed by somebody else", self._log_name, known[:12])
                await self._record_end(errors.REMOVED)
            return 0
        if container["State"]["Running"]:
            # A starting server has no address yet.
            if self.server and self.server.ip:
                await self._reattach(container)
            return None
        status = errors.status(container["State"])
        await self._record_end(errors.why_ended(container["State"], container["HostConfig"]["Memory"]))
        self.log.warning("%s ended: %s. Its last lines:\n%s", self._log_name, status, await self._last_lines())
        if self.remove:
            await self._remove_container()
        return status

    async def _record_end(self, why: str) -> None:
        """Record why the server ended, and remove its route; a failed start has its own error instead."""
        # Keep the first reason: the Hub's own removal of the container is not one.
        if self.server and self.server.ip and not self.ended:
            self.ended = why
        await self._unroute_if_routed()

    async def get_url(self) -> str:
        """Return the server's URL; ask Docker if the last Hub ended while the server was starting.

        The Hub calls this at its own start for running servers (jupyterhub.app.JupyterHub.init_spawners).
        """
        if self.server.ip:
            return str(await super().get_url())
        container = await self.get_object()
        if container is None:
            # It has just ended.  An exception would stop the Hub; a URL that does not answer makes it stop the server.
            return str(self.server.url)
        ip, port = await self.get_ip_and_port()
        variables = dict(line.partition("=")[::2] for line in container["Config"]["Env"])
        self.api_token = variables.get("JUPYTERHUB_API_TOKEN", "")
        self.orm_spawner.state = self.get_state()
        self.log.warning("%s was starting when the Hub ended: taking it over at %s", self._log_name, ip)
        return f"http://{ip}:{port}{self.server.base_url}"

    # --- orphans

    async def remove_orphans(self, users: Mapping[Any, Any], at_start: bool = False) -> list[str]:
        """Remove orphaned containers; return their names.

        At the Hub's start this includes helpers of the last Hub (archiving homes, probing images), for which nothing
        waits any more.
        """

        def known() -> Collection[tuple[str, str]]:
            servers = [spawner for user in users.values() for spawner in user.spawners.values()]
            return {(spawner.user.name, spawner.name) for spawner in servers if spawner.active}

        removed = await orphans.remove(self.docker, self.project, "user-server", known, self.log)
        if at_start:
            for kind in ("homes", run_as.KIND_OF_PROBES):
                removed += await orphans.remove(self.docker, self.project, kind, tuple, self.log)
        return removed
