"""The spawner of users' servers: DockerSpawner with our names, labels, limits and catalogue."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar

from docker.errors import APIError
from tornado.web import HTTPError
from traitlets import Int

from ..auth import tokens
from ..engine import calls, run_as
from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import not_inherited
from ..shared_folders.spawner import SharedFolderSpawner
from . import challenge, errors, limits
from .errors import SpawnError
from .progress import ANSWERING, CREATING, STARTING, Event
from .readiness import ReadySpawner


def _literal(text: str) -> str:
    """Escape braces, as in JSON or a user's name, for DockerSpawner._render_templates."""
    return text.replace("{", "{{").replace("}", "}}")


class UserServerSpawner(SharedFolderSpawner, ReadySpawner):
    """Starts a user's server in a container of its own, from an image of the catalogue."""

    pids_limit = Int(1024, help="Processes and threads of a server at most").tag(config=True)
    tmp_mb = Int(None, allow_none=True, help="Size of /tmp in MiB; by default half of the memory limit").tag(
        config=True
    )

    check_before_start: ClassVar[Callable[[str], None] | None] = None
    """Called in a thread with the image, before each start and again before the container runs.

    Raises SpawnError if no server may start.
    """

    extra_create_kwargs: dict[str, Any]
    extra_host_config: dict[str, Any]

    # --- the container

    async def create_object(self) -> Any:
        """Create the container with our labels and limits, overridden by the administrator's options."""
        engine, memory = await self._engine_info(), limits.in_bytes(self.mem_limit)
        await self._wait_for_room(engine.memory - self.reserve_memory_mb * 1024**2)
        await self._wait_for_start_slot()
        self._progress.say(CREATING, "Creating the container of your server")
        image = await self.docker("inspect_image", self.image)
        user = await self._container_user(image)
        await self.grant_folders()
        await self._ensure_home()
        await self._ensure_mounted_volumes(run_as.number(user) or 0)
        ours = self._server_labels()
        self._answers_challenge = self._is_challenged(image)
        given, given_host = self.extra_create_kwargs, self.extra_host_config
        self.extra_create_kwargs = {
            **given,
            "user": _literal(user),
            "labels": {
                **{_literal(name): value for name, value in not_inherited(image).items()},
                **given.get("labels", {}),
                **{key: _literal(value) for key, value in ours.items()},
            },
        }
        host = limits.host_config(self.project, engine, memory, self.tmp_mb, self.pids_limit)
        host["security_opt"] = [_literal(each) for each in host["security_opt"]]
        self.extra_host_config = limits.merged(host, given_host)
        try:
            return await super().create_object()
        except APIError as error:
            if error.status_code != 409:
                raise
            raise SpawnError(
                "Another container of this machine has the name of your server. Please tell the administrator.",
                reason="name-taken",
                log_message=f"{self._log_name}: container {self.object_name} exists and carries no"
                f" labels of this user and project; left alone",
            ) from None
        finally:
            # The next start may use another image or size.
            self.extra_create_kwargs, self.extra_host_config = given, given_host

    async def _container_user(self, image: Mapping[str, Any]) -> str:
        """Return the container's user as a number.

        Raises:
            SpawnError: it is root, or cannot be determined.
        """
        given = self.extra_create_kwargs.get("user")
        administrators = "" if given is None else str(self._render_templates(given))
        user = administrators or image["Config"].get("User") or ""
        uid = await run_as.uid(self.docker, self.project, image, user)
        if not uid:
            named = self.choice is not None and self.choice.free_image
            where = "hub_traits: DockerSpawner.extra_create_kwargs.user" if administrators else f"image {self.image}"
            raise errors.wrong_user(user, uid, where, self._log_name, str(self.image) if named else "")
        return run_as.numbered(user, uid)

    def _is_challenged(self, image: Mapping[str, Any]) -> bool:
        # A foreign image may be built on ours, and so have the label, but run another server.
        known = self.choice is not None and self.choice.environment.tells_activity
        return known and challenge.LABEL in (image["Config"].get("Labels") or {})

    async def start_object(self) -> None:
        """Start the container."""
        # Again, because pulling and waiting for memory may have taken long.
        await self._check()
        self._progress.say(STARTING, "Starting your server")
        await super().start_object()
        self._progress.say(ANSWERING, "Waiting until your server answers")

    async def _check(self) -> None:
        if check := type(self).check_before_start:
            await asyncio.wrap_future(calls.threads("inspect").submit(check, str(self.image)))

    # --- start and stop

    async def start(self) -> tuple[str, int]:
        """Start the server, and wait until it answers.

        Raises:
            SpawnError: it may not or cannot start, ended early, or did not answer within `http_timeout` seconds.
        """
        self.ended = ""
        # Whatever the last state was: the Hub adds the route after this returns.
        self.unrouted = True
        if self.notice:
            # A start without the start page has not shown it yet.
            self._progress.say(0, self.notice)
        self._enforce_room_on_disk()
        self._enforce_running_limit()
        if self.is_being_deleted:
            raise SpawnError("Your server is being deleted.", reason="deleted", status_code=400)
        try:
            await self._check()
            ip, port = await super().start()
            await self._wait_until_ready(f"http://{ip}:{port}{self.server.base_url}")
            # Whoever loses one from now on finds a server with it (shared_folders.revocation).
            self.require_folders()
        except DOCKER_ERRORS as error:
            raise errors.docker_failed(error, self._log_name) from None
        except HTTPError:
            raise
        except Exception as error:
            self.log.exception("%s could not be started", self._log_name)
            raise errors.unexpected(error, self._log_name) from None
        finally:
            self._release_start_slot()
        return ip, port

    async def progress(self) -> AsyncIterator[Event]:
        """Yield the events of the start, for the pending page."""
        async for event in self._progress.follow():
            yield event

    async def stop(self, now: bool = False) -> None:
        """Stop the server, after removing its route."""
        await self.unroute()
        await super().stop(now)

    def run_post_stop_hook(self) -> Any:
        """Remove the token of the stopped server, even one from before the Hub's restart, and call the operator's hook.

        Not as the hook (`Spawner.post_stop_hook`), which the operator's jupyterhub_config.py may set.
        """
        try:
            tokens.remove_stale(self.user.db)
        except Exception:
            self.log.exception("%s: its token could not be removed", self._log_name)
        return super().run_post_stop_hook()
