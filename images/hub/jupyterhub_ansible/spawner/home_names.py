"""Homes that the Hub would no longer find, because `hub_volume_name_template` changed: they would look empty."""

import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import docker
from docker.errors import NotFound
from traitlets.config import Config

from ..engine.labels import KIND, OF_HOMES, PROJECT, SERVER, USER, carries
from ..settings.model import DATABASE_URL
from .spawner import UserServerSpawner

DATABASE = Path(DATABASE_URL.removeprefix("sqlite:///"))


def users(client: docker.APIClient, hub: str) -> set[str]:
    """Return the names of the Hub's users, none if nobody can tell.

    Args:
        client: of the engine.
        hub: the Hub's container, from which the database is copied if this runs in another one.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, packed = DATABASE, Path(folder, "packed")
        try:
            if not file.exists():
                with packed.open("wb") as written:
                    written.writelines(client.get_archive(hub, str(DATABASE))[0])
                file = Path(folder, DATABASE.name)
                # Its content only: extract() has the safe filter only since Python 3.11.4.
                with tarfile.open(packed) as archive, file.open("wb") as copy:
                    if content := archive.extractfile(DATABASE.name):
                        shutil.copyfileobj(content, copy)
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
                return {name for (name,) in database.execute("SELECT name FROM users")}
        # The first Hub has no container, and no table yet.
        except (NotFound, sqlite3.Error):
            return set()


def lost(client: docker.APIClient, config: Config) -> dict[str, str]:
    """Return the homes of this Hub whose servers would get another volume, which does not exist: name to other name.

    Homes of people whom the Hub no longer has are left out: they have no servers.  Adopted volumes have no labels, so
    that nobody can tell whose they are; they are not found.
    """

    def server(labels: Mapping[str, str]) -> UserServerSpawner:
        # One for each, as a spawner keeps its user's name.
        whose = SimpleNamespace(name=labels.get(USER, ""), url="")
        which = SimpleNamespace(name=labels.get(SERVER, ""), server=None)
        return UserServerSpawner(user=whose, orm_spawner=which, config=config)

    project = server({}).project
    volumes = {each["Name"]: each["Labels"] or {} for each in client.volumes()["Volumes"] or []}
    ours = {name: labels for name, labels in volumes.items() if carries(labels, {PROJECT: project, KIND: OF_HOMES})}
    found = {}
    for name, labels in ours.items():
        spawner = server(labels)
        # Named servers that share their user's home have no other one.
        if spawner.name and spawner._home_is_shared():
            continue
        if spawner.home_volume not in volumes:
            found[name] = spawner.home_volume
    known = users(client, f"{project}-hub") if found else set()
    # A Hub that knows nobody has lost its database, and people will come back to it.
    if known.isdisjoint(each.get(USER) for each in ours.values()):
        return found
    return {name: other for name, other in found.items() if ours[name].get(USER) in known}
