"""What the notice in JupyterLab asks, and its button."""
# Jupyter's server has no types.
# mypy: allow-subclassing-any, disable-error-code="misc"

from typing import Any

from jupyter_server.base.handlers import APIHandler
from tornado import web

from .activity import Activity, now
from .plan import Plan

PATH = "jupyterhub-idle"


class IdleHandler(APIHandler):
    """When will this server be stopped?  Asking is no activity, and answering costs nothing."""

    _track_activity = False

    def initialize(self, activity: Activity, plan: Plan) -> None:
        """Take what the extension knows."""
        self._activity = activity
        self._plan = plan

    @web.authenticated
    def get(self) -> None:
        """Tell it: `seconds` until then, or null, for what `reason`, and how long before the user is told."""
        self.finish(self._told())

    @web.authenticated
    def post(self) -> None:
        """Keep the server, which is as if its user had done something."""
        self._activity.keep()
        self.finish(self._told())

    def _told(self) -> dict[str, Any]:
        end = self._plan.end(self.settings["started"], self._activity.last_activity())
        return {
            "seconds": (end[0] - now()).total_seconds() if end else None,
            "reason": end[1] if end else "",
            "notice_seconds": self._plan.notice_s,
        }
