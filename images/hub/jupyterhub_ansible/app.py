"""`python -m jupyterhub_ansible.app`: JupyterHub that follows Docker's events and removes orphaned containers.

As a Compose application it also reconciles its networks, proxy and fence (compose.reconciler) and removes old images.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
import logging
import subprocess
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any

from jinja2 import FileSystemLoader, PrefixLoader
from jupyterhub import app
from jupyterhub.scopes import define_custom_scopes
from tornado.httpserver import HTTPServer

from .audit import pages as audit_pages
from .audit import refusals
from .audit import service as audit
from .auth import login_limits, sessions, tokens
from .auth.membership import is_blocked
from .background import repeat
from .clean import CleanLogFormatter
from .compose.errors import ComposeError
from .compose.reconciler import Reconciler
from .engine.errors import DOCKER_ERRORS
from .engine.events import Events
from .messages import handlers as messages
from .messages.store import Messages
from .settings import check
from .settings.model import Settings, SettingsError, Workspace, load
from .shared_folders import revocation
from .sharing import grants
from .sharing import handlers as sharing
from .sharing.spawner import SharingSpawner
from .spawner import fence_check
from .spawner.address_pool import Addresses
from .spawner.spawner import UserServerSpawner
from .spawner.start_page import TEMPLATES
from .web import admin_page, home_page, request_limits, server_names
from .web.http_server import HubServer
from .workspaces import members

CLEAN_UP_S = 600
"""A start that timed out may still leave a container: a call of the Docker API cannot be cancelled."""
STARTING_S = 60
"""An event about a server whose route is just being added waits up to this long."""
SWEEP_S = 5
"""How often shares are looked through for those that are over."""
RECONCILE_S = 5
"""How often a Compose Hub reconciles networks, proxy and fence."""


class JupyterHub(app.JupyterHub):
    """Named like its parent, because log and configuration go by the class's name."""

    reconciler: Reconciler | None = None
    fence_monitor: fence_check.FenceMonitor | None = None
    workspaces: tuple[Workspace, ...] = ()
    has_audit = False
    """Whether events go to the audit trail's recorder."""
    _audit: audit.Audit | None = None
    _is_at_start = True
    _log_formatter_cls = CleanLogFormatter
    handlers: list[tuple[Any, ...]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._tasks: set[asyncio.Task[None]] = set()

    def init_handlers(self) -> None:
        """Make the handlers: JupyterHub's, with limits on requests, login attempts and tokens, and ours."""
        super().init_handlers()
        pages = (
            *home_page.HANDLERS,
            *admin_page.HANDLERS,
            *audit_pages.HANDLERS,
            *messages.HANDLERS,
            *sharing.HANDLERS,
        )
        # Before JupyterHub's last ones, which match anything.
        ours = [*((self.hub_prefix + path, handler) for path, handler in pages), *sharing.accepting(self.handlers)]
        self.handlers = server_names.explained(login_limits.bounded(request_limits.bounded(ours)))

    def init_tornado_settings(self) -> None:
        """Make settings and the loader of templates, which finds ours as `deployment/...` as well.

        Otherwise an operator's template that has the name of ours could only extend JupyterHub's (`templates/...`).
        """
        super().init_tornado_settings()
        # Both environments of Jinja share it.
        loader = self.tornado_settings["jinja2_env"].loader
        loader.loaders.insert(0, PrefixLoader({"deployment": FileSystemLoader(TEMPLATES)}))

    def init_db(self) -> None:
        """Open the database, and add our tables for ended sessions, addresses and messages; begin to record events."""
        super().init_db()
        sessions.install(self.db)
        if self.has_audit:
            self._audit = audit.Audit(self.log, self.db)
        UserServerSpawner.addresses = Addresses(self.db)
        messages.Inbox.messages = Messages(self.db)

    async def init_role_creation(self) -> None:
        """Create roles, with the scopes of shared servers, which an operator's own `custom_scopes` would replace."""
        define_custom_scopes(grants.CUSTOM_SCOPES)
        await super().init_role_creation()

    async def init_role_assignment(self) -> None:
        """Assign roles, also those of workspaces; before JupyterHub takes all roles from blocked users."""
        await super().init_role_assignment()
        members.prepare(self, self.workspaces)
        revocation.follow_logins(self)
        if self._audit:
            self._audit.roles_are_loaded(self.authenticator)

    async def start(self) -> None:
        """Start JupyterHub, then its background tasks."""
        await super().start()
        # None for a subcommand, such as `jupyterhub token`.
        if not self.http_server:
            return
        # With an operator's own spawner, too: shares of before must end.
        self._run(repeat(self._sweep_shares, SWEEP_S, self.log, "Cannot look for shares that are over"))
        if self._audit:
            self._run(self._audit.load_visits())
            settle = self._audit.settle
            self._run(repeat(settle, refusals.SETTLE_S, self.log, "Refused logins cannot be summed up"))
        if issubclass(self.spawner_class, UserServerSpawner):
            self._run(repeat(self._clean_up, CLEAN_UP_S, self.log, "Cannot clean up after servers that ended"))
            self._run(self._retire_workspaces())
            self._run(revocation.revoke_all(self))
            self._follow_events()
            if self.reconciler:
                self._run(self._reconcile(self.reconciler))
            if self.fence_monitor:
                check = partial(self._check_fence, self.fence_monitor)
                self._run(repeat(check, fence_check.CHECK_S, self.log, "Checking the fence failed"))

    def _run(self, task: Coroutine[Any, Any, None]) -> None:
        # A reference, because the event loop holds only weak ones.
        self._tasks.add(running := asyncio.create_task(task))
        running.add_done_callback(self._tasks.discard)

    async def cleanup(self) -> None:
        """Clean up before the end, which is recorded as well."""
        await super().cleanup()
        if self._audit:
            self._audit.stop()

    def _follow_events(self) -> None:
        spawner, loop = self.spawner_class(config=self.config), asyncio.get_running_loop()
        self._checks: set[asyncio.Task[None]] = set()

        def check(container: str | None) -> None:
            self._checks.add(task := asyncio.create_task(self._check_server(container)))
            task.add_done_callback(self._checks.discard)

        def notify(container: str | None) -> None:
            try:
                loop.call_soon_threadsafe(check, container)
            except RuntimeError:
                # The loop is closed because the Hub is stopping; this ends the thread.
                sys.exit()

        Events(spawner.own_client, spawner.project, spawner.network_name, notify, self.log).start()

    async def _check_server(self, container: str | None) -> None:
        """Poll the server of a container that Docker reported; None: check all, since events may have been missed."""
        try:
            if container is None:
                await self.proxy.check_routes(self.users, self._service_map)
                return
            deadline = asyncio.get_running_loop().time() + STARTING_S
            spawner = self._spawner_of(container)
            while spawner and spawner.object_id == container and spawner.active:
                if spawner.ready:
                    await spawner.poll_and_notify()
                # The Hub's own stop needs no poll; a start polls its container itself until the route is added.
                if spawner.pending not in ("spawn", "check") or asyncio.get_running_loop().time() > deadline:
                    return
                await asyncio.sleep(0.5)
        except Exception:
            # The Hub polls all servers regularly anyway.
            self.log.exception("Handling a Docker event failed")

    def _spawner_of(self, container: str) -> UserServerSpawner | None:
        spawners = (each for user in self.users.values() for each in user.spawners.values())
        return next((each for each in spawners if each.object_id == container and each.active), None)

    async def _reconcile(self, reconciler: Reconciler) -> None:
        # The Hub has just done it before it started.
        await asyncio.sleep(RECONCILE_S)
        step = partial(self._reconcile_once, reconciler)
        await repeat(step, RECONCILE_S, self.log, "Checking networks, proxy and fence failed")

    async def _reconcile_once(self, reconciler: Reconciler) -> None:
        if await asyncio.to_thread(reconciler.reconcile):
            self.log.warning("The proxy was replaced: restoring the routes of running servers")
            await self.proxy.check_routes(self.users, self._service_map)

    async def _check_fence(self, fence_monitor: fence_check.FenceMonitor) -> None:
        if message := await asyncio.to_thread(fence_monitor.check):
            self.log.warning(message)

    async def _remove_old_images(self, reconciler: Reconciler) -> None:
        try:
            await asyncio.to_thread(reconciler.remove_old_images)
        except DOCKER_ERRORS as error:
            self.log.warning("Cannot look for old images: %s", error)

    async def _retire_workspaces(self) -> None:
        try:
            await members.retire(self, self.workspaces)
        except Exception:
            self.log.exception("Cannot stop workspaces that are not declared any more")

    async def _sweep_shares(self) -> None:
        """End shares that are over; with an operator's own spawner all, since it may keep former guests connected."""
        is_ours = issubclass(self.spawner_class, SharingSpawner)
        policy = self.spawner_class(config=self.config).sharing if is_ours else grants.NOBODY
        try:
            for line in grants.sweep(self.db, policy, partial(is_blocked, self.authenticator)):
                self.log.info(line)
        except Exception:
            self.db.rollback()
            raise

    async def _clean_up(self) -> None:
        spawner, at_start = self.spawner_class(config=self.config), self._is_at_start
        self._is_at_start = False
        for step in (partial(tokens.remove_stale, self.db), partial(spawner.settle_addresses, self.users)):
            try:
                step()
            except Exception:
                self.log.exception("Cannot release tokens or addresses of servers that ended")
                self.db.rollback()
        try:
            await spawner.remove_orphans(self.users, at_start)
        except DOCKER_ERRORS as error:
            self.log.warning("Cannot look for orphaned containers: %s", error)
        except Exception:
            self.log.exception("Cannot look for orphaned containers")
        if self.reconciler:
            await self._remove_old_images(self.reconciler)


def trust_proxy(settings: Settings, reconciler: Reconciler | None) -> None:
    """Replace tornado's HTTP server by ours, which trusts forwarded headers only from the proxy's addresses."""
    fixed = frozenset([str(settings.deployment.proxy_address)]) if settings.deployment.proxy_address else frozenset()
    HubServer.proxies = lambda: reconciler.proxy_addresses if reconciler else fixed
    HTTPServer.configure(HubServer)


def checked_settings() -> Settings:
    """Return the settings; a Compose Hub first checks them as the playbook does before it writes hub.json.

    In a process of its own, since the operator's jupyterhub_config.py may do what a process can do only once.

    Raises:
        SettingsError: the Hub would not start with them, or would ignore some.
    """
    settings = load().settings
    if settings.compose:
        command = [sys.executable, "-m", __package__, "check", "--homes", "--config", str(check.CONFIG_FILE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SettingsError(done.stderr.strip() or f"checking the settings ended with status {done.returncode}")
    return settings


def prepare(settings: Settings) -> Reconciler | None:
    """Set up the check before each start; a Compose Hub also makes networks and fence, and proves the fence.

    Raises:
        ComposeError: the Hub cannot start.
    """
    if settings.compose is None:
        UserServerSpawner.check_before_start = fence_check.check_before_start
        JupyterHub.fence_monitor = fence_check.FenceMonitor(fence_check.gateway(settings.deployment.hub_connect_url))
        return None
    logging.basicConfig(format="[%(levelname).1s %(asctime)s %(name)s] %(message)s")
    log = logging.getLogger("compose")
    log.setLevel(logging.INFO)
    try:
        reconciler = Reconciler(settings, log)
        reconciler.prepare()
    except DOCKER_ERRORS as error:
        raise ComposeError(f"The Docker engine cannot be used: {error}") from None
    UserServerSpawner.check_before_start = reconciler.check_before_start
    return reconciler


if __name__ == "__main__":
    try:
        settings = checked_settings()
        JupyterHub.reconciler = prepare(settings)
    except (SettingsError, ComposeError) as problem:
        # Without a traceback: the message is for the operator.
        sys.exit(str(problem))
    JupyterHub.workspaces = settings.hub_workspaces
    JupyterHub.has_audit = True
    trust_proxy(settings, JupyterHub.reconciler)
    JupyterHub.launch_instance()
