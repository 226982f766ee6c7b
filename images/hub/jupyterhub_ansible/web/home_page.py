"""The part of the home page that changes: the user's own servers, with what they use now.

The page asks for it again and again; it comes without numbers first, so that a slow engine never delays it.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

from typing import Any

from jupyterhub.handlers.pages import HomeHandler

from ..spawner.usage import Meter

PATH = "home/servers"
"""Relative to the Hub's prefix."""


class OwnServersHandler(HomeHandler):
    """The servers of the user who asks, as HTML."""

    meter = Meter()

    async def render_template(self, name: str, **variables: Any) -> Any:
        """Render our template in place of the home page, with the same variables."""
        # A spawner of the operator's own may have no container.
        own = [each for each in self.current_user.spawners.values() if each.ready and hasattr(each, "object_id")]
        running = {each.object_id: each for each in own}
        usage = await self.meter.usage(running, lambda id_: running[id_].client.stats(id_, stream=False, one_shot=True))
        return await super().render_template("servers.html", **variables, usage=usage)


def with_own_servers(prefix: str, rules: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the Hub's rules (pattern, handler, arguments), with ours before its last ones, which match anything."""
    return [(prefix + PATH, OwnServersHandler), *rules]
