"""Which of the engine's objects belong to a Hub, and whether anything else uses the engine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .docker_engine import ask
from .engine_objects import KIND_LABEL, PROJECT_LABEL, SERVER_KIND, is_ours, name_of

TIMEOUT_S = 60
USER_LABEL, CONTENT_LABEL = "jupyterhub-ansible.user", "jupyterhub-ansible.content-hash"
# Every engine has them.
BUILT_IN = ("bridge", "host", "none")
# The Hub first, so that it starts no servers meanwhile.
FIRST = ("hub", "proxy")
HASH = re.compile(r"[0-9a-f]{16}")
ANONYMOUS = re.compile(r"[0-9a-f]{64}")

Thing = dict[str, Any]
NOTHING: dict[str, list[Thing]] = {"containers": [], "networks": [], "images": [], "volumes": []}


def listed(socket_path: str) -> dict[str, list[Thing]] | None:
    """Return the engine's objects by kind; None if an answer is missing, which does not mean that there are none."""
    urls = {"containers": "/containers/json?all=1", "networks": "/networks", "images": "/images/json"}
    found = {kind: ask(socket_path, url, TIMEOUT_S) for kind, url in {**urls, "volumes": "/volumes"}.items()}
    if None in found.values():
        return None
    return {**found, "volumes": found["volumes"].get("Volumes") or []}


def label(thing: Thing, name: str) -> str:
    """Return the value of a label, "" if it is not there."""
    return str((thing.get("Labels") or {}).get(name, ""))


def tags(image: Thing) -> list[str]:
    """Return an image's names."""
    return [ref for ref in image.get("RepoTags") or [] if ref != "<none>:<none>"]


def image_refs(images: Iterable[Thing], name: str) -> list[str]:
    """Return the images that a Hub's builds made; one that an operator built on top has the label, but not the tag."""
    found = []
    for image in images:
        for ref in tags(image):
            repository, _, tag = ref.rpartition(":")
            made = tag == label(image, CONTENT_LABEL) or (repository == f"{name}/os" and HASH.fullmatch(tag))
            if repository.startswith(f"{name}/") and made:
                found.append(ref)
    return sorted(found)


def other_hubs(things: Mapping[str, list[Thing]], name: str) -> set[str]:
    """Return the names of other Hubs that run on the engine, or are stopped."""
    return {label(each, PROJECT_LABEL) for kind in ("containers", "networks") for each in things[kind]} - {name, ""}


def plan(things: Mapping[str, list[Thing]], name: str, pulled: Iterable[str], sole: bool) -> dict[str, Any]:
    """Return what belongs to a Hub, and what does not.

    Args:
        things: what `listed` returned.
        name: the Hub's.
        pulled: images that runs pulled since the engine did not have them.
        sole: no other Hub is on this machine.  Only then pulled and untagged images belong to this one.
    """
    ours = [each for each in things["containers"] if is_ours(each, name)]
    others = [each for each in things["containers"] if not is_ours(each, name)]
    used = {each.get("ImageID") for each in others}
    mounted = {mount.get("Name", "") for each in others for mount in each.get("Mounts") or []}
    free = [image for image in things["images"] if image["Id"] not in used]
    refs = image_refs(free, name)
    untagged: list[str] = []
    if sole:
        refs += sorted({*pulled} & {ref for image in free for ref in tags(image)} - {*refs})
        parents = {image.get("ParentId") for image in things["images"]}
        untagged = [
            image["Id"] for image in free if not tags(image) and label(image, KIND_LABEL) and image["Id"] not in parents
        ]
    of_ours = {mount.get("Name", "") for each in ours for mount in each.get("Mounts") or []} - {""}
    volumes = {each["Name"]: each for each in things["volumes"]}
    labelled = {each for each, volume in volumes.items() if is_ours(volume, name)}
    # Docker makes them for folders that an image declares, and removes them with their container.
    anonymous = {each for each in of_ours - labelled if ANONYMOUS.fullmatch(each)}
    networks = [each["Name"] for each in things["networks"] if is_ours(each, name)]
    left = {
        "container": [name_of(each) for each in others],
        "network": [each["Name"] for each in things["networks"] if each["Name"] not in (*networks, *BUILT_IN)],
        "volume": sorted(volumes.keys() - labelled - anonymous),
        "image": sorted(
            ref
            for image in things["images"]
            for ref in tags(image) or [image["Id"][7:19]]
            if ref not in refs and image["Id"] not in untagged
        ),
    }
    servers = [each for each in ours if label(each, KIND_LABEL) == SERVER_KIND]
    return {
        "servers": sorted(
            label(each, USER_LABEL) or name_of(each) for each in servers if each.get("State") == "running"
        ),
        "containers": [name_of(each) for each in sorted(ours, key=lambda each: label(each, KIND_LABEL) not in FIRST)],
        "networks": sorted(networks),
        "images": refs,
        "untagged": untagged,
        "volumes": sorted(labelled - mounted),
        "volumes_in_use": sorted(labelled & mounted),
        "adopted": sorted((of_ours & volumes.keys()) - labelled - anonymous),
        "others": [f"{kind} {each}" for kind, found in left.items() for each in sorted(found)],
    }


def unexpected(things: Mapping[str, list[Thing]], name: str, keeps_volumes: bool) -> list[str]:
    """Return what is in the engine after everything of the last Hub was removed from it.

    Args:
        things: what `listed` returned.
        name: the Hub's.
        keeps_volumes: its volumes were not removed.
    """
    found = plan(things, name, pulled=(), sole=True)
    volumes = [] if keeps_volumes else [*found["volumes"], *found["volumes_in_use"]]
    return [
        *(f"container {each}" for each in found["containers"]),
        *(f"volume {each}" for each in volumes),
        *found["others"],
    ]
