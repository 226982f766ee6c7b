"""The part of the spawner that manages homes: a server's volume, and what happens to it on deletion."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from typing import ClassVar

from docker import APIClient, DockerClient
from traitlets import Bool, Enum, Unicode

from ..engine import calls
from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import OF_HOMES, PROJECT, USER, carries
from ..rules.mounts import SERVER_UID
from . import home_archives, mounted_volumes, naming
from .containers import ContainerSpawner
from .errors import SpawnError


class _WholeClient(DockerClient):
    def __init__(self, api: APIClient) -> None:
        self.api = api


class HomeSpawner(ContainerSpawner):
    """A spawner with persistent homes; it touches only volumes of this project and this user."""

    share_home = Bool(False, help="All servers of a user have one home").tag(config=True)
    volume_name_template = Unicode(
        None,
        allow_none=True,
        help="Template of the homes' names, expanded and escaped as DockerSpawner does, to adopt its volumes",
    ).tag(config=True)
    deleted_homes = Enum(
        ["keep", "archive", "remove"], "keep", help="What happens to the home of a deleted user or server"
    ).tag(config=True)

    # Shared by all spawners: homes that are being archived or removed.
    _disposing: ClassVar[set[str]] = set()
    # The same: volumes that were looked at, with their age (an operator may have reset one), and the uid that is to
    # write there.
    _looked_at: ClassVar[set[tuple[str, str, int]]] = set()
    # The same: whoever starts second waits until the volume is writable.
    _locks: ClassVar[dict[str, asyncio.Lock]] = {}

    @property
    def whole_client(self) -> DockerClient:
        """The connection to the engine that all spawners share, with the calls that docker.APIClient lacks."""
        return _WholeClient(self.client)

    @property
    def home_volume(self) -> str:
        """Name of the volume that is this server's home."""
        if self.volume_name_template:
            return str(self.format_volume_name(self.volume_name_template, self))
        return naming.home_name(self.project, self.user.name, self.name, shared=self.share_home)

    @property
    def is_being_deleted(self) -> bool:
        """Whether its home is being archived or removed, which takes minutes."""
        return self.home_volume in self._disposing

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The home, besides the administrator's mounts."""
        return {**super().volume_binds, self.home_volume: {"bind": self.notebook_dir, "mode": "rw"}}

    async def _ensure_home(self) -> None:
        # Does nothing if the volume exists.
        name = self.home_volume
        wanted = self._labels(OF_HOMES, "" if self.share_home else self.name)
        await self.docker("create_volume", name, labels=wanted)
        # Not the answer to create_volume, which lacks the labels after a restart of the engine (seen: 26.1).
        volume = await self.docker("inspect_volume", name)
        found = volume["Labels"] or {}
        # Adopted volumes have no labels, and Docker cannot add any.
        adopted = self.volume_name_template and PROJECT not in found
        same_user = {key: wanted[key] for key in (PROJECT, USER)}
        if not adopted and not carries(found, same_user):
            raise SpawnError(
                "Another volume of this machine has the name of your home. Please tell the administrator.",
                reason="home-taken",
                log_message=f"{self._log_name}: volume {name} exists and carries no labels of this user and"
                " project; left alone",
            )

    async def _ensure_mounted_volumes(self, uid: int) -> None:
        """Create the volumes that mounts name, and make those that are ours writable for this uid.

        On failure the server starts all the same, and the log says why it may not be able to write.
        """
        # Before any thread, in which the database must not be used.
        user, own, shared = self.user.name, self.own_volumes, self.shared_volumes
        for name, writable in self._mounted_volumes().items():
            # Whoever waits for a volume holds no thread, which others may need for theirs.
            async with self._locks.setdefault(name, asyncio.Lock()):
                call = calls.VOLUMES.submit(
                    self._prepare_volume, name, uid, writable, user, name in own, shared.get(name, "")
                )
                try:
                    problem = await asyncio.wrap_future(call)
                except mounted_volumes.TakenError:
                    raise self._taken(name, shared.get(name, "")) from None
            if problem:
                self.log.warning("%s: %s", self._log_name, problem)

    def _prepare_volume(self, name: str, uid: int, writable: bool, user: str, own: bool, folder: str) -> str:
        """Do so in a thread; return what failed.

        Raises:
            TakenError: it is somebody else's.
        """
        if folder:
            # Of all who share it, whichever image they start first.
            uid = SERVER_UID
        try:
            client = self.whole_client
            ours, created = mounted_volumes.ensure(client, self.project, name, user, own=own, shared=bool(folder))
            if not writable or (name, created, uid) in self._looked_at:
                return ""
            problem = mounted_volumes.make_writable(client, self.project, name, uid, ours=ours)
            # Not before: the next start tries again after a failure.
            self._looked_at.add((name, created, uid))
            return problem
        except (home_archives.HomesError, *DOCKER_ERRORS) as error:
            return f"the volume {name} could not be prepared: {error}"

    def _taken(self, name: str, folder: str) -> SpawnError:
        if folder:
            return SpawnError(
                f"Another volume of this machine has the name of the shared folder {folder}."
                " Please tell the administrator.",
                reason="folder-taken",
                log_message=f"{self._log_name}: volume {name} exists and does not carry the labels of a shared"
                " folder of this Hub; left alone",
            )
        return SpawnError(
            "A volume of another user has the name of one of yours. Please tell the administrator.",
            reason="volume-taken",
            log_message=f"{self._log_name}: volume {name} carries another user's label; left alone",
        )

    def _mounted_volumes(self) -> dict[str, bool]:
        """Return the volumes besides the home, and whether the server may write there."""
        binds = {name: "ro" not in bind["mode"].split(",") for name, bind in super().volume_binds.items()}
        mounts = {
            mount["Source"]: not mount["ReadOnly"]
            for mount in self.mount_binds
            # With NFS, Docker creates the volume, and the other side decides who may write.
            if mount["Type"] == "volume" and mount["Source"] and "DriverConfig" not in mount.get("VolumeOptions", {})
        }
        return {name: writable for name, writable in {**binds, **mounts}.items() if not name.startswith("/")}

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refuse to rename a server whose home goes by its name; its display name can be changed."""
        if not self._home_is_shared():
            raise SpawnError(
                "A server's name cannot be changed, since its files go by it. Change its display name instead.",
                reason="rename",
                status_code=400,
            )

    def _home_is_shared(self) -> bool:
        return naming.is_home_shared(self.volume_name_template, shared=self.share_home)

    async def delete_forever(self) -> None:
        """Dispose of the home of a server or user that is being deleted (`deleted_homes`).

        The Hub deletes the server or user in any case: on failure the home stays, and the log says why.
        """
        volume = self.home_volume
        if self.name and self._home_is_shared():
            return  # the user's other servers have it, too
        if not self.name and (running := [each.name for each in self.user.spawners.values() if each.active]):
            # The Hub stops only the default server, and does not delete a user with another one running.
            self.log.error("%s stays, with its home: the server %s of its user runs", self._log_name, running[0])
            return
        self._disposing.add(volume)
        try:
            if await self.get_object():
                await self.remove_object()
            # Names before the thread, in which the database must not be used.
            call = calls.ARCHIVES.submit(self._dispose, volume, self.user.name, self.name)
            done = await asyncio.wrap_future(call)
        except (home_archives.HomesError, *DOCKER_ERRORS) as error:
            self.log.error("%s is deleted, but its home stays, the volume %s: %s", self._log_name, volume, error)
        else:
            self.log.warning("%s is deleted; %s", self._log_name, done)
        finally:
            self._disposing.discard(volume)

    def _dispose(self, home: str, user: str, server: str) -> str:
        """Dispose of a home, and with a user of the volumes that mounts gave them alone; return what was done."""
        client, volumes = self.whole_client, [home]
        if not server and self.deleted_homes != "keep":
            # Otherwise whoever gets the name next would find the files.  The home is the last: on failure it stays.
            volumes = [*mounted_volumes.of_user(client, self.project, user), home]
        return "; ".join(
            home_archives.dispose(client, self.project, user, each, self.deleted_homes) for each in volumes
        )
