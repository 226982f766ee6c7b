"""What an engine and its client leave on a machine's disk, and whose that is.  Used by the module `removal_plan`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from .debian_packages import names, said

NAMESPACES = {"moby", "plugins.moby"}
# What packages leave when they are removed; of Debian or of Docker, whose containerd.io has a runc.
OF_PACKAGES = {
    ("docker.io", "docker-ce"): (
        "/etc/docker/key.json", "/run/docker", "/run/docker.pid", "/run/docker.sock", "/var/log/docker.log",
    ),
    ("containerd", "containerd.io"): ("/var/lib/containerd", "/run/containerd"),
    ("runc", "containerd.io"): ("/run/runc",),
}  # fmt: skip
IN_DATA_ROOT = (
    "builder", "buildkit", "containerd", "containers", "engine-id", "image", "network",
    "overlay2", "plugins", "runtimes", "swarm", "tmp", "trust", "vfs", "volumes",
)  # fmt: skip
OF_THE_PACKAGE = "nuke-graph-directory.sh"
# In the folder of Docker's client, all that builds leave.
HISTORY = ("buildx", ".buildNodeID")


def existing(*paths: Path) -> list[str]:
    """Return those that exist."""
    return [str(path) for path in paths if path.exists() or path.is_symlink()]


def is_history(folder: Path) -> bool:
    """Return whether this is a folder of Docker's client with nothing in it but buildx's history of builds."""
    if not folder.is_dir():
        return False
    buildx = folder if folder.name == "buildx" else folder / "buildx"
    mine = [path for path in folder.iterdir() if path.name not in HISTORY] if folder != buildx else []
    instances = buildx / "instances"
    return not mine and not (instances.is_dir() and any(instances.iterdir()))


def engine_package() -> str:
    """Return the package that the engine's program belongs to, "" if it is not there or none."""
    program = shutil.which("dockerd", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    return said("dpkg-query", "--search", program).partition(":")[0] if program else ""


def other_users_of_containerd(processes: Path = Path("/proc")) -> list[str]:
    """Return the namespaces of other programs that keep containers in containerd, or run them with one of their own."""
    names = set(said("ctr", "namespaces", "list", "--quiet").split())
    for command in processes.glob("[0-9]*/cmdline"):
        try:
            program, *words = command.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # It has ended.
        if "containerd-shim" in program:
            names |= {value for option, value in pairwise(words) if option == "-namespace"}
    return [f"containers of {name} in containerd" for name in sorted(names - NAMESPACES)]


def left_by_packages(
    recorded: Collection[str], going: Collection[str], installed: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """Return the files of the engine's packages that a run installed, if they are gone or going.

    Args:
        recorded: packages that runs installed.
        going: those that are removed now.
        installed: all installed ones, with their fields.
    """
    staying = set().union(*({name, *names(installed[name].get("Provides", ""))} for name in installed.keys() - going))
    owned = [
        paths
        for packages, paths in OF_PACKAGES.items()
        if not staying.intersection(packages) and {*recorded}.intersection(packages)
    ]
    return existing(*(Path(each) for paths in owned for each in paths))


def in_data_root(state: str, data_root: str) -> list[str]:
    """Return what an engine keeps in its folder, as that may hold something else.

    Args:
        state: what becomes of the engine.
        data_root: its folder, which has all volumes.
    """
    # The package writes it when it is removed.
    script = Path(data_root, OF_THE_PACKAGE)
    written = [str(script)] if state == "removed" else existing(script)
    return existing(*(Path(data_root, each) for each in IN_DATA_ROOT)) + written


def kept_volumes(root: Path) -> dict[str, Any]:
    """Return what an earlier run wrote down when it removed the engine and kept its folder."""
    try:
        found = json.loads((root / "kept.json").read_text())
        return {"data_root": str(found["data_root"]), "volumes": [str(each) for each in found["volumes"]]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def without_engine(root: Path) -> dict[str, Any]:
    """Return the engine's folder if it holds nothing but the volumes that the Hub had when the engine was removed."""
    kept = kept_volumes(root)
    folder = Path(kept.get("data_root") or "/nowhere")
    found = {path.name for path in folder.glob("volumes/*") if path.is_dir()}
    if not found or found - {*kept["volumes"]}:
        return {"volumes": [], "data_root": ""}
    return {"volumes": sorted(found), "data_root": str(folder)}
