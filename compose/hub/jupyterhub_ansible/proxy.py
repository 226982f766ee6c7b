"""The proxy's word on when a server was last in use, which an open page's pings make worthless."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from typing import Any

from jupyterhub import orm
from jupyterhub.proxy import ConfigurableHTTPProxy
from traitlets import Dict, Unicode

from .culling import slug_of


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
        routes: dict[str, Any] = await super().get_all_routes()
        for route in routes.values():
            data = route["data"]
            if "server_name" in data and self._tells(data["user"], data["server_name"]):
                data.pop("last_activity", None)
        return routes

    def _tells(self, username: str, server: str) -> bool:
        user = orm.User.find(self.app.db, username)
        spawner = user.orm_spawners.get(server) if user else None
        if spawner is None:
            return False
        return bool(self.tells_activity.get(slug_of(spawner.user_options, self.tells_activity, self.default_profile)))
