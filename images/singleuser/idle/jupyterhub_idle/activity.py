"""When a user's server was last in use: the one place that knows, and what the Hub is told.

In use is what the user does, and what computes for the user with or without an open page.  An open page alone is
not: its pings and polls say nothing of anybody in front of it.
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
"""Of a processor: from here on, what the processes of the container use together is somebody's computation.

An idle server, ten idle kernels and an open page of each kind use less than a third of it.
"""
LOOKING = ("GET", "HEAD", "OPTIONS")
"""Methods of requests that pages send on their own."""
POLLED = ("/lab/api/workspaces/", "/marimo/api/home/running_notebooks")
"""In the paths of others, every 10 s: JupyterLab 4.6 stores which tabs are open, marimo 0.25 asks what runs."""


def now() -> datetime:
    """Return the time as JupyterHub compares it."""
    return datetime.now(UTC)


class Activity:
    """Replaces `last_activity` of Jupyter's web application, which JupyterHub's part of the server reports."""

    def __init__(self, app: Any, marimo: Marimo, log: Any) -> None:
        self._settings = app.settings
        self._marimo = marimo
        self._log = log
        self._last: datetime = app.settings["started"]
        self._looked = time.monotonic()
        self._ticks = {each.pid: each.ticks for each in processes.processes()}

    def note(self) -> None:
        """The user is here."""
        self._last = now()

    def keep(self) -> None:
        """The user wants all of it to stay, kernels and terminals too."""
        self.note()
        for each in (*self._kernels(), *self._terminals()):
            each.last_activity = self._last

    def last_activity(self) -> datetime:
        """Return when the server was last in use, as far as it can be told at once; `look` adds the rest."""
        # Other extensions' own: code that is proxied, by jupyter-server-proxy.
        times = [self._last, *self._settings["last_activity_times"].values()]
        times += [each.last_activity for each in (*self._kernels(), *self._terminals()) if each.last_activity]
        # Kept: a kernel that is culled takes its time with it, and must not count as active for being culled, as
        # Jupyter has it (`MappingKernelManager.last_kernel_activity`).
        self._last = max(times)
        return self._last

    def count_request(self, handler: Any) -> None:
        """Take a request for what it says of the user: pages only look, apart from being opened."""
        request = handler.request
        opened = "text/html" in request.headers.get("Accept", "")
        done = request.method not in LOOKING and not any(path in request.path for path in POLLED)
        # As Jupyter itself asks (APIHandler.update_api_activity): `current_user` fails on pages that need no login.
        user = getattr(handler, "_jupyter_current_user", None)
        if user and handler.get_status() < 400 and (opened or done):
            self.note()

    async def look(self) -> None:
        """Look what runs without anybody's doing; to be done every few minutes."""
        found = list(processes.processes())
        jobs = processes.sessions_with_a_job(found)
        for terminal in self._terminals():
            if terminal.ptyproc.pid in jobs:
                # Jupyter culls terminals that were silent for long, whatever runs in them.
                terminal.last_activity = now()
        computed = self._computed(found)
        if computed:
            # It may be a thread or a child of an idle kernel, which would be culled with it.
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
            # It may be starting.  That it computes is seen by its processor time all the same.
            self._log.info("marimo does not tell whether a notebook runs: %s", error)
            return False

    def _kernels(self) -> Iterator[Any]:
        manager = self._settings["kernel_manager"]
        for kernel_id in manager.list_kernel_ids():
            kernel = manager.get_kernel(kernel_id)
            # One that is being started has no time yet.
            if hasattr(kernel, "last_activity"):
                yield kernel

    def _terminals(self) -> Iterator[Any]:
        manager = self._settings.get("terminal_manager")
        yield from list(manager.terminals.values()) if manager else ()
