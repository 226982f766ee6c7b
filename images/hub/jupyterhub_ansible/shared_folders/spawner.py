"""The part of the spawner that mounts the shared folders which a user may use at the moment of the start."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any

from docker.errors import NotFound
from traitlets import Instance, List

from ..auth.membership import may_stay
from ..rules.mounts import SHARED
from ..settings.model import SharedFolder
from ..spawner import naming
from ..spawner.errors import SpawnError
from ..spawner.mounted_volumes import docker_mount
from ..workspaces.accounts import is_account
from ..workspaces.spawner import WorkspaceSpawner
from .access import Grant, of_user

ANSWER_S = 5
"""For how long a start waits for a provider's answer about groups; without one, the last one counts."""


class SharedFolderSpawner(WorkspaceSpawner):
    """A spawner whose servers have the shared folders of their users."""

    shared_folders = List(Instance(SharedFolder), help="The declared ones").tag(config=True)

    granted: tuple[Grant, ...] = ()
    """What the server is started with."""
    project: str

    async def grant_folders(self) -> None:
        """Find out what the user may use now.

        Raises:
            SpawnError: the user may not be in any more.
        """
        if any(each.groups or each.read_groups for each in self.shared_folders) and not await self._may_stay():
            raise SpawnError(
                "You may not be in here any more. Please log in again.",
                reason="membership",
                status_code=HTTPStatus.FORBIDDEN,
            )
        self.granted = tuple(self._grants())

    async def _may_stay(self) -> bool:
        """Update the user's groups, if the authenticator can be asked at any time; without an answer keep them.

        Not by JupyterHub's refresh_pre_spawn, since a start may wait in a queue after that.
        """
        if is_account(self.user.name):
            return True
        try:
            async with asyncio.timeout(ANSWER_S):
                return await may_stay(self.authenticator, self.user)
        except Exception as error:
            self.log.warning("%s: groups cannot be asked for: %s: %s", self._log_name, type(error).__name__, error)
            return True

    def _grants(self) -> list[Grant]:
        return of_user(self.shared_folders, self.user, self.authenticator)

    @property
    def shared_volumes(self) -> dict[str, str]:
        """The volumes among them, and how users know each folder."""
        return {self._source(folder): folder.name for folder, _ in self.granted if not folder.source}

    def _source(self, folder: SharedFolder) -> str:
        return folder.source or naming.shared_name(self.project, folder.slug)

    @property
    def mount_binds(self) -> list[Any]:
        """The shared folders, besides all other mounts.

        Outside of the home, where users could put something in the way, and Docker would make folders of root's.
        """
        return [
            *super().mount_binds,
            *(
                docker_mount(self._source(folder), f"{SHARED}/{folder.slug}", read_only=not writable)
                for folder, writable in self.granted
            ),
        ]

    def require_folders(self) -> None:
        """Make sure that the user may still use what the server has just been started with.

        Raises:
            SpawnError: a folder with `at_once` was lost meanwhile.
        """
        if lost := self._lost((folder.slug, writable) for folder, writable in self.granted):
            raise SpawnError(
                f"It was stopped again, because {lost}. Please start it once more.",
                reason="folders",
                status_code=HTTPStatus.FORBIDDEN,
            )

    async def lost_folders(self) -> str:
        """Return which folders with `at_once` its user may not use any more as the running server does; "" if none."""
        if not any(each.at_once for each in self.shared_folders):
            return ""
        mounts: list[dict[str, Any]] = []
        with suppress(NotFound):
            found = await self.docker("inspect_container", self.object_id or self.object_name)
            mounts = found.get("Mounts") or []
        paths = ((PurePosixPath(each["Destination"]), bool(each["RW"])) for each in mounts)
        return self._lost((path.name, writable) for path, writable in paths if str(path.parent) == SHARED)

    def _lost(self, used: Iterable[tuple[str, bool]]) -> str:
        """Return which folders with `at_once` among these, with whether they are writable, the user has lost."""
        watched = {each.slug: each for each in self.shared_folders if each.at_once}
        allowed = {folder.slug: writable for folder, writable in self._grants()} if watched else {}
        lost = []
        for slug, writable in used:
            if not (folder := watched.get(slug)):
                continue
            if slug not in allowed:
                lost.append(f"the shared folder {folder.name} may not be used in it any more")
            elif writable and not allowed[slug]:
                lost.append(f"the shared folder {folder.name} may only be read in it now")
        return " and ".join(lost)
