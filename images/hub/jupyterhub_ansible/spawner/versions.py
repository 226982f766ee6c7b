"""Versions of users' files: their servers keep them (the package jupyterhub_versions in their image)."""

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings.model import Settings

VARIABLE = "JUPYTERHUB_VERSIONS"
"""Environment variable of a server: its limits, as JSON (jupyterhub_versions.limits in its image)."""


def environment(settings: "Settings") -> dict[str, str]:
    """Return a server's variables for Spawner.environment."""
    if not settings.hub_versions_mb:
        return {}
    return {VARIABLE: json.dumps({"per_file": settings.hub_versions_per_file, "mb": settings.hub_versions_mb})}
