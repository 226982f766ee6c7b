"""The proxy: no route to a server that is not there; its word on when one was in use is worthless, due to pings."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from typing import Any

from jupyterhub import orm
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import Dict, Unicode

from ..culling.plan import slug_of
from ..spawner.addressing import AddressedSpawner
from ..spawner.failures import DOCKER_ERRORS


class UserProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, whose clock counts only for servers that do not tell for themselves.

    It takes every byte for activity, so that an idle notebook in an open page would never end.
    """

    tells_activity = Dict(help="{slug of an environment: its servers tell truthfully when they are in use}").tag(
        config=True
    )
    default_profile = Unicode(help="Slug of the environment that is used if none is chosen").tag(config=True)

    async def get_all_routes(self) -> dict[str, Any]:
        """Return the proxy's routes; JupyterHub takes `last_activity` from them, where it is (update_last_activity)."""
        routes = await self.fetch_routes()
        for route in routes.values():
            data = route["data"]
            if "server_name" in data and self._tells(data["user"], data["server_name"]):
                data.pop("last_activity", None)
        return routes

    async def fetch_routes(self) -> dict[str, Any]:
        """Return the proxy's routes as it tells them: asking the database about each takes time, of everybody's."""
        routes: dict[str, Any] = await super().get_all_routes()
        return routes

    def _tells(self, username: str, server: str) -> bool:
        user = orm.User.find(self.app.db, username)
        spawner = user.orm_spawners.get(server) if user else None
        if spawner is None:
            return False
        return bool(self.tells_activity.get(slug_of(spawner.user_options, self.tells_activity, self.default_profile)))

    async def add_user(self, user: Any, server_name: str = "") -> None:
        """Add a route to a server, if the engine says that it is there.

        Raises:
            RuntimeError: it is not, and was just started: the Hub stops it.
        """
        spawner = user.spawners[server_name]
        why = await spawner.misplaced() if isinstance(spawner, AddressedSpawner) else ""
        # The routes of others are made all the same.
        if user.spawners.get(server_name) is not spawner or not (spawner.ready or spawner.pending == "spawn"):
            self.log.warning("%s gets no route: it ended, or is being stopped", spawner._log_name)
            return
        if why:
            if spawner.pending == "spawn":
                raise RuntimeError(f"{spawner._log_name} gets no route: {why}")
            self.log.warning("%s gets no route: %s", spawner._log_name, why)
            await self.delete_user(user, server_name)
            return
        spawner.unrouted = False
        await super().add_user(user, server_name)

    async def delete_user(self, user: Any, server_name: str = "") -> None:
        """Delete the route to a server; once, though both the first to notice its end and JupyterHub ask for it."""
        spawner = user.spawners[server_name]
        # Others' spawners have no such thing.
        if getattr(spawner, "unrouted", False):
            return
        # Not afterwards: a route may be made meanwhile.
        spawner.unrouted = True
        try:
            await super().delete_user(user, server_name)
        except BaseException:
            spawner.unrouted = False
            raise

    async def check_routes(
        self, user_dict: Mapping[Any, Any], service_dict: Mapping[str, Any], routes: dict[str, Any] | None = None
    ) -> None:
        """Compare the proxy's routes with the servers; first, these with the engine's word on where they are."""
        spawners = [each for user in user_dict.values() for each in user.spawners.values()]
        ready = [each for each in spawners if isinstance(each, AddressedSpawner) and each.ready]
        if ready:
            try:
                await ready[0].look_for(ready)
            except DOCKER_ERRORS as error:
                self.log.warning("Docker cannot be asked where servers are: %s", error)
        await super().check_routes(user_dict, service_dict, routes)
