"""`python -m jupyterhub_ansible.hub`: JupyterHub, which looks for left-over containers, at its start and again."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio

from jupyterhub import app

from .failures import DOCKER_ERRORS
from .spawner import UserServerSpawner

LOOK_AGAIN_S = 600
"""A start that was given up may have made its container afterwards: Docker's part of it cannot be called off."""


class JupyterHub(app.JupyterHub):
    """JupyterHub by its own name, which is that of its log and of its configuration."""

    async def start(self) -> None:
        """Start, then look for containers that no server has, without making anybody wait for it."""
        await super().start()
        # None where a subcommand was started instead.
        if self.http_server and issubclass(self.spawner_class, UserServerSpawner):
            # Kept: the event loop alone would not.
            self._tidying = asyncio.create_task(self._tidy())

    async def _tidy(self) -> None:
        at_start = True
        while True:
            try:
                await self.spawner_class(config=self.config).remove_leftovers(self.users, at_start)
            except DOCKER_ERRORS as error:
                self.log.warning("Left-over containers were not looked for: %s", error)
            at_start = False
            await asyncio.sleep(LOOK_AGAIN_S)


if __name__ == "__main__":
    JupyterHub.launch_instance()
