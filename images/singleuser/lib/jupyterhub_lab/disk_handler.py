"""What JupyterLab asks for *File > Disk Usage*."""
# Jupyter's server has no types.
# mypy: allow-subclassing-any, disable-error-code="misc,untyped-decorator"

import asyncio
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from . import disk

PATH = "jupyterhub-disk"


class DiskHandler(APIHandler):
    """Measures the home."""

    auth_resource = "contents"
    _track_activity = False
    _one_at_a_time = asyncio.Semaphore(1)

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer as `disk.measure`."""
        async with self._one_at_a_time:
            self.finish(await asyncio.to_thread(disk.measure, Path.home()))
