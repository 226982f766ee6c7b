"""The part of the spawner that calls Docker: in threads, for the container with our labels, and for images."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from docker.errors import APIError, NotFound
from traitlets import Unicode

from ..clean import lines, one_line
from ..engine import calls
from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import carries, labels
from . import errors, limits, naming
from .options import without_tag
from .progress import CREATING, PULLING, Progress, Pull
from .routing import RoutedSpawner

PULL_TIMEOUT_S = 1800
"""Time limit for pulling an image."""
# Lines of a failed server's log that are copied to the Hub's log.
_LAST_LINES = 20


class ContainerSpawner(RoutedSpawner):
    """A spawner that touches only containers which carry the labels of this project and this user."""

    project = Unicode(help="Prefix of all names, and value of the project label").tag(config=True)

    _engine: ClassVar[limits.Engine | None] = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._progress = Progress()
        if self.user:
            # JupyterHub joins user and server by one hyphen (User._new_spawner), so that `a-b` + `c`, `a` + `b-c`
            # and the default server of `a-b-c` would overwrite each other's OAuth client.
            self.oauth_client_id = naming.server_name("jupyterhub", self.user.name, self.name)

    def _object_name_default(self) -> str:
        return naming.server_name(self.project, self.user.name, self.name)

    def _labels(self, kind: str, server: str) -> dict[str, str]:
        return labels(self.project, kind, self.user.name, server)

    def docker(self, method: str, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        """Call a method of docker.APIClient in a thread.

        DockerSpawner has a single thread: stopping one hung server would block all other starts.
        """
        if method == "pull":
            loop = asyncio.get_running_loop()
            kwargs["report"] = lambda percent: loop.call_soon_threadsafe(self._report_pull, percent)
            call: Any = self._pull
        else:
            call = partial(self._docker, method)
        return asyncio.wrap_future(calls.threads(method).submit(call, *args, **kwargs))

    def _pull(self, repository: str, tag: str, report: Callable[[int], None]) -> None:
        if repository.endswith("@sha256"):
            # DockerSpawner splits a reference at its last colon; Docker accepts a digest as the tag.
            repository, tag = without_tag(repository.removesuffix("@sha256")), f"sha256:{tag}"
        pull, reported = Pull(), -1
        for event in self.client.pull(repository, tag, stream=True, decode=True):
            # In a stream, docker-py yields errors as events.
            if error := event.get("error"):
                raise APIError(error, explanation=error)
            if (percent := pull.add(event)) > reported:
                reported = percent
                report(percent)

    def _report_pull(self, percent: int) -> None:
        bar = PULLING + percent * (CREATING - PULLING) // 100
        self._progress.say(bar, f"Fetching the environment: {percent} %")

    async def _engine_info(self) -> limits.Engine:
        if ContainerSpawner._engine is None:
            ContainerSpawner._engine = limits.engine(await self.docker("info"))
        return ContainerSpawner._engine

    async def get_object(self) -> Any:
        """Return our container as from `inspect_container`; None if there is none, or if it lacks our labels.

        Unlike DockerSpawner's, this does not treat an internal error of Docker (500) as "gone".
        """
        container = None
        with suppress(NotFound):
            container = await self.docker("inspect_container", self.object_name)
        if container and not carries(container["Config"]["Labels"], self._server_labels()):
            self.log.warning("Leaving container %s alone: its labels are not %s's", self.object_name, self._log_name)
            container = None
        self.object_id = container["Id"] if container else ""
        return container

    async def remove_object(self) -> None:
        """Stop and remove our container.

        Docker refuses to remove a running one, which DockerSpawner misreads as "already being removed".
        """
        await self.stop_object()
        await super().remove_object()

    async def pull_image(self, image: str) -> None:
        """Make sure that the image exists (`pull_policy`)."""
        try:
            async with asyncio.timeout(PULL_TIMEOUT_S):
                await super().pull_image(image)
        except TimeoutError:
            raise errors.pull_timed_out(PULL_TIMEOUT_S, self._log_name, image) from None
        except DOCKER_ERRORS as error:
            if isinstance(error, NotFound) and self.pull_policy == "never":
                raise errors.missing_image(self._log_name, image) from None
            named = self.choice is not None and self.choice.free_image
            raise errors.pull_failed(error, self._log_name, image, named) from None

    async def _remove_container(self) -> None:
        try:
            await self.remove_object()
        except DOCKER_ERRORS as error:
            # remove_orphans removes it later, or the next start replaces it.
            self.log.warning("%s: its container cannot be removed: %s", self._log_name, error)
        else:
            self.object_id = ""

    async def _last_lines(self) -> str:
        try:
            written: bytes = await self.docker("logs", self.object_id, tail=_LAST_LINES)
        except DOCKER_ERRORS as error:
            # Not every log driver can be read.
            return f"(they cannot be read: {one_line(str(error))})"
        return lines(written.decode(errors="replace").strip(), _LAST_LINES, last=True) or "(it wrote nothing)"
