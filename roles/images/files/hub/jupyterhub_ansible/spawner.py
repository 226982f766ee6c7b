"""The spawner of users' servers: DockerSpawner with our names, labels, limits and catalogue."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import aiohttp
from docker.errors import APIError, NotFound
from traitlets import Bool, Int, Unicode

from . import naming
from .choosing import ChoosingSpawner
from .failures import ServerError
from .labels import PROJECT, USER, carries, labels

_HARDENING = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "init": True}


def _literal(text: str) -> str:
    """`text` as it survives DockerSpawner._render_templates: a user's name may hold braces."""
    return text.replace("{", "{{").replace("}", "}}")


class UserServerSpawner(ChoosingSpawner):
    """Starts a user's server in a container of its own, from an image of the catalogue.

    It touches only containers and volumes that carry the labels of this project and this user.
    """

    # DockerSpawner has one thread: a server that is slow to stop holds up every other user's start.
    _executor = ThreadPoolExecutor(8, thread_name_prefix="docker")

    project = Unicode(help="Prefix of all names, and value of the project label").tag(config=True)
    pids_limit = Int(1024, help="Processes and threads of a server at most").tag(config=True)
    share_home = Bool(False, help="All servers of a user have one home").tag(config=True)
    volume_name_template = Unicode(
        None,
        allow_none=True,
        help="Template of the homes' names, expanded and escaped as DockerSpawner does, to adopt its volumes",
    ).tag(config=True)

    # Not on the users' network when it was last looked at.
    _missing = False
    extra_create_kwargs: dict[str, Any]
    extra_host_config: dict[str, Any]

    # --- names and labels

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.user:
            # JupyterHub's own joins user and server by one hyphen (User._new_spawner): `a-b` + `c`, `a` + `b-c`
            # and the default server of `a-b-c` would overwrite each other's OAuth client.
            self.oauth_client_id = naming.server_name("jupyterhub", self.user.name, self.name)

    def _object_name_default(self) -> str:
        return naming.server_name(self.project, self.user.name, self.name)

    @property
    def home_volume(self) -> str:
        """Name of the volume that is this server's home."""
        if self.volume_name_template:
            return str(self.format_volume_name(self.volume_name_template, self))
        return naming.home_name(self.project, self.user.name, self.name, shared=self.share_home)

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The home, and what the administrator mounts besides."""
        return {**super().volume_binds, self.home_volume: {"bind": self.notebook_dir, "mode": "rw"}}

    def _labels(self, kind: str, server: str) -> dict[str, str]:
        return labels(self.project, kind, self.user.name, server)

    # --- the container

    async def get_object(self) -> Any:
        """Our container as Docker describes it; None if there is none, or if it is a stranger's."""
        container = await super().get_object()
        if container and not carries(container["Config"]["Labels"], self._labels("user-server", self.name)):
            self.log.warning("Leaving container %s alone: its labels are not %s's", self.object_name, self._log_name)
            self.object_id = ""
            return None
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
            await super().pull_image(image)
        except NotFound:
            raise ServerError(
                "This environment is not installed on the machine. Please tell the administrator.",
                reason="image",
                log_message=f"{self._log_name}: image {image} is missing; deploy again",
            ) from None

    async def create_object(self) -> Any:
        """Create the container, with its labels and limits; what the administrator sets comes on top."""
        await self._ensure_home()
        ours = self._labels("user-server", self.name)
        self.extra_create_kwargs = {
            **self.extra_create_kwargs,
            "labels": {
                **self.extra_create_kwargs.get("labels", {}),
                **{key: _literal(value) for key, value in ours.items()},
            },
        }
        self.extra_host_config = {
            **_HARDENING,
            "pids_limit": self.pids_limit,
            # Equal to the memory limit: no swap.
            "memswap_limit": self.mem_limit,
            # Docker would throw a dead server's log away with it; poll() removes it after reading the log.
            "auto_remove": False,
            **self.extra_host_config,
        }
        try:
            return await super().create_object()
        except APIError as error:
            if error.status_code != 409:
                raise
            raise ServerError(
                "Another container of this machine has the name of your server. Please tell the administrator.",
                reason="name-taken",
                log_message=f"{self._log_name}: container {self.object_name} exists and carries no"
                f" labels of this user and project; left alone",
            ) from None

    async def _ensure_home(self) -> None:
        # Docker leaves the volume that is there alone, if the name is taken.
        name = self.home_volume
        wanted = self._labels("home", "" if self.share_home else self.name)
        await self.docker("create_volume", name, labels=wanted)
        # Its answer to that would lack the labels after a restart of the engine (seen: 26.1).
        volume = await self.docker("inspect_volume", name)
        found = volume["Labels"] or {}
        # Volumes of another scheme have no labels, and Docker cannot add any.
        adopted = self.volume_name_template and PROJECT not in found
        same_user = {key: wanted[key] for key in (PROJECT, USER)}
        if not adopted and not carries(found, same_user):
            raise ServerError(
                "Another volume of this machine has the name of your home. Please tell the administrator.",
                reason="home-taken",
                log_message=f"{self._log_name}: volume {name} exists and carries no labels of this user and"
                " project; left alone",
            )

    # --- start and stop

    async def start(self) -> tuple[str, int]:
        """Start the server, and wait until it answers.

        Raises:
            ServerError: it cannot start, ended while starting, or did not answer within `http_timeout` seconds.
        """
        try:
            ip, port = await super().start()
        except APIError as error:
            raise ServerError(
                "Docker could not start your server. Please tell the administrator.",
                reason="docker",
                log_message=f"{self._log_name}: {error.explanation or error}",
            ) from None
        await self._wait_until_ready(f"http://{ip}:{port}{self.server.base_url}api")
        return ip, port

    async def _wait_until_ready(self, url: str) -> None:
        # The Hub waits too, but backs off to 5 s between its attempts (jupyterhub.utils.exponential_backoff).
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.http_timeout
        look_again = loop.time() + 0.5
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while loop.time() < deadline:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url, allow_redirects=False) as response:
                        if response.status < 500:
                            return
                if loop.time() > look_again:
                    look_again = loop.time() + 0.5
                    if (status := await self.poll()) is not None:
                        raise ServerError(
                            "Your server ended while it was starting. Please tell the administrator.",
                            reason="ended",
                            log_message=f"{self._log_name} ended while starting: {status}",
                        )
                await asyncio.sleep(0.05)
        await self._log_last_lines("did not answer in time")
        raise ServerError(
            f"Your server did not answer within {self.http_timeout} seconds. Please try again.",
            reason="no-answer",
            log_message=f"{self._log_name} did not answer at {url} within {self.http_timeout} s",
        )

    async def poll(self) -> Any:
        """None while the server runs, else its exit status; a server that ended is logged and removed."""
        status = await super().poll()
        if status is None:
            # One that is still starting has no address yet.
            if self.server and self.server.ip:
                await self._find_again()
        elif self.object_id:
            await self._log_last_lines(f"ended: {status}")
            if self.remove:
                await self.remove_object()
                self.object_id = ""
        return status

    async def _find_again(self) -> None:
        """Follow a server whose address changed, back on the users' network if somebody took it off.

        A network that was removed by hand and made anew by a deployment is empty: the servers run on unreachably,
        and a Hub that starts (`pending` is "check") would take them for dead (jupyterhub.app.JupyterHub.init_spawners).
        The Hub gives the proxy the new address when it next compares routes (`last_activity_interval`).
        """
        try:
            networks = await self._networks()
            missing, self._missing = self._missing, self.network_name not in networks
            if self._missing:
                # A deployment that makes the network anew puts servers back itself, and must not be forestalled.
                if not missing and self.pending != "check":
                    return
                self.log.warning("%s is not on the network %s: putting it back", self._log_name, self.network_name)
                await self.docker("connect_container_to_network", self.object_id, self.network_name)
                networks = await self._networks()
        except APIError as error:
            self.log.warning("%s cannot be put back: %s", self._log_name, error.explanation or error)
            return
        address = networks[self.network_name]["IPAddress"]
        if address and address != self.server.ip:
            self.log.warning("%s moved from %s to %s", self._log_name, self.server.ip, address)
            self.server.ip = address
            self.db.commit()

    async def _networks(self) -> dict[str, Any]:
        container = await self.docker("inspect_container", self.object_id)
        networks: dict[str, Any] = container["NetworkSettings"]["Networks"]
        return networks

    async def _log_last_lines(self, what: str) -> None:
        lines = await self.docker("logs", self.object_id, tail=20)
        text = lines.decode(errors="replace").strip() or "(it wrote nothing)"
        self.log.warning("%s %s. Its last lines:\n%s", self._log_name, what, text)
