"""Sees which files are saved, opened and renamed, and makes versions of them in a thread of its own.

A save never waits for this, and never fails because of it: a full or read-only home only means that there are no new
versions, which is logged.  What JupyterLab and jupyter-collaboration save passes the contents manager.  marimo, and
renames, are seen by the requests to this server.
"""

import json
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any
from urllib.parse import unquote

from .ring import ChangedError, NotKeptError, Ring

_TRIES = 5
_PAUSE_S = 0.2
_CONTENTS = "api/contents/"
_SESSION = "api/collaboration/session/"
"""By which jupyter-collaboration opens a file."""
_MARIMO = {
    "marimo/api/kernel/save": ("filename",),
    "marimo/api/kernel/rename": ("filename",),
    "marimo/api/files/update": ("path",),
    "marimo/api/files/move": ("path", "newPath"),
}
"""marimo's requests that change a file, and where their bodies have its path, and its new one."""


class Watch:
    """Makes versions in the order of what happened."""

    def __init__(self, ring: Ring, base_url: str, log: Any) -> None:
        self._ring = ring
        self._base_url = base_url
        self._log = log
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._waiting: set[tuple[str, bool]] = set()
        self._thread: threading.Thread | None = None
        self._fails = False

    def file_saved(self, os_path: str, **_: Any) -> None:
        """Make a version; to be called after each save, as a hook of the contents manager."""
        self._keep(os_path)

    def request_done(self, handler: Any) -> None:
        """Make a version, or take versions along, if this request, which has been answered, was about a file."""
        try:
            self._look_at(handler)
        except Exception as error:
            self._report(error)

    def _look_at(self, handler: Any) -> None:
        request = handler.request
        path = request.path.removeprefix(self._base_url)
        if handler.get_status() >= 300:
            return
        if request.method == "GET" and path == "marimo/" and (name := handler.get_query_argument("file", "")):
            self._keep(name)
        elif request.method == "GET" and path.startswith(_CONTENTS):
            # What is opened is kept before it is changed.  JupyterLab also asks before each save whether the file has
            # changed, without content: then a version is due only if it was changed by another program.
            name = unquote(path.removeprefix(_CONTENTS))
            self._keep(name, known_only=handler.get_query_argument("content", "1") == "0")
        elif request.method == "PUT" and path.startswith(_SESSION):
            # Not what is put to the contents: it may be a part of an upload, and the hook is told of whole files.
            self._keep(unquote(path.removeprefix(_SESSION)))
        elif request.method == "PATCH" and path.startswith(_CONTENTS):
            old = unquote(path.removeprefix(_CONTENTS))
            self._do(lambda: self._move(old, json.loads(request.body).get("path")))
        elif request.method == "POST" and path in _MARIMO:
            body, keys = request.body, _MARIMO[path]
            self._do(lambda: self._change_by_marimo(body, keys))

    def finish(self) -> None:
        """Wait until everything is done that was seen so far."""
        done = threading.Event()
        self._do(done.set)
        done.wait()

    def _keep(self, path: str, *, known_only: bool = False) -> None:
        # An open document is asked for often.
        if (path, known_only) not in self._waiting:
            self._waiting.add((path, known_only))
            self._do(lambda: self._make(path, known_only=known_only))

    def _do(self, job: Callable[[], None]) -> None:
        if not self._thread:
            # Not at the server's start; and the server's end does not wait for it.
            self._thread = threading.Thread(target=self._work, name="versions", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job()
            except NotKeptError as reason:
                self._log.debug("No version: %s", reason)
            except FileNotFoundError:
                continue  # it was deleted or renamed meanwhile
            except Exception as error:
                self._report(error)

    def _report(self, error: Exception) -> None:
        # Once, not for each save.
        log = self._log.debug if self._fails else self._log.warning
        log("No versions of saved files can be kept: %s: %s", type(error).__name__, error)
        self._fails = True

    def _make(self, path: str, *, known_only: bool = False) -> None:
        self._waiting.discard((path, known_only))
        name = self._ring.name_of(path)
        if known_only and not self._ring.versions(name):
            return
        for _ in range(_TRIES):
            try:
                if self._ring.keep(name) and self._fails:
                    self._fails = False
                    self._log.warning("Versions of saved files can be kept again")
            except ChangedError:
                time.sleep(_PAUSE_S)
            else:
                return

    def _move(self, old: str, new: str | None) -> None:
        if new:
            # The old name no longer exists, so links in it cannot be followed: it is as the user sees it.
            self._ring.move(self._ring.name_of(old), self._ring.name_of(new))

    def _change_by_marimo(self, body: bytes, keys: tuple[str, ...]) -> None:
        said = json.loads(body)
        paths = [said[key] for key in keys]
        if len(paths) > 1:
            self._move(*paths)
        elif paths[0]:
            self._make(paths[0])
