"""The API of the notice in JupyterLab, and of its button."""
# Jupyter's server has no types.
# mypy: allow-subclassing-any, disable-error-code="misc"

from typing import Any

import jupyterhub_start
from jupyter_server.base.handlers import APIHandler
from tornado import web

from .activity import Activity, now
from .plan import Plan

PATH = "jupyterhub-idle"


class IdleHandler(APIHandler):
    """Answers when this server will be stopped; a request does not count as activity."""

    _track_activity = False

    def initialize(self, activity: Activity, plan: Plan) -> None:
        """Take the extension's objects."""
        self._activity = activity
        self._plan = plan

    @web.authenticated
    def get(self) -> None:
        """Return the `seconds` until then, or null, the `reason`, and how long before the user is notified.

        `notices` are about the server's start.
        """
        self.finish(self._told())

    @web.authenticated
    def post(self) -> None:
        """Keep the server: counts as activity of the user."""
        self._activity.keep()
        self.finish(self._told())

    def _told(self) -> dict[str, Any]:
        end = self._plan.end(self.settings["started"], self._activity.last_activity())
        return {
            "seconds": (end[0] - now()).total_seconds() if end else None,
            "reason": end[1] if end else "",
            "notice_seconds": self._plan.notice_s,
            "notices": jupyterhub_start.notices,
        }
