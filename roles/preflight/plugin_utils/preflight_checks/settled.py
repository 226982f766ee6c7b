"""Whether a container is as community.docker.docker_container left it, which that module takes long to find out.

When the module has brought a container to what is wanted, a hash of that and of what the container then is goes into
a file in /run.  As long as both are the same, the module would change nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

IS = ("Id", "Image", "Path", "Args", "Config", "HostConfig")
DOES = ("Status", "Paused")
JOINED = ("NetworkID", "Aliases", "IPAMConfig")
ASKED = ("Id", "State", "NetworkSettings")
"""What tasks ask of a container."""
# A dry run asks for the same in another way.
NOT_WANTED = ("pull",)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def wanted(arguments: Mapping[str, Any]) -> str:
    """Return a hash of docker_container's arguments."""
    return _hash({key: value for key, value in arguments.items() if key not in NOT_WANTED})


def found(container: Mapping[str, Any], image: str) -> str:
    """Return a hash of what a container is and does, without what changes by itself.

    Args:
        container: as the engine describes it.
        image: id of what the name of its image stands for, which may be another image since it was made.
    """
    networks = container["NetworkSettings"]["Networks"]
    return _hash(
        {
            **{key: container.get(key) for key in IS},
            "state": {key: container["State"].get(key) for key in DOES},
            "networks": {name: {key: each.get(key) for key in JOINED} for name, each in networks.items()},
            # The engine lists them in any order.
            "mounts": sorted(container.get("Mounts") or [], key=lambda mount: str(mount["Destination"])),
            "image": image,
        }
    )


def seen(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the role's tasks are told of an entry of host_report's `own_containers`."""
    container = report["container"]
    return {
        "stamp": report["stamp"],
        "found": found(container, report["image"]),
        "container": {key: container[key] for key in ASKED},
    }
