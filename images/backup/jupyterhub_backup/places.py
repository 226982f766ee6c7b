"""Where the container has what it reads and writes; roles/backup/files/backup mounts it there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Places:
    """Paths below a root, which is / in the container."""

    root: Path = Path("/")

    @property
    def data(self) -> Path:
        """What a snapshot contains."""
        return self.root / "data"

    @property
    def volumes(self) -> Path:
        """The Hub's volumes, each under its name, read-only."""
        return self.data / "volumes"

    @property
    def deployment(self) -> Path:
        """The folder jupyterhub_root of the machine, read-only."""
        return self.data / "deployment"

    @property
    def copies(self) -> Path:
        """Copies of databases, and the manifest: made for one snapshot."""
        return self.data / "copies"

    @property
    def target(self) -> Path:
        """What is restored into: volumes/<name>, and deployment."""
        return self.root / "target"

    @property
    def state(self) -> Path:
        """The results of runs."""
        return self.root / "state"

    @property
    def cache(self) -> Path:
        """Restic's cache."""
        return self.root / "cache"

    @property
    def repository(self) -> Path:
        """The repository, if it is a folder of the machine."""
        return self.root / "repository"

    @property
    def secrets(self) -> Path:
        """The repository's password, and credentials."""
        return self.root / "run/secrets"

    def plan(self) -> dict[str, Any]:
        """Return what the role has written: name, repository, keep, append_only, hub_volume; and settings, a hash."""
        plan: dict[str, Any] = {}
        for name in ("plan.json", "settings.json"):
            plan |= json.loads((self.root / "etc/backup" / name).read_text())
        return plan
