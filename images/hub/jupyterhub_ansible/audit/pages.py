"""Pages of the audit trail: administrators read it; owners of servers hear at once that somebody was in."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
import json
from datetime import datetime
from http import HTTPStatus

from jupyterhub.handlers.base import BaseHandler
from tornado.web import authenticated

from .. import clean
from ..web.administrators import is_administrator
from ..web.errors import PageError
from ..web.waiting import WAIT_S, WaitingHandler
from . import chain, events, trail, visits

PATH = "audit"
VISITS_PATH = "home/visits"
"""Relative to the Hub's prefix."""


class AuditHandler(BaseHandler):
    """The trail, for those who may change all users."""

    folder = chain.FOLDER

    @authenticated
    async def get(self) -> None:
        """Show a page of events, newest first.

        Raises:
            PageError: the user may not read it.
        """
        if not is_administrator(self):
            raise PageError(HTTPStatus.FORBIDDEN, "Only administrators may read the audit trail.")
        asked = {name: clean.one_line(self.get_argument(name, ""), 100) for name in ("person", "event", "text")}
        query, start = trail.Query(**asked), trail.place(self.get_argument("at", ""))
        found = await asyncio.to_thread(trail.search, self.folder, query, start)
        shown = [{**each, "when": f"{datetime.fromisoformat(each['time']):%Y-%m-%d %H:%M:%S}"} for each in found.events]
        page = await self.render_template(
            "audit.html", events=shown, older=found.older, asked=asked, kinds=events.KINDS, is_first=start is None
        )
        self.finish(page)


class VisitsHandler(WaitingHandler):
    """Answers when somebody opens one of the user's servers, or after a while."""

    @authenticated
    async def get(self) -> None:
        """Say what has changed: a value that the page sends with its next request."""
        name, known = self.current_user.name, self.get_argument("known", "")
        if await self.wait(visits.SHARED.changed(name, known, WAIT_S)):
            self.set_header("Content-Type", "application/json")
            self.finish(json.dumps({"latest": visits.SHARED.changes(name)}))


HANDLERS = ((PATH, AuditHandler), (VISITS_PATH, VisitsHandler))
"""Patterns, relative to the Hub's prefix."""
