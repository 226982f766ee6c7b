"""What JupyterHub's classes can be configured with: the table that bin/traits.py writes from the lock."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("known_traits.json")


def expand(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Give every class the traits of its parents, too: the table holds only what a class changes."""

    @functools.cache
    def traits(name: str) -> dict[str, str]:
        merged: dict[str, str | None] = {}
        for parent in reversed(table[name]["parents"]):
            merged.update(traits(parent))
        merged.update(table[name]["traits"])
        return {trait: kind for trait, kind in sorted(merged.items()) if kind}

    return {name: traits(name) for name in table}


@functools.cache
def known_classes() -> dict[str, dict[str, str]]:
    """Return every class that `c.<Class>.<trait>` may name, with the kind of each of its traits.

    A kind is one of `bool`, `int`, `float`, `str`, `list`, `set`, `tuple`, `dict`, `none`, `callable` and `any`, or
    several with `|` between them.  Nothing that YAML holds is `callable`; a set or a tuple is written as a list there,
    and a float may be an int.  `any` is what only the class itself can judge.
    """
    return expand(json.loads(TABLE.read_text(encoding="utf-8")))
