"""The part of the spawner that gives a server its address, and knows whether the server is still there."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import docker
from docker.errors import APIError, NotFound
from docker.utils import kwargs_from_env
from jupyterhub.utils import maybe_future
from sqlalchemy.exc import SQLAlchemyError

from ..engine.labels import KIND, PROJECT, labels
from . import addresses, failures
from .addresses import Addresses
from .failures import DOCKER_ERRORS
from .profiles import ChoosingSpawner
from .progress import CREATING
from .queue import Queue

_CLASHES = 20
"""So many other addresses are tried where Docker gave one to somebody else: a proof of the fence takes two."""
_ROUTE_TIMEOUT_S = 5
_LOOKS_AT_ONCE = 8
_PATIENCE_S = 25
"""So long after a server was taken off the network the Hub puts it back, at the next look (30 s)."""

# Docker takes no addresses from anybody on these (runconfig: "user defined networks only").
_WITHOUT_CHOICE = ("", "bridge", "default", "host", "none")


class AddressedSpawner(ChoosingSpawner):
    """A spawner whose servers have addresses that the Hub chose, and that are asked of the engine before each use."""

    addresses: ClassVar[Addresses]
    """Of all servers; the Hub sets it when its database is open."""
    _in_line: ClassVar = Queue()

    unrouted = False
    """The proxy has no route to it, as far as the Hub knows (UserProxy)."""
    # Since when it is not on the users' network, in seconds of the event loop's clock.
    _missing: float | None = None
    # It is just being found out whether the server still runs; and shall be once more, since an event came meanwhile.
    _look: "asyncio.Task[Any] | None" = None
    _look_again = False
    extra_create_kwargs: dict[str, Any]

    def own_client(self) -> docker.APIClient:
        """Return another connection to Docker than that of all spawners."""
        options = {"version": "auto", **kwargs_from_env(), **self.client_kwargs}
        if self.tls_config:
            options["tls"] = docker.tls.TLSConfig(**self.tls_config)
        return docker.APIClient(**options)

    # --- given

    async def create_object(self) -> Any:
        """Create the container, with the address that it will have."""
        given = self.extra_create_kwargs
        if self.network_name not in _WITHOUT_CHOICE:
            address = await self._wait_for_address()
            chosen = addresses.endpoint(self.network_name, address)
            self.extra_create_kwargs = {"networking_config": chosen, **given}
        try:
            return await super().create_object()
        finally:
            self.extra_create_kwargs = given

    async def _wait_for_address(self) -> str:
        taken = ""
        # A proxy that is away is waited for here (JupyterHub's own tries for half a minute), and not in the line, where
        # one start after another would.
        await self._routes(None)

        async def is_free() -> bool:
            nonlocal taken
            taken = await self._take_address() or ""
            return bool(taken)

        def tell(place: int, length: int) -> None:
            self._progress.say(CREATING, failures.waiting_for_address(place, length))

        try:
            await self._in_line.wait(is_free, lambda: None, tell, self.full_wait_s)
        except TimeoutError:
            raise failures.no_address(self.full_wait_s, self._log_name, self.network_name) from None
        return taken

    async def _take_address(self, wanted: str = "") -> str | None:
        """Take an address that nothing holds: no container, no route, no other server; None if there is none."""
        routes = await self._routes(_ROUTE_TIMEOUT_S)
        network, containers = await asyncio.gather(
            self.docker("inspect_network", self.network_name),
            self.docker("containers", all=True, filters={"network": [self.network_name]}),
        )
        in_use = addresses.of_containers(containers, self.network_name, self.object_id)
        in_use |= addresses.of_routes(routes, self.proxy_spec)
        # From here on nothing is waited for: who starts at the same moment finds it taken.
        in_use |= {each.server.ip for each in self._everybody() if each is not self and each.server}
        pool = addresses.candidates(network)
        return self.addresses.take(self.object_name, pool, in_use, wanted, self.user.name)

    async def _routes(self, patience_s: float | None) -> Mapping[str, Any]:
        try:
            # An administrator can have another proxy (hub_traits).
            fetch = getattr(self._proxy, "fetch_routes", self._proxy.get_all_routes)
            async with asyncio.timeout(patience_s):
                routes: Mapping[str, Any] = await fetch()
        except Exception as error:
            raise failures.no_proxy(error, self._log_name) from None
        return routes

    @property
    def _proxy(self) -> Any:
        return self.user.settings["proxy"]

    async def start_object(self) -> None:
        """Start the container; where Docker gave its address to somebody else meanwhile, with another one."""
        for _ in range(_CLASHES):
            try:
                await super().start_object()
            except APIError as error:
                if not addresses.is_clash(error):
                    raise
                await self._change_address()
            else:
                return
        raise failures.no_address(0, self._log_name, self.network_name)

    async def _change_address(self) -> None:
        container = await self.docker("inspect_container", self.object_id)
        networks = container["NetworkSettings"]["Networks"] or {}
        clashed = ((networks.get(self.network_name) or {}).get("IPAMConfig") or {}).get("IPv4Address")
        if not clashed:
            # Not chosen by the Hub: it cannot help that.
            raise failures.no_address(0, self._log_name, self.network_name)
        self.log.warning("%s: another container has the address %s: taking another one", self._log_name, clashed)
        self.addresses.block(clashed, f"not {self.object_name}")
        other = await self._wait_for_address()
        await self.docker("disconnect_container_from_network", self.object_id, self.network_name)
        await self._connect(other)

    async def _connect(self, address: str) -> None:
        await self.docker("connect_container_to_network", self.object_id, self.network_name, ipv4_address=address)

    def clear_state(self) -> None:
        """Forget a server that is gone; its address is held for a while."""
        super().clear_state()
        try:
            self.addresses.release(self.object_name)
        except SQLAlchemyError as error:
            # JupyterHub calls this at the end of a stop, which would never end; settle_addresses sees to it.
            self.log.error("%s: its address stays taken for a while: %s", self._log_name, error)

    def settle_addresses(self, users: Mapping[Any, Any]) -> None:
        """Let go of addresses of servers that no Hub started to its end, or saw the end of."""
        spawners = (spawner for user in users.values() for spawner in user.spawners.values())
        self.addresses.settle([each.object_name for each in spawners if each.active])

    # --- asked again before each use

    def _our_labels(self) -> dict[str, str]:
        return labels(self.project, "user-server", self.user.name, self.name)

    async def misplaced(self) -> str:
        """Return why the server is not where it is said to be; "" if the engine says that it is there.

        An engine that does not answer has not said so.
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
        # An administrator can have them reached by a port of the machine, or by name (hub_traits).
        if self.network_name in _WITHOUT_CHOICE or self.use_internal_hostname or not self.use_internal_ip:
            address = None
        return addresses.misplaced(container, self.object_id, self._our_labels(), self.network_name, address)

    def _is_current(self) -> bool:
        """Whether JupyterHub has not made another spawner for its server, as it does once one has ended.

        Both have the `server` of the new one then, so that the old one seems to be ready.
        """
        return self.user.spawners.get(self.name) is self

    def _serves(self) -> bool:
        """Whether it may be in use.

        A start by the API marks it as starting before it asks whether it runs (apihandlers.users.UserServerAPIHandler).
        """
        return self.ready or (self.pending == "spawn" and not self._spawn_future and bool(self.server))

    async def look_for(self, servers: list["AddressedSpawner"]) -> None:
        """Look where the servers are, all with one question, and at those that are not where they should be."""
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
                # One that an older Hub started is not in the table.
                self.addresses.keep(each.object_name, each.server.ip, each.user.name)
        at_once = asyncio.Semaphore(_LOOKS_AT_ONCE)

        async def look(each: AddressedSpawner) -> None:
            async with at_once:
                try:
                    await each.poll_and_notify()
                except Exception:
                    self.log.exception("%s was not looked at", each._log_name)

        await asyncio.gather(*map(look, lost))

    def add_poll_callback(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have something called when the server has ended; it goes by the server's name, as does a new start of it."""

        async def call() -> None:
            if self._is_current():
                await maybe_future(callback(*args, **kwargs))

        super().add_poll_callback(call)

    async def poll_and_notify(self) -> Any:
        """Find out whether the server still runs, and if not, have the Hub forget it; once at a time.

        JupyterHub calls this every 30 s; here also whatever Docker tells of the container.  Upstream forgets whom to
        call as soon as it calls them, so that a server of which the proxy could not be told would stay for ever.
        """
        if self._look:
            self._look_again = True
        else:
            self._look = asyncio.create_task(self._look_until_known())
        # Whoever asks meanwhile needs the answer, too: None would say that it runs.
        return await asyncio.shield(self._look)

    async def _look_until_known(self) -> Any:
        try:
            while True:
                self._look_again = False
                try:
                    status = await self._poll_and_notify()
                except Exception:
                    if not self._look_again:
                        raise
                    self.log.exception("%s was not looked at", self._log_name)
                    continue
                if status is not None or not self._look_again:
                    return status
        finally:
            self._look = None

    async def _poll_and_notify(self) -> Any:
        if not self._is_current():
            self.stop_polling()
            return 0
        status = await super().poll_and_notify()
        if status is not None and self._serves():
            await self.unroute()
            if self._is_current():
                await self.user.stop(self.name)
        return status

    async def unroute(self) -> None:
        """Take the proxy's route to the server away; before its address can be anybody else's."""
        if not self._is_current():
            return
        try:
            async with asyncio.timeout(_ROUTE_TIMEOUT_S):
                await self._proxy.delete_user(self.user, self.name)
        except Exception as error:
            # While the route is there, nobody gets its address.
            self.log.warning("%s: its route cannot be removed: %s", self._log_name, error)

    async def _unroute_if_routed(self) -> None:
        # Where the Hub starts ("check"), the proxy may still lead to it; anything else that is pending has no route.
        if self._serves() or self.pending == "check":
            await self.unroute()

    async def _find_again(self, container: Mapping[str, Any]) -> None:
        """Follow a server whose address changed, back on the users' network if somebody took it off.

        A network that was removed by hand and made anew by a deployment is empty: the servers run on unreachably,
        and a Hub that starts (`pending` is "check") would take them for dead (jupyterhub.app.JupyterHub.init_spawners).
        There is no route meanwhile: the address may be another server's.
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
                # A deployment that makes the network anew puts servers back itself, and must not be forestalled.
                if now < self._missing + _PATIENCE_S and self.pending != "check":
                    return
                self.log.warning("%s is not on the network %s: putting it back", self._log_name, self.network_name)
                address = await self._put_back(connected=False)
            elif address != known and not self.addresses.keep(self.object_name, address, self.user.name):
                self.log.warning("%s got the address %s, which is held for another one", self._log_name, address)
                await self._unroute_if_routed()
                address = await self._put_back(connected=True)
        except (*DOCKER_ERRORS, failures.ServerError) as error:
            self.log.warning("%s cannot be put back: %s", self._log_name, getattr(error, "explanation", None) or error)
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
            async with asyncio.timeout(_ROUTE_TIMEOUT_S):
                await self._proxy.add_user(self.user, self.name)
        except Exception as error:
            # The proxy may be away just as the server was; the Hub compares routes again and again.
            self.log.warning("%s: its route cannot be made: %s: %s", self._log_name, type(error).__name__, error)

    def _address_of(self, container: Mapping[str, Any]) -> str:
        endpoint = (container["NetworkSettings"]["Networks"] or {}).get(self.network_name) or {}
        return str(endpoint.get("IPAddress") or "")

    async def _put_back(self, connected: bool) -> str:
        """Give a container that runs an address of its own again, the last one if nobody else has it."""
        if connected:
            await self.docker("disconnect_container_from_network", self.object_id, self.network_name)
        wanted = self.server.ip
        # Where the Hub starts, the proxy may come up just then.
        await self._routes(None)
        for _ in range(_CLASHES):
            address = await self._take_address(wanted)
            if address is None:
                break
            try:
                await self._connect(address)
            except APIError as error:
                if not addresses.is_clash(error):
                    raise
                self.addresses.block(address, f"not {self.object_name}")
                wanted = ""
            else:
                return address
        raise failures.no_address(0, self._log_name, self.network_name)
