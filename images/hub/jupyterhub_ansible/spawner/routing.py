"""The part of the spawner that follows a running server: the proxy's route leads to its container, or is removed."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from docker.errors import APIError, NotFound
from jupyterhub.utils import maybe_future

from ..audit import context
from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import KIND, PROJECT, labels
from . import address_pool, errors
from .addressing import CLASHES, ROUTE_TIMEOUT_S, WITHOUT_CHOICE, AddressedSpawner

_POLLS_AT_ONCE = 8
_PATIENCE_S = 25
"""A server that was disconnected from its network is reconnected after so long, at the next poll (30 s)."""


class RoutedSpawner(AddressedSpawner):
    """A spawner that checks with the engine where its server is before the server's address is used."""

    unrouted = False
    """The proxy has no route to the server, as far as the Hub knows (UserProxy)."""
    # Since when it is not on the users' network, in seconds of the event loop's clock.
    _missing: float | None = None
    # The poll that is under way; whether to poll once more, because an event arrived meanwhile.
    _polling: "asyncio.Task[Any] | None" = None
    _poll_again = False

    def _server_labels(self) -> dict[str, str]:
        return labels(self.project, "user-server", self.user.name, self.name)

    async def misplaced(self) -> str:
        """Return why the server is not at its known address; "" if the engine confirms that it is.

        An engine that does not answer confirms nothing.
        """
        container = None
        try:
            container = await self.docker("inspect_container", self.object_id or self.object_name)
        except NotFound:
            pass
        except DOCKER_ERRORS as error:
            return f"Docker cannot be asked: {error}"
        return self._misplaced(container)

    def _misplaced(self, container: Mapping[str, Any] | None) -> str:
        address = self.server.ip if self.server else ""
        # hub_traits may have servers reached by a port of the machine, or by name.
        if self.network_name in WITHOUT_CHOICE or self.use_internal_hostname or not self.use_internal_ip:
            address = None
        return address_pool.misplaced(container, self.object_id, self._server_labels(), self.network_name, address)

    def _is_current(self) -> bool:
        """Whether JupyterHub has not replaced this spawner, as it does after its server ended.

        Both share the new `server` then, so that the old spawner seems to be ready.
        """
        return self.user.spawners.get(self.name) is self

    def _may_be_in_use(self) -> bool:
        """Whether the server may be in use.

        The API marks a server as starting before it polls it (apihandlers.users.UserServerAPIHandler).
        """
        return self.ready or (self.pending == "spawn" and not self._spawn_future and bool(self.server))

    async def locate(self, servers: list["RoutedSpawner"]) -> None:
        """Find out with one call where the servers are, and poll those that are not where they should be."""
        filters = {"label": [f"{PROJECT}={self.project}", f"{KIND}=user-server"]}
        found = {each["Id"]: each for each in await self.docker("containers", all=True, filters=filters)}
        lost = []
        for each in servers:
            if not each.ready or not each._is_current():
                continue
            if why := each._misplaced(found.get(each.object_id)):
                self.log.warning("%s is not at its address %s: %s", each._log_name, each.server.ip, why)
                lost.append(each)
            else:
                # A server that an older Hub started is not in the table yet.
                self.addresses.keep(each.object_name, each.server.ip, each.user.name)
        at_once = asyncio.Semaphore(_POLLS_AT_ONCE)

        async def poll(each: RoutedSpawner) -> None:
            async with at_once:
                try:
                    await each.poll_and_notify()
                except Exception:
                    self.log.exception("%s: polling failed", each._log_name)

        await asyncio.gather(*map(poll, lost))

    def add_poll_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Add a callback for the server's end; it is skipped if a new server of the same name took its place."""

        async def call() -> None:
            if self._is_current():
                await maybe_future(callback(*args, **kwargs))

        super().add_poll_callback(call)

    async def poll_and_notify(self) -> Any:
        """Poll the server, and let the Hub clean up if it ended; never twice at the same time.

        JupyterHub calls this every 30 s, and the Hub on every Docker event about the container.  Upstream drops the
        callbacks as it calls them, so that after one failure to reach the proxy the server would stay for ever.
        """
        if self._polling:
            self._poll_again = True
        else:
            # Whoever's request polls, or started the server: what the poll finds, they did not do.
            with context.because(context.ENDED):
                self._polling = asyncio.create_task(self._poll_until_known())
        # Concurrent callers wait for the same answer, because None would mean that the server runs.
        return await asyncio.shield(self._polling)

    async def _poll_until_known(self) -> Any:
        try:
            while True:
                self._poll_again = False
                try:
                    status = await self._poll_and_notify()
                except Exception:
                    if not self._poll_again:
                        raise
                    self.log.exception("%s: polling failed", self._log_name)
                    continue
                if status is not None or not self._poll_again:
                    return status
        finally:
            self._polling = None

    async def _poll_and_notify(self) -> Any:
        if not self._is_current():
            self.stop_polling()
            return 0
        status = await super().poll_and_notify()
        if status is not None and self._may_be_in_use():
            await self.unroute()
            if self._is_current():
                await self.user.stop(self.name)
        return status

    async def unroute(self) -> None:
        """Remove the proxy's route to the server, before another server can get its address."""
        if not self._is_current():
            return
        try:
            async with asyncio.timeout(ROUTE_TIMEOUT_S):
                await self._proxy.delete_user(self.user, self.name)
        except Exception as error:
            # While the route exists, its address is not given to another server.
            self.log.warning("%s: cannot remove its route: %s", self._log_name, error)

    async def _unroute_if_routed(self) -> None:
        # While the Hub starts ("check"), there may still be a route; in any other pending state there is none.
        if self._may_be_in_use() or self.pending == "check":
            await self.unroute()

    async def _reattach(self, container: Mapping[str, Any]) -> None:
        """Update the address of a server that moved, and reconnect one that was disconnected from the users' network.

        If the network was removed by hand and a deployment recreated it, it has no containers: servers run on but are
        unreachable, and a Hub that starts (`pending` is "check") would take them for dead (JupyterHub.init_spawners).
        Meanwhile the route is removed, because the address may be another server's.
        """
        address = self._address_of(container)
        known = self.server.ip
        if address and address == known and self._missing is None:
            if self.unrouted and self.ready:
                await self._route()
            return
        try:
            if not address:
                now = asyncio.get_running_loop().time()
                self._missing = now if self._missing is None else self._missing
                await self._unroute_if_routed()
                # A deployment that recreates the network reconnects the servers itself, so let it go first.
                if now < self._missing + _PATIENCE_S and self.pending != "check":
                    return
                self.log.warning("%s is not on the network %s: reconnecting it", self._log_name, self.network_name)
                address = await self._reconnect(connected=False)
            elif address != known and not self.addresses.keep(self.object_name, address, self.user.name):
                self.log.warning("%s got the address %s, which is held for another server", self._log_name, address)
                await self._unroute_if_routed()
                address = await self._reconnect(connected=True)
        except (*DOCKER_ERRORS, errors.SpawnError) as error:
            self.log.warning(
                "%s cannot be reconnected: %s", self._log_name, getattr(error, "explanation", None) or error
            )
            return
        self._missing = None
        if not self.server or not self._is_current():
            return
        if address != known:
            self.log.warning("%s moved from %s to %s", self._log_name, known, address)
            self.server.ip = address
            self.db.commit()
        if self.ready:
            await self._route()

    async def _route(self) -> None:
        try:
            async with asyncio.timeout(ROUTE_TIMEOUT_S):
                await self._proxy.add_user(self.user, self.name)
        except Exception as error:
            # The proxy may be down, too; the Hub checks all routes regularly.
            self.log.warning("%s: cannot add its route: %s: %s", self._log_name, type(error).__name__, error)

    def _address_of(self, container: Mapping[str, Any]) -> str:
        endpoint = (container["NetworkSettings"]["Networks"] or {}).get(self.network_name) or {}
        return str(endpoint.get("IPAddress") or "")

    async def _reconnect(self, connected: bool) -> str:
        """Connect a running container with an address of its own, the last one if it is free."""
        if connected:
            await self.docker("disconnect_container_from_network", self.object_id, self.network_name)
        wanted = self.server.ip
        # The proxy may be starting together with the Hub.
        await self._routes(None)
        for _ in range(CLASHES):
            address = await self._take_address(wanted)
            if address is None:
                break
            try:
                await self._connect(address)
            except APIError as error:
                if not address_pool.is_clash(error):
                    raise
                self.addresses.block(address, f"not {self.object_name}")
                wanted = ""
            else:
                return address
        raise errors.no_address(0, self._log_name, self.network_name)
