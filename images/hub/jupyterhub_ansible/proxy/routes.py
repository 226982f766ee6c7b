"""Routes: none to servers that are gone, to others with their cookies' names; and which `last_activity` counts."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from typing import Any

from jupyterhub import orm
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import Dict, Unicode

from ..culling.plan import slug_of
from ..engine.errors import DOCKER_ERRORS
from ..spawner.routing import RoutedSpawner

COOKIE = "cookie"
"""Of a route's data, as images/proxy/headers/cookies.mjs reads it (HubOAuth.cookie_name, without a prefix)."""


class UserProxy(ConfigurableHTTPProxy):
    """configurable-http-proxy, whose `last_activity` counts only for servers that do not report their own.

    It counts every byte as activity, pings included, so that an idle notebook in an open page would never be culled.
    """

    tells_activity = Dict(help="{slug of an environment: its servers report their own activity}").tag(config=True)
    default_profile = Unicode(help="Slug of the environment that is used if none is chosen").tag(config=True)

    async def get_all_routes(self) -> dict[str, Any]:
        """Return the proxy's routes, from which JupyterHub reads `last_activity` if present (update_last_activity).

        Without those that an older Hub added, so that they are added anew.
        """
        found = await self.fetch_routes()
        routes = {
            spec: each for spec, each in found.items() if "server_name" not in each["data"] or COOKIE in each["data"]
        }
        for route in routes.values():
            data = route["data"]
            if "server_name" in data and self._reports_activity(data["user"], data["server_name"]):
                data.pop("last_activity", None)
        return routes

    async def fetch_routes(self) -> dict[str, Any]:
        """Return the proxy's routes unchanged, without a database query for each, which would slow everyone down."""
        routes: dict[str, Any] = await super().get_all_routes()
        return routes

    async def add_route(self, routespec: str, target: str, data: dict[str, Any]) -> None:
        """Add a route; to a user's server with the name of its cookie: the proxy keeps those of others from it."""
        if "server_name" in data:
            spawner = self.app.users[data["user"]].spawners[data["server_name"]]
            data = {**data, COOKIE: spawner.oauth_client_id}
        await super().add_route(routespec, target, data)

    def _reports_activity(self, username: str, server: str) -> bool:
        user = orm.User.find(self.app.db, username)
        spawner = user.orm_spawners.get(server) if user else None
        if spawner is None:
            return False
        return bool(self.tells_activity.get(slug_of(spawner.user_options, self.tells_activity, self.default_profile)))

    async def add_user(self, user: Any, server_name: str = "") -> None:
        """Add a route to a server, if the engine confirms its address.

        Raises:
            RuntimeError: it does not, and the server is just starting: the Hub then stops it.
        """
        spawner = user.spawners[server_name]
        why = await spawner.misplaced() if isinstance(spawner, RoutedSpawner) else ""
        # No exception here, so that JupyterHub goes on with the routes of other servers.
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
        """Delete the route to a server, once, although several callers may notice its end."""
        spawner = user.spawners[server_name]
        # Other spawner classes lack the attribute.
        if getattr(spawner, "unrouted", False):
            return
        # Before the call, because a route may be added meanwhile.
        spawner.unrouted = True
        try:
            await super().delete_user(user, server_name)
        except BaseException:
            spawner.unrouted = False
            raise

    async def check_routes(
        self, user_dict: Mapping[Any, Any], service_dict: Mapping[str, Any], routes: dict[str, Any] | None = None
    ) -> None:
        """Compare the proxy's routes with the servers, after checking with the engine where the servers are."""
        spawners = [each for user in user_dict.values() for each in user.spawners.values()]
        ready = [each for each in spawners if isinstance(each, RoutedSpawner) and each.ready]
        if ready:
            try:
                await ready[0].locate(ready)
            except DOCKER_ERRORS as error:
                self.log.warning("Docker cannot be asked where servers are: %s", error)
        await super().check_routes(user_dict, service_dict, routes)
