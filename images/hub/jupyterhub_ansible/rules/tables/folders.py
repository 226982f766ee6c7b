"""What of this machine is not to be mounted into users' servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..mounts import COOLIFY, Ours, folder, ours

NOT_TO_BE_MOUNTED = (
    "jupyterhub_name??",
    "jupyterhub_root??",
    "hub_volume_name_template??",
    "docker_daemon_settings??",
    "ingress_mode??",
    "compose??",
)
"""The settings that say so, in the order of the arguments below."""


def not_to_be_mounted(
    project: str | None,
    root: str | None,
    template: str | None,
    daemon: Mapping[str, Any] | None,
    mode: str | None,
    compose: Any,
) -> Ours:
    """Return our volumes and folders: of the Hub, with its secrets, of the engine, and of Coolify where it may be."""
    folders = (
        root,
        str((daemon or {}).get("data-root") or ""),
        COOLIFY if mode == "coolify" or compose is not None else "",
    )
    return ours(project or "jupyterhub", template, (folder(each) for each in folders if each))
