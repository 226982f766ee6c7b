"""The configurable traits of JupyterHub's classes, from the table that bin/traits.py writes."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("known_traits.json")


def expand(table: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Add the inherited traits to every class: the table holds only what a class adds or changes."""

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
    several joined by `|`.  In YAML nothing is `callable`, sets and tuples are written as lists, and a float may be
    an int.  Values of kind `any` only the class itself can check.
    """
    return expand(json.loads(TABLE.read_text(encoding="utf-8")))


@functools.cache
def functions() -> frozenset[str]:
    """Return the traits that take nothing but a function, of any class."""
    traits = (item for each in known_classes().values() for item in each.items())
    return frozenset(trait for trait, kind in traits if set(kind.split("|")) <= {"callable", "none"})
