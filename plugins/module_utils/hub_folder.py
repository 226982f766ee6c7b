"""Whose the folder of configuration and secrets is (jupyterhub_root), and what the backup has on the machine."""

from __future__ import annotations

import json
from pathlib import Path

# At least one of these is created before anything else in the folder of configuration and secrets.  The last one is all
# that `make uninstall DELETE_DATA=...` leaves there.
OUR_FOLDERS = ("builds", "proxy/secrets", "hub/secrets", "backup/secrets")
UNITS = Path("/etc/systemd/system")


def foreign_root(root: Path, name: str) -> str:
    """Return what is in the folder of configuration and secrets, if it is not ours."""
    try:
        settings = json.loads((root / "hub/hub.json").read_text())
        # Releases up to November 2026 wrote `name`.
        owner = settings.get("jupyterhub_name") or settings["name"]
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        owner = name  # There is none yet, or it is damaged and will be overwritten.
    if owner != name:
        return f"the Hub {owner}"
    if not root.exists() or any((root / ours).exists() for ours in OUR_FOLDERS):
        return ""
    if not root.is_dir():
        return "a file"
    found = sorted(path.name for path in root.iterdir() if path.name != "lost+found")
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")


def has_other_key(root: Path, given: str | None) -> bool:
    """Return whether a backup's repository was made with another key than the one that is given."""
    key = root / "backup/secrets/password"
    made = (root / "backup/state/repository.json").exists() and key.exists()
    return bool(given) and made and key.read_text(errors="replace").strip() != str(given).strip()


def foreign_units(root: Path, name: str, units: Path = UNITS) -> list[str]:
    """Return units with the names of our backup that no run wrote."""
    found = (units / f"{name}-backup.{kind}" for kind in ("service", "timer"))
    return [path.name for path in found if path.exists() and not is_of_backup(path, root, name)]


def is_of_backup(path: Path, root: Path, name: str) -> bool:
    """Return whether a run wrote this unit, or this file of cron's (roles/backup)."""
    words = f"backups of {name} " if path.suffix == ".timer" else f"{root}/backup/backup run"
    return words in path.read_text(errors="replace")
