"""The part of the spawner that speaks to Docker: calls in threads, the container by its labels, images."""
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
from ..engine.labels import carries, labels
from . import failures, limits, naming
from .addressing import AddressedSpawner
from .failures import DOCKER_ERRORS
from .options import without_tag
from .progress import CREATING, PULLING, Progress, Pull

PULL_TIMEOUT_S = 1800
"""Seconds in which an image has to be fetched."""
# Lines of a server's log that the administrator gets of one that failed.
_LAST_LINES = 20


class ContainerSpawner(AddressedSpawner):
    """A spawner that touches only containers which carry the labels of this project and this user."""

    project = Unicode(help="Prefix of all names, and value of the project label").tag(config=True)

    _engine: ClassVar[limits.Engine | None] = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._progress = Progress()
        if self.user:
            # JupyterHub's own joins user and server by one hyphen (User._new_spawner): `a-b` + `c`, `a` + `b-c`
            # and the default server of `a-b-c` would overwrite each other's OAuth client.
            self.oauth_client_id = naming.server_name("jupyterhub", self.user.name, self.name)

    def _object_name_default(self) -> str:
        return naming.server_name(self.project, self.user.name, self.name)

    def _labels(self, kind: str, server: str) -> dict[str, str]:
        return labels(self.project, kind, self.user.name, server)

    def docker(self, method: str, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        """Call a method of docker.APIClient in a thread.

        DockerSpawner has one thread for all: whoever stops a hung server holds up everybody's start.
        """
        if method == "pull":
            loop = asyncio.get_running_loop()
            kwargs["tell"] = lambda percent: loop.call_soon_threadsafe(self._tell_pull, percent)
            call: Any = self._pull
        else:
            call = partial(self._docker, method)
        return asyncio.wrap_future(calls.threads(method).submit(call, *args, **kwargs))

    def _pull(self, repository: str, tag: str, tell: Callable[[int], None]) -> None:
        if repository.endswith("@sha256"):
            # DockerSpawner splits a reference at its last colon, and Docker takes a digest in a tag's place.
            repository, tag = without_tag(repository.removesuffix("@sha256")), f"sha256:{tag}"
        pull, told = Pull(), -1
        for event in self.client.pull(repository, tag, stream=True, decode=True):
            # With a stream, docker-py takes an error for an event.
            if error := event.get("error"):
                raise APIError(error, explanation=error)
            if (percent := pull.add(event)) > told:
                told = percent
                tell(percent)

    def _tell_pull(self, percent: int) -> None:
        bar = PULLING + percent * (CREATING - PULLING) // 100
        self._progress.say(bar, f"Fetching the environment: {percent} %")

    async def _look_at_engine(self) -> limits.Engine:
        if ContainerSpawner._engine is None:
            ContainerSpawner._engine = limits.engine(await self.docker("info"))
        return ContainerSpawner._engine

    async def get_object(self) -> Any:
        """Our container as Docker describes it; None if there is none, or if it is a stranger's.

        Unlike DockerSpawner's, this does not take an error of Docker's own (500) for "gone".
        """
        container = None
        with suppress(NotFound):
            container = await self.docker("inspect_container", self.object_name)
        if container and not carries(container["Config"]["Labels"], self._our_labels()):
            self.log.warning("Leaving container %s alone: its labels are not %s's", self.object_name, self._log_name)
            container = None
        self.object_id = container["Id"] if container else ""
        return container

    async def remove_object(self) -> None:
        """Stop and remove our container.

        Docker refuses to remove a running one, which DockerSpawner takes for "already being removed".
        """
        await self.stop_object()
        await super().remove_object()

    async def pull_image(self, image: str) -> None:
        """Make sure of the image (`pull_policy`)."""
        try:
            async with asyncio.timeout(PULL_TIMEOUT_S):
                await super().pull_image(image)
        except TimeoutError:
            raise failures.slow_pull(PULL_TIMEOUT_S, self._log_name, image) from None
        except DOCKER_ERRORS as error:
            if isinstance(error, NotFound) and self.pull_policy == "never":
                raise failures.missing_image(self._log_name, image) from None
            named = self.choice is not None and self.choice.free_image
            raise failures.of_pull(error, self._log_name, image, named) from None

    async def _forget(self) -> None:
        try:
            await self.remove_object()
        except DOCKER_ERRORS as error:
            # It is left over (remove_leftovers), or makes room for the next start.
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
