"""Which volumes and folders users' servers must not mount, as the settings decide it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..mounts import COOLIFY, Protected, folder, protected

READ_FOR_MOUNTS = (
    "jupyterhub_name??",
    "jupyterhub_root??",
    "hub_volume_name_template??",
    "docker_daemon_settings??",
    "ingress_mode??",
    "compose??",
)
"""The settings that this depends on, in the order of the arguments below."""


def protected_by_settings(
    project: str | None,
    root: str | None,
    template: str | None,
    daemon: Mapping[str, Any] | None,
    mode: str | None,
    compose: Any,
) -> Protected:
    """Return the volumes and folders of the Hub (with its secrets), of the engine, and of Coolify where it may be."""
    folders = (
        root,
        str((daemon or {}).get("data-root") or ""),
        COOLIFY if mode == "coolify" or compose is not None else "",
    )
    return protected(project or "jupyterhub", template, (folder(each) for each in folders if each))
