"""What administrators see above JupyterHub's own list of users: who is on, with what, and what went wrong."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar

import docker
from jupyterhub.handlers.base import BaseHandler
from tornado.web import authenticated

from ..engine import calls
from ..engine.errors import DOCKER_ERRORS
from ..messages.handlers import LENGTHS, Inbox
from ..spawner.server_cards import lasting
from .administrators import is_administrator
from .errors import PageError
from .home_page import usage_of

MEASURE_S = 1800
"""For as long the engine may say nothing: it walks through all files of all homes (docker-py gives up after 60)."""


def disk_usage(client: docker.APIClient) -> dict[str, Any]:
    """Return what `docker system df` shows; blocks, and closes the connection."""
    try:
        found: dict[str, Any] = client.df()
        return found
    finally:
        client.close()


class Homes:
    """The sizes of homes, measured when an administrator asks for it, since that takes long."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        """Bytes by the volume's name; empty before the first time."""
        self.error = ""
        self._at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def measuring(self) -> bool:
        """Whether it is going on."""
        return self._task is not None

    @property
    def age(self) -> str:
        """How long ago they were measured; "" if never."""
        return lasting(asyncio.get_running_loop().time() - self._at) if self.sizes else ""

    def measure(self, ask: Callable[[], Mapping[str, Any]]) -> None:
        """Begin, unless it is going on; `ask` returns what `docker system df` shows, and blocks."""
        if self._task is None:
            self._task = asyncio.create_task(self._measure(ask))

    async def _measure(self, ask: Callable[[], Mapping[str, Any]]) -> None:
        try:
            found = await asyncio.wrap_future(calls.HOMES.submit(ask))
            volumes = found.get("Volumes") or []
            self.sizes = {each["Name"]: each["UsageData"]["Size"] for each in volumes if each.get("UsageData")}
            self._at, self.error = asyncio.get_running_loop().time(), ""
        except (*DOCKER_ERRORS, KeyError, TypeError) as error:
            self.error = f"The engine did not measure them: {error}"
        finally:
            self._task = None


class ServersNow(BaseHandler):
    """The servers of all users, as HTML: those that run, start, stop, or could not be started."""

    homes: ClassVar[Homes] = Homes()

    def _record_activity(self, obj: Any, timestamp: Any = None) -> bool:
        # The page asks for it again and again.
        return False

    def _spawners(self) -> Iterator[Any]:
        for user in self.users.values():
            yield from (each for each in user.spawners.values() if each.active or each._failed)

    @authenticated
    async def get(self) -> None:
        """Show the table.

        Raises:
            PageError: the user administers some users only, or none.
        """
        if not is_administrator(self):
            raise PageError(HTTPStatus.FORBIDDEN, "Only administrators see all servers.")
        spawners = {(each.user.name, each.name): each for each in self._spawners()}
        usage = await usage_of(spawners.values())
        # The same cards as on their owners' home pages.
        cards_of = self.settings["template_vars"]["own_servers"]
        mine = cards_of(self.current_user)(usage)
        pages = {each.user.name: cards_of(each.user)(usage) for each in spawners.values()}
        rows = [
            (owner, card, self.homes.sizes.get(getattr(spawners[owner, card.name], "home_volume", "")))
            for owner, page in sorted(pages.items())
            for card in page.cards
            if (owner, card.name) in spawners
        ]
        now = datetime.now(UTC).replace(tzinfo=None)
        messages = [(each, lasting((each.ends - now).total_seconds())) for each in Inbox.messages.all()]
        page = await self.render_template(
            "servers_now.html", rows=rows, homes=self.homes, messages=messages, lengths=LENGTHS, mine=mine
        )
        self.finish(page)


class MeasureHomes(ServersNow):
    """Has the homes measured."""

    @authenticated
    def post(self) -> None:
        """Begin; the table shows the sizes when they are there."""
        if not is_administrator(self):
            raise PageError(HTTPStatus.FORBIDDEN, "Only administrators have homes measured.")
        if connect := next((each.own_client for each in self._spawners() if hasattr(each, "own_client")), None):
            self.homes.measure(lambda: disk_usage(connect(timeout=MEASURE_S)))
        self.set_status(HTTPStatus.ACCEPTED)


HANDLERS = (("admin/servers", ServersNow), ("admin/homes", MeasureHomes))
"""Patterns, relative to the Hub's prefix."""
