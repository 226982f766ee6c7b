"""The part of the spawner that gives a server its address on the users' network."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

import docker
from docker.errors import APIError
from docker.utils import kwargs_from_env
from sqlalchemy.exc import SQLAlchemyError

from . import address_pool, errors
from .address_pool import Addresses
from .profiles import ProfileSpawner
from .progress import CREATING
from .queue import Queue

CLASHES = 20
"""How many other addresses are tried if Docker gave one to another container: a proof of the fence takes two."""
ROUTE_TIMEOUT_S = 5

# On these, Docker accepts no chosen address ("user defined networks only").
WITHOUT_CHOICE = ("", "bridge", "default", "host", "none")


class AddressedSpawner(ProfileSpawner):
    """A spawner that chooses the addresses of its servers."""

    addresses: ClassVar[Addresses]
    """Of all servers; set by the Hub when its database is open."""
    _address_queue: ClassVar = Queue()

    extra_create_kwargs: dict[str, Any]

    def own_client(self, **options: Any) -> docker.APIClient:
        """Return a new connection to Docker, besides the one that all spawners share; options as of APIClient."""
        options = {"version": "auto", **kwargs_from_env(), **self.client_kwargs, **options}
        if self.tls_config:
            options["tls"] = docker.tls.TLSConfig(**self.tls_config)
        return docker.APIClient(**options)

    async def create_object(self) -> Any:
        """Create the container with an address of the Hub's choice."""
        given = self.extra_create_kwargs
        if self.network_name not in WITHOUT_CHOICE:
            address = await self._wait_for_address()
            chosen = address_pool.endpoint(self.network_name, address)
            self.extra_create_kwargs = {"networking_config": chosen, **given}
        try:
            return await super().create_object()
        finally:
            self.extra_create_kwargs = given

    async def _wait_for_address(self) -> str:
        taken = ""
        # Wait for a missing proxy here, where all starts wait at the same time (JupyterHub retries for half a minute),
        # and not in the queue, where each would wait in turn.
        await self._routes(None)

        async def is_free() -> bool:
            nonlocal taken
            taken = await self._take_address() or ""
            return bool(taken)

        def report(place: int, length: int) -> None:
            self._progress.say(CREATING, errors.waiting_for_address(place, length))

        try:
            await self._address_queue.wait(is_free, lambda: None, report, self.full_wait_s)
        except TimeoutError:
            raise errors.no_address(self.full_wait_s, self._log_name, self.network_name) from None
        return taken

    async def _take_address(self, wanted: str = "") -> str | None:
        """Take an address that no container, route or other server has; None if there is none."""
        routes = await self._routes(ROUTE_TIMEOUT_S)
        network, containers = await asyncio.gather(
            self.docker("inspect_network", self.network_name),
            self.docker("containers", all=True, filters={"network": [self.network_name]}),
        )
        in_use = address_pool.of_containers(containers, self.network_name, self.object_id)
        in_use |= address_pool.of_routes(routes, self.proxy_spec)
        # No await from here on, so that a concurrent start finds it taken.
        in_use |= {each.server.ip for each in self._active_spawners() if each is not self and each.server}
        pool = address_pool.candidates(network)
        return self.addresses.take(self.object_name, pool, in_use, wanted, self.user.name)

    async def _routes(self, patience_s: float | None) -> Mapping[str, Any]:
        try:
            # hub_traits may set another proxy class.
            fetch = getattr(self._proxy, "fetch_routes", self._proxy.get_all_routes)
            async with asyncio.timeout(patience_s):
                routes: Mapping[str, Any] = await fetch()
        except Exception as error:
            raise errors.no_proxy(error, self._log_name) from None
        return routes

    @property
    def _proxy(self) -> Any:
        return self.user.settings["proxy"]

    async def start_object(self) -> None:
        """Start the container; if Docker gave its address to another container meanwhile, with a new one."""
        for _ in range(CLASHES):
            try:
                await super().start_object()
            except APIError as error:
                if not address_pool.is_clash(error):
                    raise
                await self._change_address()
            else:
                return
        raise errors.no_address(0, self._log_name, self.network_name)

    async def _change_address(self) -> None:
        container = await self.docker("inspect_container", self.object_id)
        networks = container["NetworkSettings"]["Networks"] or {}
        clashed = ((networks.get(self.network_name) or {}).get("IPAMConfig") or {}).get("IPv4Address")
        if not clashed:
            # Not an address that the Hub chose.
            raise errors.no_address(0, self._log_name, self.network_name)
        self.log.warning("%s: another container has the address %s: taking another one", self._log_name, clashed)
        self.addresses.block(clashed, f"not {self.object_name}")
        other = await self._wait_for_address()
        await self.docker("disconnect_container_from_network", self.object_id, self.network_name)
        await self._connect(other)

    async def _connect(self, address: str) -> None:
        await self.docker("connect_container_to_network", self.object_id, self.network_name, ipv4_address=address)

    def clear_state(self) -> None:
        """Clear the state of a server that is gone, and hold its address for a while."""
        super().clear_state()
        try:
            self.addresses.release(self.object_name)
        except SQLAlchemyError as error:
            # An exception here would keep JupyterHub's stop from finishing; settle_addresses releases it later.
            self.log.error("%s: cannot release its address yet: %s", self._log_name, error)

    def settle_addresses(self, users: Mapping[Any, Any]) -> None:
        """Release addresses of servers whose start failed or whose end no Hub noticed."""
        spawners = (spawner for user in users.values() for spawner in user.spawners.values())
        self.addresses.settle([each.object_name for each in spawners if each.active])
