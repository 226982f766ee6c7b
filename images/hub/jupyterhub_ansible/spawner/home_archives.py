"""Homes of deleted users and servers: kept, archived, or removed, as `hub_deleted_homes` says.

    docker exec jupyterhub-hub python -m jupyterhub_ansible homes list
    docker exec jupyterhub-hub python -m jupyterhub_ansible homes restore <archive> <user> [<server>]

Archives are files in one volume, written by a container of the Hub's own image, whose root can read all files and
nothing else (no network, no other capability).  The home is removed after its archive is complete.
"""

import argparse
import os
import re
from datetime import UTC, datetime
from typing import Any

import docker
from docker import DockerClient
from docker.errors import APIError, ContainerError, NotFound

from ..engine.labels import KIND, OF_HOMES, OF_MOUNTS, PROJECT, USER, carries, labels, not_inherited
from ..settings.model import SettingsError, load
from . import naming

_ARCHIVE_NAME = re.compile(r"[A-Za-z0-9_.-]+-\d{8}T\d{6}Z\.tar\.gz")
# Renamed to its final name only when it is complete and on disk.
_ARCHIVE = (
    'tar --create --gzip --numeric-owner --xattrs --file "$1.partial" --directory /home .'
    ' && sync && mv "$1.partial" "$1" || { rm -f "$1.partial"; exit 1; }'
)
_RESTORE = 'tar --extract --gzip --numeric-owner --xattrs --preserve-permissions --file "$1" --directory /home'


class HomesError(Exception):
    """The operation failed; the home is unchanged."""


def archives_name(project: str) -> str:
    """Name of the volume that holds a Hub's archives."""
    return f"{project}-deleted-homes"


def archive_file(volume: str, now: datetime) -> str:
    """Name of a home's archive."""
    return f"{volume}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz"


def _archives(client: DockerClient, project: str) -> str:
    name = archives_name(project)
    wanted = {PROJECT: project, KIND: "deleted-homes"}
    client.volumes.create(name, labels=wanted)
    if not carries(client.volumes.get(name).attrs["Labels"], wanted):
        raise HomesError(f"volume {name} exists and does not carry our labels")
    return name


def run_as_root(
    client: DockerClient, project: str, script: str, argument: str, volumes: dict[str, str], *caps: str
) -> str:
    """Run a shell script in a container of the Hub's own image; `volumes` are `{name: path or path:ro}`."""
    try:
        # A container's host name is its id, unless somebody set another one.
        image = client.containers.get(os.uname().nodename).image
    except NotFound:
        raise HomesError("the Hub does not run in a container, so there is no image to run this in") from None
    try:
        output: bytes | None = client.containers.run(
            image.id,
            ["-c", script, "sh", argument],
            entrypoint="sh",
            user="0",
            working_dir="/",
            network_mode="none",
            cap_drop=["ALL"],
            cap_add=list(caps),
            security_opt=["no-new-privileges"],
            # So that it does not compete with users' servers.
            mem_limit="256m",
            memswap_limit="256m",
            cpu_shares=128,
            volumes=[f"{name}:{path}" for name, path in volumes.items()],
            labels={**not_inherited(image.attrs), PROJECT: project, KIND: "homes"},
            healthcheck={"test": ["NONE"]},
            # The client can read the logs of this driver and of journald only.
            log_config={"type": "json-file"},
            stderr=True,
            remove=True,
        )
    except ContainerError as error:
        raise HomesError((error.stderr or b"").decode(errors="replace").strip() or str(error)) from None
    return (output or b"").decode(errors="replace")


def _refuse_used(client: DockerClient, volume: str) -> None:
    if users := client.containers.list(all=True, filters={"volume": volume}):
        raise HomesError(f"volume {volume} is used by the container {users[0].name}")


