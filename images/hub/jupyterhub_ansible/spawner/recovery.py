"""The part of the spawner that finds out what became of a server, and takes over what another Hub left."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from ..engine import run_as
from . import failures, orphans
from .admission import AdmittedSpawner
from .failures import DOCKER_ERRORS

# Between the end and the start of a container that an administrator restarts (`docker restart`).
_RESTART_S = 1.5


class RecoveringSpawner(AdmittedSpawner):
    """A spawner that knows why a server ended, and loses none that runs."""

    ended = ""
    """Why the server ended, in words for its user; "" from the next start on."""

    def get_state(self) -> dict[str, Any]:
        """What the next Hub has to know of a server, for which it makes a new spawner: also why it ended."""
        state = super().get_state()
        return {**state, "ended": self.ended} if self.ended else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a server."""
        super().load_state(state)
        self.ended = state.get("ended", "")

    async def poll(self) -> Any:
        """None while the server runs, else its exit status; a server that ended is logged and removed.

        A server that ran runs on for all that is known while Docker does not answer: the Hub would forget it.
        """
        known = self.object_id
        try:
            container = await self.get_object()
            if container and not container["State"]["Running"] and self._serves():
                await self.unroute()
                await asyncio.sleep(_RESTART_S)
                container = await self.get_object()
        except DOCKER_ERRORS as error:
            self.log.warning("%s: Docker cannot be asked: %s", self._log_name, error)
            return None if known else 0
        if container and known and container["Id"] != known:
            # Of another Hub: this one's database is an older copy, for one.
            self.log.warning("%s: the container %s is not the one that was started", self._log_name, self.object_name)
            container, self.object_id = None, ""
        if container is None:
            if known:
                self.log.warning("%s: its container %s was removed by somebody else", self._log_name, known[:12])
                await self._note_end(failures.REMOVED)
            return 0
        if container["State"]["Running"]:
            # One that is still starting has no address yet.
            if self.server and self.server.ip:
                await self._find_again(container)
            return None
        status = failures.status(container["State"])
        await self._note_end(failures.why_ended(container["State"], container["HostConfig"]["Memory"]))
        self.log.warning("%s ended: %s. Its last lines:\n%s", self._log_name, status, await self._last_lines())
        if self.remove:
            await self._forget()
        return status

    async def _note_end(self, why: str) -> None:
        """Take the route away before anything else, and keep why; of a start that fails, its own error tells."""
        # That the Hub removed its container is not why.
        if self.server and self.server.ip and not self.ended:
            self.ended = why
        await self._unroute_if_routed()

    async def get_url(self) -> str:
        """Address of the server; that of one whose start the Hub did not see the end of is asked of Docker.

        The Hub asks at its own start (jupyterhub.app.JupyterHub.init_spawners), of servers that run.
        """
        if self.server.ip:
            return str(await super().get_url())
        container = await self.get_object()
        if container is None:
            # It ended just now.  An error would end the Hub; nobody answers there, so that the Hub stops it.
            return str(self.server.url)
        ip, port = await self.get_ip_and_port()
        variables = dict(line.partition("=")[::2] for line in container["Config"]["Env"])
        self.api_token = variables.get("JUPYTERHUB_API_TOKEN", "")
        self.orm_spawner.state = self.get_state()
        self.log.warning("%s was starting when the Hub ended: taking it over at %s", self._log_name, ip)
        return f"http://{ip}:{port}{self.server.base_url}"

    # --- what is left behind

    async def remove_leftovers(self, users: Mapping[Any, Any], at_start: bool = False) -> list[str]:
        """Remove containers of servers that no user of the Hub has; return their names.

        At the Hub's start also those that archived a home for the last Hub, or told it something: nobody waits for
        them any more.
        """

        def known() -> Collection[tuple[str, str]]:
            servers = [spawner for user in users.values() for spawner in user.spawners.values()]
            return {(spawner.user.name, spawner.name) for spawner in servers if spawner.active}

        removed = await orphans.remove(self.docker, self.project, "user-server", known, self.log)
        if at_start:
            for kind in ("homes", run_as.KIND_OF_PROBES):
                removed += await orphans.remove(self.docker, self.project, kind, tuple, self.log)
        return removed
