"""`python -m jupyterhub_ansible.hub`: JupyterHub, which looks for left-over containers, at its start and again.

As a Compose application it also makes and keeps what it needs around it (compose.keeper), and looks for old images.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
import logging
import sys

from jupyterhub import app

from . import safety
from .compose.errors import ComposeError
from .compose.keeper import Keeper
from .failures import DOCKER_ERRORS
from .settings import Settings, SettingsError, load
from .spawner import UserServerSpawner

LOOK_AGAIN_S = 600
"""A start that was given up may have made its container afterwards: Docker's part of it cannot be called off."""
KEEP_S = 5
"""How often the networks, the proxy and the fence are looked at, where the Hub keeps them itself."""


class JupyterHub(app.JupyterHub):
    """JupyterHub by its own name, which is that of its log and of its configuration."""

    keeper: Keeper | None = None
    lookout: safety.Lookout | None = None

    async def start(self) -> None:
        """Start, then look for what is left over, without making anybody wait for it."""
        await super().start()
        # None where a subcommand was started instead.
        if self.http_server and issubclass(self.spawner_class, UserServerSpawner):
            # Kept: the event loop alone would not.
            self._tidying = asyncio.create_task(self._tidy())
            if self.keeper:
                self._keeping = asyncio.create_task(self._keep(self.keeper))
            if self.lookout:
                self._looking_out = asyncio.create_task(self._look_out(self.lookout))

    async def _keep(self, keeper: Keeper) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            try:
                if await asyncio.to_thread(keeper.look):
                    self.log.warning("The proxy is a new one: giving it the routes of running servers")
                    await self.proxy.check_routes(self.users, self._service_map)
            except Exception:
                # Whatever it was, it is looked at again.
                self.log.exception("What is around the Hub was not looked at")

    async def _look_out(self, lookout: safety.Lookout) -> None:
        while True:
            try:
                if said := await asyncio.to_thread(lookout.look):
                    self.log.warning(said)
            except OSError:
                self.log.exception("Whether the fence is in force was not looked at")
            await asyncio.sleep(safety.LOOK_S)

    async def _remove_old_images(self, keeper: Keeper) -> None:
        try:
            await asyncio.to_thread(keeper.remove_old_images)
        except DOCKER_ERRORS as error:
            self.log.warning("Old images were not looked for: %s", error)

    async def _tidy(self) -> None:
        at_start = True
        while True:
            try:
                await self.spawner_class(config=self.config).remove_leftovers(self.users, at_start)
            except DOCKER_ERRORS as error:
                self.log.warning("Left-over containers were not looked for: %s", error)
            if self.keeper:
                await self._remove_old_images(self.keeper)
            at_start = False
            await asyncio.sleep(LOOK_AGAIN_S)


def prepared(settings: Settings) -> Keeper | None:
    """Make what the Hub needs around it, where it has to do that itself.

    Raises:
        ComposeError: something is not as it must be.
    """
    if settings.compose is None:
        UserServerSpawner.before_start = safety.before_start
        JupyterHub.lookout = safety.Lookout(safety.gateway(settings.hub.connect_url))
        return None
    logging.basicConfig(format="[%(levelname).1s %(asctime)s %(name)s] %(message)s")
    log = logging.getLogger("compose")
    log.setLevel(logging.INFO)
    try:
        keeper = Keeper(settings, log)
        keeper.prepare()
    except DOCKER_ERRORS as error:
        raise ComposeError(f"Docker does not answer as it should: {error}") from None
    # Nobody's server starts without it.
    UserServerSpawner.before_start = keeper.before_start
    return keeper


if __name__ == "__main__":
    try:
        JupyterHub.keeper = prepared(load().settings)
    except (SettingsError, ComposeError) as problem:
        # No traceback: the message is for the one who deploys.
        sys.exit(str(problem))
    JupyterHub.launch_instance()