def _own(client: DockerClient, project: str, user: str, volume: str) -> Any:
    found = client.volumes.get(volume)
    labels = found.attrs["Labels"] or {}
    if labels.get(KIND) not in (OF_HOMES, OF_MOUNTS) or not carries(labels, {PROJECT: project, USER: user}):
        raise HomesError(f"volume {volume} carries no labels of this user and project; left alone")
    return found


def dispose(client: DockerClient, project: str, user: str, volume: str, what: str) -> str:
    """Keep, archive or remove the home of a deleted user or server, or a volume of their own that a mount names.

    Args:
        client: of the engine.
        project: `jupyterhub_name`.
        user: whose home it is.
        volume: the home, or the other volume.
        what: `keep`, `archive` or `remove`.

    Returns:
        What was done, for the log.

    Raises:
        HomesError: it failed; the home is unchanged.
        APIError: Docker refused something; the home is unchanged.
    """
    if what == "keep":
        return f"its home stays: the volume {volume}"
    try:
        home = _own(client, project, user, volume)
    except NotFound:
        return "it had no home"
    _refuse_used(client, volume)
    noun = "home" if home.attrs["Labels"][KIND] == OF_HOMES else "own mount"
    done = f"its {noun} was removed: the volume {volume}"
    if what == "archive":
        archives, file = _archives(client, project), archive_file(volume, datetime.now(UTC))
        run_as_root(
            client,
            project,
            _ARCHIVE,
            f"/archives/{file}",
            {volume: "/home:ro", archives: "/archives"},
            "DAC_READ_SEARCH",
        )
        done = f"its {noun} was archived: {file} in the volume {archives}"
    home.remove()
    return done


def archives(client: DockerClient, project: str) -> list[str]:
    """Return the names of the archives, the oldest first."""
    try:
        volume = client.volumes.get(archives_name(project))
    except NotFound:
        return []
    listed = run_as_root(client, project, 'ls -1rt "$1"', "/archives", {volume.name: "/archives:ro"})
    return [name for name in listed.split() if _ARCHIVE_NAME.fullmatch(name)]


def restore(client: DockerClient, project: str, archive: str, user: str, server: str, shared: bool) -> str:
    """Restore an archive to a new home, of the same user or another one; the archive stays.

    Returns:
        The name of the volume.

    Raises:
        HomesError: the archive does not exist, or the home does; nothing was changed.
    """
    if archive not in archives(client, project):
        raise HomesError(f"There is no archive {archive}")
    name = naming.home_name(project, user, server, shared=shared)
    try:
        client.volumes.get(name)
    except NotFound:
        pass
    else:
        raise HomesError(f"There is a home already: the volume {name}")
    volume = client.volumes.create(name, labels=labels(project, OF_HOMES, user, "" if shared else server))
    try:
        capabilities = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID")
        mounts = {archives_name(project): "/archives:ro", name: "/home"}
        run_as_root(client, project, _RESTORE, f"/archives/{archive}", mounts, *capabilities)
    except Exception:
        # A partial home would look complete.
        volume.remove()
        raise
    return name


def main() -> str | None:
    """List archives, or restore one; return a message if that fails (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible homes", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="archives of deleted users' homes")
    restoring = commands.add_parser("restore", help="restore an archive to a new home")
    restoring.add_argument("archive")
    restoring.add_argument("user", help="the owner of the new home")
    restoring.add_argument("server", nargs="?", default="", help="the named server; without it, the default one")
    arguments = parser.parse_args()
    try:
        settings = load().settings
        client = docker.DockerClient()
        if arguments.command == "list":
            print("\n".join(archives(client, settings.jupyterhub_name)) or "There are no archives.")
            return None
        if settings.hub_volume_name_template:
            return "The volumes are named by hub_volume_name_template: extract the archive by hand"
        shared = settings.hub_named_servers_share_home
        user = arguments.user.lower()
        print(
            f"Restored: {restore(client, settings.jupyterhub_name, arguments.archive, user, arguments.server, shared)}"
        )
    except (SettingsError, HomesError) as error:
        return str(error)
    except APIError as error:
        return f"Docker: {error.explanation or error}"
    return None
