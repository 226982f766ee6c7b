"""Remove what the Hub of a Compose application made beside it; Compose removes the rest.

    docker compose down
    docker compose run --rm hub python -m jupyterhub_ansible uninstall
    docker compose down --rmi local

These are users' servers, both networks, the fence, and the images' names for environments; with `--delete-data`, also
the volumes of homes, shared folders and archives.  Everything is found by its labels.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import docker

from ..engine.errors import DOCKER_ERRORS
from ..engine.labels import KIND, PROJECT, USER
from . import fence, images
from .errors import ComposeError
from .networks import NAME_VARIABLE, OWN_KINDS
from .reconciler import own_id

TIMEOUT_S = 120
NAMED = 8
"""Of a long list, so many are named."""


@dataclass(frozen=True)
class Left:
    """What there is of one Hub, by name."""

    hubs: list[str]
    """Hub and proxy that run."""
    servers: list[str]
    """Users whose servers run."""
    containers: list[str]
    networks: list[str]
    volumes: list[str]
    images: list[str]


def look(client: docker.APIClient, project: str, me: str) -> Left:
    """Return what there is of a Hub.

    Args:
        client: of the engine.
        project: the Hub's name.
        me: id of this container, which Compose made like the Hub's.
    """
    labelled = {"label": [f"{PROJECT}={project}"]}
    ours = client.containers(all=True, filters=labelled)
    own = [each for kind in OWN_KINDS for each in client.containers(filters={"label": [f"{KIND}={kind}"]})]
    return Left(
        hubs=sorted(_name(each) for each in own if each["Id"] != me and _is_of(client, each["Id"], project)),
        servers=sorted(
            each["Labels"].get(USER, _name(each))
            for each in ours
            if each["Labels"].get(KIND) == "user-server" and each.get("State") == "running"
        ),
        # The helper is the last one, as it has the fence.
        containers=sorted(_name(each) for each in ours if each["Labels"].get(KIND) != "fence"),
        networks=sorted(each["Name"] for each in client.networks(filters=labelled)),
        volumes=sorted(each["Name"] for each in client.volumes(filters=labelled)["Volumes"] or []),
        images=sorted(
            name
            for each in client.images(filters=labelled)
            for name in each["RepoTags"] or []
            if images.slug_of(project, name) is not None
        ),
    )


def _name(container: Mapping[str, Any]) -> str:
    return str(container["Names"][0]).lstrip("/")


def _is_of(client: docker.APIClient, container: str, project: str) -> bool:
    return f"{NAME_VARIABLE}={project}" in (client.inspect_container(container)["Config"]["Env"] or [])


def problems(left: Left, project: str, *, typed: str, stop_servers: bool) -> Iterator[str]:
    """Yield the reasons not to remove anything."""
    if typed and typed != project:
        yield (
            f"--delete-data {typed}: this Hub is called {project}. Fix: to delete the files of all of its users for"
            f" good, type --delete-data {project}; to keep them, leave it out."
        )
    if left.hubs:
        yield f"It runs: {', '.join(left.hubs)}. Fix: stop it first, by docker compose down; on Coolify, by Stop."
    if left.servers and not stop_servers:
        yield (
            f"Servers are running ({len(left.servers)}), of {few(left.servers)}: what is not saved there would be lost."
            " Fix: wait until they have stopped, or add --stop-servers."
        )


def few(names: list[str]) -> str:
    """Return names in one line; of many, the first ones."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def lines(left: Left, project: str, *, delete_data: bool) -> Iterator[str]:
    """Yield what is removed, and what stays."""
    gone = {"containers": left.containers, "networks": left.networks, "images' names": left.images}
    if delete_data:
        gone["volumes, for good"] = left.volumes
    for kind, names in gone.items():
        if names:
            yield f"  {kind} ({len(names)}): {few(names)}"
    yield f"  the fence and its helper {project}-fence, if they are there"
    if left.volumes and not delete_data:
        yield f"Stays: users' files ({len(left.volumes)} volumes). --delete-data {project} deletes them for good."


def remove(client: docker.APIClient, project: str, left: Left, *, delete_data: bool, image: str) -> None:
    """Remove it; the fence last, so that nothing runs without it."""
    for name in left.containers:
        client.remove_container(name, force=True, v=True)
    fence.remove(client, project, image)
    for name in left.networks:
        for container in client.inspect_network(name).get("Containers") or {}:
            client.disconnect_container_from_network(container, name, force=True)
        client.remove_network(name)
    for name in left.images:
        client.remove_image(name)
    for name in left.volumes if delete_data else []:
        client.remove_volume(name)


def main() -> int:
    """Look, refuse or remove; return the exit code."""
    parser = argparse.ArgumentParser(description="Remove what the Hub of a Compose application made beside it.")
    parser.add_argument("--delete-data", metavar="NAME", default="", help="the Hub's name, to delete users' files")
    parser.add_argument("--stop-servers", action="store_true", help="stop servers that are running")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    options = parser.parse_args()
    project = os.environ.get(NAME_VARIABLE, "")
    if not project:
        print(f"{NAME_VARIABLE} is not set: run this in a Compose application.", file=sys.stderr)
        return 1
    try:
        client, me = docker.APIClient(version="auto", timeout=TIMEOUT_S), own_id()
        left = look(client, project, me)
        refused = [*problems(left, project, typed=options.delete_data, stop_servers=options.stop_servers)]
        print("\n".join([f"Of the Hub {project}:", *lines(left, project, delete_data=bool(options.delete_data))]))
        if refused or options.dry_run:
            print("\n".join([*refused, "Nothing was changed."]), file=sys.stderr)
            return 1 if refused else 0
        image = client.inspect_container(me)["Image"]
        remove(client, project, left, delete_data=bool(options.delete_data), image=image)
    except (*DOCKER_ERRORS, ComposeError) as error:
        print(f"Not everything could be removed: {error}. Mend that, and run this again.", file=sys.stderr)
        return 1
    print("Removed.")
    return 0
