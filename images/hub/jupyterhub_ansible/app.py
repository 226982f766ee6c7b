"""`python -m jupyterhub_ansible.app`: JupyterHub, which follows Docker's events, and looks for left-over containers.

As a Compose application it also makes and keeps what it needs around it (compose.keeper), and looks for old images.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
import logging
import sys
from functools import partial
from typing import Any

from jupyterhub import app
from tornado.httpserver import HTTPServer

from .auth import login_limits, sessions, tokens
from .clean import CleanLogFormatter
from .compose.errors import ComposeError
from .compose.reconciler import Keeper
from .engine.events import Events
from .settings import check
from .settings.model import Settings, SettingsError, load
from .spawner import fence_check
from .spawner.addresses import Addresses
from .spawner.failures import DOCKER_ERRORS
from .spawner.spawner import UserServerSpawner
from .web import request_limits
from .web.http_server import HubServer

LOOK_AGAIN_S = 600
"""A start that was given up may have made its container afterwards: Docker's part of it cannot be called off."""
STARTING_S = 60
"""An event about a server whose start is at its end (its route is being made) waits so long."""
KEEP_S = 5
"""How often the networks, the proxy and the fence are looked at, where the Hub keeps them itself."""


class JupyterHub(app.JupyterHub):
    """JupyterHub by its own name, which is that of its log and of its configuration."""

    keeper: Keeper | None = None
    lookout: fence_check.Lookout | None = None
    _log_formatter_cls = CleanLogFormatter
    handlers: list[tuple[Any, ...]]

    def init_handlers(self) -> None:
        """Make the list of handlers: bounded in what of a request is stored and logged, and in guesses and tokens."""
        super().init_handlers()
        self.handlers = login_limits.bounded(request_limits.bounded(self.handlers))

    def init_db(self) -> None:
        """Open the database, with tables of ours: sessions that were ended, and addresses of servers."""
        super().init_db()
        sessions.install(self.db)
        UserServerSpawner.addresses = Addresses(self.db)

    async def start(self) -> None:
        """Start, then look for what is left over, without making anybody wait for it."""
        await super().start()
        # None where a subcommand was started instead.
        if self.http_server and issubclass(self.spawner_class, UserServerSpawner):
            # Kept: the event loop alone would not.
            self._tidying = asyncio.create_task(self._tidy())
            self._follow_events()
            if self.keeper:
                self._keeping = asyncio.create_task(self._keep(self.keeper))
            if self.lookout:
                self._looking_out = asyncio.create_task(self._look_out(self.lookout))

    def _follow_events(self) -> None:
        spawner, loop = self.spawner_class(config=self.config), asyncio.get_running_loop()
        self._looks: set[asyncio.Task[None]] = set()

        def look(container: str | None) -> None:
            self._looks.add(task := asyncio.create_task(self._look(container)))
            task.add_done_callback(self._looks.discard)

        def tell(container: str | None) -> None:
            try:
                loop.call_soon_threadsafe(look, container)
            except RuntimeError:
                # The loop is closed: the Hub ends, and this ends the thread.
                sys.exit()

        Events(spawner.own_client, spawner.project, spawner.network_name, tell, self.log).start()

    async def _look(self, container: str | None) -> None:
        """Look at the server of a container of which Docker told something, or at all; take away what is dead."""
        try:
            if container is None:
                await self.proxy.check_routes(self.users, self._service_map)
                return
            deadline = asyncio.get_running_loop().time() + STARTING_S
            spawner = self._spawner_of(container)
            while spawner and spawner.object_id == container and spawner.active:
                if spawner.ready:
                    await spawner.poll_and_notify()
                # A stop is the Hub's own; a start looks at its container until the route is made.
                if spawner.pending not in ("spawn", "check") or asyncio.get_running_loop().time() > deadline:
                    return
                await asyncio.sleep(0.5)
        except Exception:
            # The Hub looks at all servers again and again besides.
            self.log.exception("An event of Docker's came to nothing")

    def _spawner_of(self, container: str) -> UserServerSpawner | None:
        spawners = (each for user in self.users.values() for each in user.spawners.values())
        return next((each for each in spawners if each.object_id == container and each.active), None)

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

    async def _look_out(self, lookout: fence_check.Lookout) -> None:
        while True:
            try:
                if said := await asyncio.to_thread(lookout.look):
                    self.log.warning(said)
            except OSError:
                self.log.exception("Whether the fence is in force was not looked at")
            await asyncio.sleep(fence_check.LOOK_S)

    async def _remove_old_images(self, keeper: Keeper) -> None:
        try:
            await asyncio.to_thread(keeper.remove_old_images)
        except DOCKER_ERRORS as error:
            self.log.warning("Old images were not looked for: %s", error)

    async def _tidy(self) -> None:
        at_start = True
        while True:
            spawner = self.spawner_class(config=self.config)
            for step in (partial(tokens.remove_of_stopped, self.db), partial(spawner.settle_addresses, self.users)):
                try:
                    step()
                except Exception:
                    self.log.exception("Tokens or addresses of servers that ended were not looked for")
                    self.db.rollback()
            try:
                await spawner.remove_leftovers(self.users, at_start)
            except DOCKER_ERRORS as error:
                self.log.warning("Left-over containers were not looked for: %s", error)
            except Exception:
                self.log.exception("Left-over containers were not looked for")
            if self.keeper:
                await self._remove_old_images(self.keeper)
            at_start = False
            await asyncio.sleep(LOOK_AGAIN_S)


def believe_the_proxy(settings: Settings, keeper: Keeper | None) -> None:
    """Tell the Hub's HTTP server whose word about the client counts, and put it in the place of tornado's."""
    fixed = frozenset([str(settings.deployment.proxy_address)]) if settings.deployment.proxy_address else frozenset()
    HubServer.proxies = lambda: keeper.proxy_addresses if keeper else fixed
    HTTPServer.configure(HubServer)


def checked() -> Settings:
    """Return the settings; as a Compose application, tried first as the playbook tries them before it writes them.

    Raises:
        SettingsError: the Hub would not start with them, or would overlook some.
    """
    settings = load().settings
    if settings.compose and (found := check.problems(check.CONFIG_FILE)):
        raise SettingsError("\n".join(found))
    return settings


def prepared(settings: Settings) -> Keeper | None:
    """Make what the Hub needs around it, where it has to do that itself.

    Raises:
        ComposeError: something is not as it must be.
    """
    if settings.compose is None:
        UserServerSpawner.before_start = fence_check.before_start
        JupyterHub.lookout = fence_check.Lookout(fence_check.gateway(settings.deployment.hub_connect_url))
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
        settings = checked()
        JupyterHub.keeper = prepared(settings)
    except (SettingsError, ComposeError) as problem:
        # No traceback: the message is for the one who deploys.
        sys.exit(str(problem))
    believe_the_proxy(settings, JupyterHub.keeper)
    JupyterHub.launch_instance()
