"""The public settings of all roles, as their argument specs and defaults declare them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("specs.json")
"""The settings that the Hub reads; `make docs` writes this file from the roles."""


@dataclass
class Specs:
    """Options by setting, with each one's role and default, and the names that roles compute themselves."""

    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    computed: set[str] = field(default_factory=set)

    def given_defaults(self) -> dict[str, Any]:
        """Return the defaults that the specs name."""
        return {name: option["default"] for name, option in self.options.items() if "default" in option}


def of_the_hub() -> Specs:
    """Return the settings that hub.json and the secrets hold."""
    return Specs(json.loads(TABLE.read_text(encoding="utf-8")))
