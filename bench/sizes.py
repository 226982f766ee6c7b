"""Memory of containers and sizes of images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e.deployment import docker

from .project import NAME


def memory_mb(container: str) -> float:
    """Return the memory of all processes of a container, in MB (10^6 bytes).

    PSS: memory that several processes share is divided among them.  Read from the kernel's smaps_rollup, since
    `docker stats` shows nothing if the engine's memory accounting is off.
    """
    processes = docker("top", container, "-eo", "pid").split()[1:]
    total_kib = 0
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib * 1024 / 1e6


def images() -> list[dict[str, Any]]:
    """Return the benchmark's images with their sizes, and what each adds to its parent, in MB (10^6 bytes)."""
    refs = docker("image", "ls", "--filter", f"reference={NAME}/*", "--format", "{{.Repository}}:{{.Tag}}").split()
    found: list[dict[str, Any]] = json.loads(docker("image", "inspect", *refs))
    layers = {image["Id"]: image["RootFS"]["Layers"] for image in found}
    rows = []
    for image in found:
        own = layers[image["Id"]]
        below = [
            other
            for other in found
            if len(layers[other["Id"]]) < len(own) and own[: len(layers[other["Id"]])] == layers[other["Id"]]
        ]
        parent = max(below, key=lambda other: len(layers[other["Id"]]), default=None)
        rows.append(
            {
                "image": _name(image),
                "mb": image["Size"] / 1e6,
                "parent": _name(parent) if parent else "",
                "adds_mb": (image["Size"] - (parent["Size"] if parent else 0)) / 1e6,
            }
        )
    return sorted(rows, key=lambda row: row["mb"])


def _name(image: dict[str, Any]) -> str:
    """Return the image's name in this Hub; it may have tags of other Hubs as well."""
    [name] = {tag.split(":")[0].removeprefix(f"{NAME}/") for tag in image["RepoTags"] if tag.startswith(f"{NAME}/")}
    return str(name)
