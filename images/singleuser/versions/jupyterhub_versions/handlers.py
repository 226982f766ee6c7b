"""The API of the dialog in JupyterLab: list, compare, bring back.

As for the files themselves, a request needs the permission to read or write contents, and JupyterHub's XSRF token.
"""
# Jupyter's server has no types.
# mypy: allow-subclassing-any, disable-error-code="misc,untyped-decorator"

import asyncio
import base64
import json
import os
import sys
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import ensure_async
from tornado import web

from .ring import ChangedError, NotKeptError, Ring, Version

PATH = "jupyterhub-versions"
_COMPARE_S = 20
_TOO_LONG = json.dumps({"note": "They are too different, or too large, to be compared here.", "lines": []})


class VersionsHandler(APIHandler):
    """The versions of the file whose path is in the address; of a version, those of its original."""

    auth_resource = "contents"
    _track_activity = False

    def initialize(self, ring: Ring) -> None:
        """Take the extension's object."""
        self._ring = ring

    @web.authenticated
    @authorized
    async def get(self, path: str) -> None:
        """Return the versions, or with `?version=` the lines that bringing this one back would change."""
        name = self._name(path)
        if version := self.get_query_argument("version", ""):
            self.finish(await self._compare(await self._find(name, version), name))
        else:
            self.finish(await asyncio.to_thread(self._listed, name))

    @web.authenticated
    @authorized
    async def post(self, path: str) -> None:
        """Bring the version that the body names back, after the present content has become a version."""
        name = self._name(path)
        version = await self._find(name, str((self.get_json_body() or {}).get("version", "")))
        # Before a new version may need its room.
        content = await asyncio.to_thread(version.path.read_bytes)
        if reason := await asyncio.to_thread(self._keep, name, whatever=True):
            raise web.HTTPError(409, f"Nothing was changed, as the present content could not be kept: {reason}")
        await asyncio.to_thread(os.makedirs, self._ring.path_of(name).parent, exist_ok=True)
        # As JupyterLab saves: what watches saved files sees it, and a full disk does not truncate the file.
        model = {"type": "file", "format": "base64", "content": base64.b64encode(content).decode()}
        await ensure_async(self.contents_manager.save(model, name))
        self.finish({"path": name})

    def _name(self, path: str) -> str:
        try:
            return self._ring.original_of(path.strip("/"))
        except NotKeptError as reason:
            raise web.HTTPError(404, f"No versions are kept of this file: {reason}") from None

    async def _find(self, name: str, wanted: str) -> Version:
        for version in await asyncio.to_thread(self._ring.versions, name):
            if version.path.name == wanted:
                return version
        raise web.HTTPError(404, "This version no longer exists.")

    def _listed(self, name: str) -> dict[str, Any]:
        # So that the list has what was just saved, and says why if nothing can be kept.
        reason = self._keep(name)
        versions = self._ring.versions(name)
        present = self._ring.path_of(name).is_file()
        same = present and self._ring.is_newest(name)
        return {
            "path": name,
            "exists": present,
            "reason": reason,
            "versions": [
                {"name": each.path.name, "time": each.time, "size": each.size, "present": same and not index}
                for index, each in enumerate(versions)
            ],
        }

    def _keep(self, name: str, *, whatever: bool = False) -> str:
        """Make a version of the present content; return why it cannot be made, or ""."""
        try:
            self._ring.keep(name, whatever=whatever)
        except FileNotFoundError:
            return ""  # deleted: there is nothing to keep
        except ChangedError:
            return "It is being written."
        except OSError as error:
            return f"{error.strerror}."
        except NotKeptError as reason:
            return str(reason)
        return ""

    async def _compare(self, version: Version, name: str) -> str:
        # Not in this process: it may take long, and much memory.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", f"{__package__}.difference"),
            *(str(self._ring.path_of(name)), str(version.path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            answer, _ = await asyncio.wait_for(process.communicate(), _COMPARE_S)
        except TimeoutError:
            process.kill()
            await process.wait()
            return _TOO_LONG
        return _TOO_LONG if process.returncode else answer.decode()
