"""Determines when a user's server was last in use.

Actions of the user and computations, with or without an open page, count as use.  An open page alone does not: it pings
and polls even if nobody is looking.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from tornado.httpclient import HTTPError

from . import processes
from .marimo import Marimo

COMPUTING = 0.1
"""Share of a processor from which the use of all processes in the container counts as a computation.

An idle server, ten idle kernels and an open page of each kind use less than a third of it.
"""
LOOKING = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that pages send by themselves."""
POLLED = ("/lab/api/workspaces/", "/marimo/api/home/running_notebooks")
"""Paths of other requests that pages send every 10 s: JupyterLab 4.6 saves open tabs, marimo 0.25 polls notebooks."""


def now() -> datetime:
    """Return the current time, with a time zone as JupyterHub expects."""
    return datetime.now(UTC)


class Activity:
    """Replaces `last_activity` of Jupyter's web application, which JupyterHub's extension reports."""

    def __init__(self, app: Any, marimo: Marimo, log: Any) -> None:
        self._settings = app.settings
        self._marimo = marimo
        self._log = log
        self._last: datetime = app.settings["started"]
        self._looked = time.monotonic()
        self._ticks = {each.pid: each.ticks for each in processes.processes()}

    def note(self) -> None:
        """Record activity."""
        self._last = now()

    def keep(self) -> None:
        """Record that the user wants to keep the server, including kernels and terminals."""
        self.note()
        for each in (*self._kernels(), *self._terminals()):
            each.last_activity = self._last

    def last_activity(self) -> datetime:
        """Return when the server was last in use, as far as known; `look` updates it."""
        # Times of other extensions, such as jupyter-server-proxy.
        times = [self._last, *self._settings["last_activity_times"].values()]
        times += [each.last_activity for each in (*self._kernels(), *self._terminals()) if each.last_activity]
        # Stored, because the time of a culled kernel is lost; in Jupyter, culling itself counts as activity
        # (`MappingKernelManager.last_kernel_activity`).
        self._last = max(times)
        return self._last

    def count_request(self, handler: Any) -> None:
        """Record activity for requests that open a page or change something, but not for those that pages send."""
        request = handler.request
        opened = "text/html" in request.headers.get("Accept", "")
        done = request.method not in LOOKING and not any(path in request.path for path in POLLED)
        # As in APIHandler.update_api_activity: `current_user` fails on pages without login.
        user = getattr(handler, "_jupyter_current_user", None)
        if user and handler.get_status() < 400 and (opened or done):
            self.note()

    async def look(self) -> None:
        """Check for running jobs and computations; to be called every few minutes."""
        found = list(processes.processes())
        jobs = processes.sessions_with_a_job(found)
        for terminal in self._terminals():
            if terminal.ptyproc.pid in jobs:
                # Jupyter culls silent terminals, whatever runs in them.
                terminal.last_activity = now()
        computed = self._computed(found)
        if computed:
            # It may be a thread or child process of an idle kernel, and would be culled with it.
            for kernel in self._kernels():
                kernel.last_activity = now()
        busy = any(each.execution_state == "busy" for each in self._kernels())
        if jobs or computed or busy or await self._marimo_runs():
            self.note()

    def _computed(self, found: list[processes.Process]) -> bool:
        at = time.monotonic()
        used = processes.computed_s(found, self._ticks, besides=os.getpid())
        share = used / max(at - self._looked, 1)
        self._looked, self._ticks = at, {each.pid: each.ticks for each in found}
        return share >= COMPUTING

    async def _marimo_runs(self) -> bool:
        try:
            return await self._marimo.is_running()
        except (OSError, HTTPError, ValueError) as error:
            # It may be starting.  Computations also show in its processor time.
            self._log.info("Cannot determine whether a marimo notebook is running: %s", error)
            return False

    def _kernels(self) -> Iterator[Any]:
        manager = self._settings["kernel_manager"]
        for kernel_id in manager.list_kernel_ids():
            kernel = manager.get_kernel(kernel_id)
            # Not set yet while it is starting.
            if hasattr(kernel, "last_activity"):
                yield kernel

    def _terminals(self) -> Iterator[Any]:
        manager = self._settings.get("terminal_manager")
        yield from list(manager.terminals.values()) if manager else ()
