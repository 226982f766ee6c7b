"""Rename a user, with the homes: for somebody whose GitHub login changed, and who wants the new name here, too.

    docker exec jupyterhub-hub python -m jupyterhub_ansible rename <user> <new name>
    docker restart jupyterhub-hub

It is optional, since accounts are identified by their number. Homes are copied, because Docker cannot rename volumes;
the old ones stay until somebody removes them.
"""

import argparse
import os
import sys

import docker
from docker import DockerClient
from jupyterhub import orm
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from ..audit import context, events, outbox
from ..engine.labels import KIND, OF_HOMES, OF_MOUNTS, PROJECT, SERVER, USER, labels
from ..settings.model import DATABASE_URL, Settings, SettingsError, load
from ..spawner import naming
from ..spawner.mounted_volumes import of_user
from .identity import Identities, Identity


class RenameError(Exception):
    """The user cannot be renamed; nothing was changed."""


def _homes(docker_client: DockerClient, project: str, user: str) -> dict[str, str]:
    """Return the names of a user's homes, each with its server."""
    found = docker_client.volumes.list(filters={"label": [f"{PROJECT}={project}", f"{USER}={user}"]})
    by_name = {volume.name: volume.attrs["Labels"] for volume in found}
    return {name: each.get(SERVER, "") for name, each in by_name.items() if each.get(KIND) != OF_MOUNTS}


def _check(db: Session, docker_client: DockerClient, settings: Settings, user: str, name: str) -> orm.User:
    if settings.hub_volume_name_template:
        raise RenameError(
            "The volumes are named by hub_volume_name_template: rename the user in the admin panel, by hand"
        )
    found = db.scalar(select(orm.User).where(orm.User.name == user))
    if found is None:
        raise RenameError(f"There is no user {user}")
    if any(spawner.server_id for spawner in found.orm_spawners.values()):
        raise RenameError(f"A server of {user} is running: stop it first")
    taken = db.scalar(select(orm.User).where(orm.User.name == name))
    if taken or db.scalar(select(Identity).where(Identity.username == name)):
        raise RenameError(f"There is a user {name} already")
    identities = Identities(db)
    own = identities.by_username(user)
    if others := identities.other_holders(own.github_id if own else 0, name):
        raise RenameError(f"{name} is or was the name of another account here, number {others[0]}: see identity list")
    if homes := _homes(docker_client, settings.jupyterhub_name, name):
        raise RenameError(f"There is a home of {name} already: the volume {min(homes)}")
    if volumes := of_user(docker_client, settings.jupyterhub_name, name):
        raise RenameError(f"There is a volume of {name} already, for a mount: {volumes[0]}")
    return found


def _copy(docker_client: DockerClient, settings: Settings, image: str, user: str, name: str) -> list[str]:
    """Copy the homes, and return the names of the old volumes."""
    homes = _homes(docker_client, settings.jupyterhub_name, user)
    for old, server in homes.items():
        new = naming.home_name(settings.jupyterhub_name, name, server)
        docker_client.volumes.create(new, labels=labels(settings.jupyterhub_name, OF_HOMES, name, server))
        docker_client.containers.run(
            image,
            ["cp", "--archive", "/from/.", "/to/"],
            user="0",
            network_mode="none",
            volumes={old: {"bind": "/from", "mode": "ro"}, new: {"bind": "/to", "mode": "rw"}},
            remove=True,
        )
    return sorted(homes)


def rename(db: Session, docker_client: DockerClient, settings: Settings, image: str, user: str, name: str) -> list[str]:
    """Rename a user.

    Args:
        db: a session of the Hub's database.
        docker_client: of the engine.
        settings: the Hub's.
        image: one with `cp` in it.
        user: the current name.
        name: the new name.

    Returns:
        The names of the old volumes, which stay.

    Raises:
        RenameError: the user cannot be renamed; nothing was changed.
    """
    # First, because it creates the table if nobody has logged in yet.
    identities = Identities(db)
    found = _check(db, docker_client, settings, user, name)
    old = _copy(docker_client, settings, image, user, name)
    found.name = name
    if identity := identities.by_username(user):
        # The old name stays reserved, because of the old home.
        identities.add_name(identity.github_id, user)
        identities.add_name(identity.github_id, name)
        identity.username = name
    db.commit()
    return old


def main() -> str | None:
    """Rename a user; return a message if that fails (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible rename", description=__doc__)
    parser.add_argument("user", help="the current name")
    parser.add_argument("name", help="the new name")
    arguments = parser.parse_args()
    try:
        settings = load().settings
        client = docker.DockerClient()
        # A container's host name is its id, unless somebody set another one.
        image = client.containers.get(os.uname().nodename).image.id
        old = rename(
            Session(create_engine(DATABASE_URL)), client, settings, image, arguments.user, arguments.name.lower()
        )
    except (SettingsError, RenameError) as error:
        return str(error)
    try:
        renamed = events.event("user renamed", actor=context.HOST, target=arguments.user, to=arguments.name.lower())
        outbox.deliver_once(renamed, context.HOST)
    except OSError as error:
        print(f"The audit trail does not have this: its recorder does not answer ({error}).", file=sys.stderr)
    print(f"{arguments.user} is now {arguments.name.lower()}. Restart the Hub, which still has the old name in memory:")
    print(f"  docker restart {settings.jupyterhub_name}-hub")
    for volume in old:
        print(f"The old home stays; when it is no longer needed: docker volume rm {volume}")
    for volume in of_user(client, settings.jupyterhub_name, arguments.user):
        print(f"The volume {volume}, for a mount with {{username}}, is not copied. If its files are needed:")
        print("start and stop a server of the renamed user, which creates the new volume; then, with its name,")
        print(f"  docker run --rm -v {volume}:/old:ro -v <new volume>:/new debian:trixie-slim cp -a /old/. /new/")
    return None
