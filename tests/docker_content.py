"""The containers, volumes and images of an engine, whether it is running or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Held:
    """The content of an engine."""

    containers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels by name."""
    volumes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    users: dict[str, list[str]] = field(default_factory=dict)
    """The containers of each volume."""

    def add(self, name: str, labels: Mapping[str, str] | None, volumes: Iterable[str]) -> None:
        """Add a container with its volumes."""
        self.containers[name] = labels or {}
        for volume in volumes:
            self.users.setdefault(volume, []).append(name)


def asked(said: Callable[..., str]) -> Held:
    """Return the content of a running engine; `said` returns the output of the Docker client."""
    held = Held()
    if containers := said("ps", "--all", "--quiet", "--no-trunc").split():
        for one in json.loads(said("container", "inspect", *containers) or "[]"):
            mounts = [mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume"]
            held.add(one["Name"].lstrip("/"), one["Config"]["Labels"], mounts)
    if volumes := said("volume", "ls", "--quiet").split():
        described = json.loads(said("volume", "inspect", *volumes) or "[]")
        held.volumes = {one["Name"]: one["Labels"] or {} for one in described}
    held.images = sorted({*said("image", "ls", "--quiet", "--no-trunc").split()})
    return held


def read(data: Path) -> Held:
    """Return what a stopped engine left in its data-root; labels of volumes cannot be read."""
    held = Held()
    for path in data.glob("containers/*/config.v2.json"):
        try:
            one = json.loads(path.read_text())
        except ValueError:
            held.add(path.parent.name, {}, [])
            continue
        mounts = [mount["Name"] for mount in (one.get("MountPoints") or {}).values() if mount.get("Name")]
        held.add(one["Name"].lstrip("/"), one["Config"]["Labels"], mounts)
    held.volumes = {path.name: {} for path in data.glob("volumes/*") if path.is_dir()}
    return held
