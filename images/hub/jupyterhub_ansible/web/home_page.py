"""The part of the home page that changes: the user's own servers, with what they use now.

The page asks for it again and again; it comes without numbers first, so that a slow engine never delays it.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from collections.abc import Iterable
from typing import Any

from jupyterhub.handlers.pages import HomeHandler

from ..spawner.usage import Meter, Usage

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


HANDLERS = (("home/servers", OwnServersHandler),)
"""Patterns, relative to the Hub's prefix."""
