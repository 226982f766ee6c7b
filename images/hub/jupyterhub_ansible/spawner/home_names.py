"""Homes that the Hub would no longer find, because `hub_volume_name_template` changed: they would look empty."""

from types import SimpleNamespace

import docker
from traitlets.config import Config

from ..engine.labels import KIND, PROJECT, SERVER, USER
from .spawner import UserServerSpawner


def lost(client: docker.APIClient, config: Config) -> dict[str, str]:
    """Return the homes of this Hub whose servers would get another volume, which does not exist: name to other name.

    Adopted volumes have no labels, so that nobody can tell whose they are; they are not found.
    """
    whose, which = SimpleNamespace(name="", url=""), SimpleNamespace(name="", server=None)
    spawner = UserServerSpawner(user=whose, orm_spawner=which, config=config)
    volumes = {each["Name"]: each["Labels"] or {} for each in client.volumes()["Volumes"] or []}
    ours = {PROJECT: spawner.project, KIND: "home"}.items()
    found = {}
    for name, labels in volumes.items():
        if not labels.items() >= ours:
            continue
        whose.name, which.name = labels.get(USER, ""), labels.get(SERVER, "")
        # Named servers that share their user's home have no other one.
        if spawner.name and spawner._home_is_shared():
            continue
        if spawner.home_volume not in volumes:
            found[name] = spawner.home_volume
    return found
