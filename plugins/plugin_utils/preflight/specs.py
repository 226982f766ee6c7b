"""Reads the settings of all roles from their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...module_utils.rules.specs import Specs

Reader = Callable[[Path], Any]


def load(roles_path: Path, read: Reader) -> Specs:
    """Read `meta/argument_specs.yml`, `defaults/main.yml` and `vars/main.yml` of every role below a folder."""

    def contents(path: Path) -> dict[str, Any]:
        return (read(path) if path.is_file() else None) or {}

    specs = Specs()
    for role in sorted(path for path in roles_path.iterdir() if path.is_dir()):
        entry_points = contents(role / "meta/argument_specs.yml").get("argument_specs", {})
        for entry_point in entry_points.values():
            for name, option in (entry_point.get("options") or {}).items():
                specs.options.setdefault(name, option)
                specs.roles.setdefault(name, role.name)
        specs.defaults.update(contents(role / "defaults/main.yml"))
        specs.computed.update(contents(role / "vars/main.yml"))
    return specs
