"""Give a user another name, with the homes: for somebody whose GitHub login changed, and who wants to see the new one.

    docker exec jupyterhub-hub python -m jupyterhub_ansible rename <user> <new name>
    docker restart jupyterhub-hub

Nobody needs this to go on working: an account is known by its number. Homes are copied, since Docker cannot rename a
volume; the old ones stay until somebody removes them.
"""

import argparse
import os

import docker
from docker import DockerClient
from jupyterhub import orm
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from ..engine.labels import PROJECT, SERVER, USER, labels
from ..settings.model import DATABASE_URL, Settings, SettingsError, load
from ..spawner import naming
from .identity import Identities, Identity


class RenameError(Exception):
    """It cannot be done; nothing was changed."""


def _homes(docker_client: DockerClient, project: str, user: str) -> dict[str, str]:
    """Names of a user's volumes, and the server that each is the home of."""
    found = docker_client.volumes.list(filters={"label": [f"{PROJECT}={project}", f"{USER}={user}"]})
    return {volume.name: volume.attrs["Labels"].get(SERVER, "") for volume in found}


def _check(db: Session, docker_client: DockerClient, settings: Settings, user: str, name: str) -> orm.User:
    if settings.hub_volume_name_template:
        raise RenameError(
            "The volumes are named by hub_volume_name_template: rename the user in the admin panel, by hand"
        )
    found = db.scalar(select(orm.User).where(orm.User.name == user))
    if found is None:
        raise RenameError(f"There is no user {user}")
    if any(spawner.server_id for spawner in found.orm_spawners.values()):
        raise RenameError(f"A server of {user} runs: stop it first")
    taken = db.scalar(select(orm.User).where(orm.User.name == name))
    if taken or db.scalar(select(Identity).where(Identity.username == name)):
        raise RenameError(f"There is a user {name} already")
    identities = Identities(db)
    own = identities.named(user)
    if others := identities.others(own.github_id if own else 0, name):
        raise RenameError(f"{name} was the login of another account here, number {others[0]}: see identity list")
    if homes := _homes(docker_client, settings.jupyterhub_name, name):
        raise RenameError(f"There is a home of {name} already: the volume {min(homes)}")
    return found


def _copy(docker_client: DockerClient, settings: Settings, image: str, user: str, name: str) -> list[str]:
    """Copy the homes, and return the names of the old volumes."""
    homes = _homes(docker_client, settings.jupyterhub_name, user)
    for old, server in homes.items():
        new = naming.home_name(settings.jupyterhub_name, name, server)
        docker_client.volumes.create(new, labels=labels(settings.jupyterhub_name, "home", name, server))
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
        docker_client: the engine.
        settings: the Hub's.
        image: one with `cp` in it.
        user: the name of now.
        name: the name that it shall be.

    Returns:
        The names of the old volumes, which stay.

    Raises:
        RenameError: it cannot be done; nothing was changed.
    """
    # First: makes the table, where nobody has logged in yet.
    identities = Identities(db)
    found = _check(db, docker_client, settings, user, name)
    old = _copy(docker_client, settings, image, user, name)
    found.name = name
    if identity := identities.named(user):
        # The old name stays theirs: it has their old home.
        identities.had(identity.github_id, user)
        identities.had(identity.github_id, name)
        identity.username = name
    db.commit()
    return old


def main() -> str | None:
    """Rename a user; a message if that is not possible (`sys.exit` prints it)."""
    parser = argparse.ArgumentParser(prog="python -m jupyterhub_ansible rename", description=__doc__)
    parser.add_argument("user", help="the name of now")
    parser.add_argument("name", help="the new name")
    arguments = parser.parse_args()
    try:
        settings = load().settings
        client = docker.from_env()
        # A container's host name is its id, unless somebody set another one.
        image = client.containers.get(os.uname().nodename).image.id
        old = rename(
            Session(create_engine(DATABASE_URL)), client, settings, image, arguments.user, arguments.name.lower()
        )
    except (SettingsError, RenameError) as error:
        return str(error)
    print(f"{arguments.user} is now {arguments.name.lower()}. Restart the Hub, which has the old name in its memory:")
    print(f"  docker restart {settings.jupyterhub_name}-hub")
    for volume in old:
        print(f"The old home stays; when it is not needed any more: docker volume rm {volume}")
    return None
