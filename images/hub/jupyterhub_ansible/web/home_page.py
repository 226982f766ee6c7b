"""The part of the home page that changes: the user's own servers, with what they use now.

The page asks for it again and again; it comes without numbers first, so that a slow engine never delays it.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.pages import HomeHandler
from tornado.web import authenticated

from ..spawner.usage import Meter, Usage
from .errors import PageError

_METER = Meter()


async def usage_of(spawners: Iterable[Any]) -> dict[str, Usage]:
    """Return what ready servers use, by the ids of their containers."""
    # A spawner of the operator's own may have no container.
    running = {each.object_id: each for each in spawners if each.ready and hasattr(each, "object_id")}
    return await _METER.usage(running, lambda id_: running[id_].client.stats(id_, stream=False, one_shot=True))


class OwnServersHandler(HomeHandler):
    """The servers of the user who asks, as HTML."""

    def render_template(self, name: str, **variables: Any) -> Any:
        """Render our template in place of the home page, with the same variables; error pages as ever."""
        return self._servers(variables) if name == "home.html" else super().render_template(name, **variables)

    async def _servers(self, variables: dict[str, Any]) -> Any:
        usage = await usage_of(self.current_user.spawners.values())
        return await super().render_template("servers.html", **variables, usage=usage)


class StartToTidy(APIHandler):
    """Starts a user's own server although the disk is nearly full, so that they can delete files."""

    # Only the home page.
    _accept_token_auth = False

    @authenticated
    async def post(self) -> None:
        """Start the server that the field `server` names, as it was started last; answer when it runs, or earlier.

        Raises:
            PageError: the user has no such server, or may not start it.
        """
        body = self.get_json_body()
        name = body.get("server") if isinstance(body, dict) else None
        user = self.current_user
        if not isinstance(name, str) or (name and name not in user.orm_spawners):
            raise PageError(HTTPStatus.NOT_FOUND, "You have no such server.")
        # The new one in place of a failed one is not what this returns, but made when it is looked up (JupyterHub 6.0).
        user.get_spawner(name, replace_failed=True)
        spawner = user.spawners[name]
        # As JupyterHub's own page; an operator may have taken this from users.
        if not self.has_scope(f"servers!server={user.name}/{name}"):
            raise PageError(HTTPStatus.FORBIDDEN, "You may not start servers.")
        if not spawner.active:
            spawner.tidying = True
            try:
                await self.spawn_single_user(user, name)
            except BaseException:
                # It may not have come so far.
                spawner.tidying = False
                raise
        self.set_status(HTTPStatus.ACCEPTED)


HANDLERS = (("home/servers", OwnServersHandler), ("home/tidy", StartToTidy))
"""Patterns, relative to the Hub's prefix."""
