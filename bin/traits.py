"""Write the table of JupyterHub's classes and their traits, from the locked packages: `make traits`.

The classes are JupyterHub, those that the packages of the Hub's image register with it (proxies, spawners,
authenticators), our own, and the parents of all these.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterable
from typing import Any

import jupyterhub_ansible
import traitlets
from jupyterhub import traitlets as hub_traitlets
from jupyterhub.app import JupyterHub
from jupyterhub_ansible.rules.known_traits import TABLE, expand
from traitlets.config import Configurable

# The first match counts, so subclasses come before their parents.
KINDS: list[tuple[type[Any], str]] = [
    (hub_traitlets.Command, "list|str"),
    (hub_traitlets.ByteSpecification, "int|str"),
    (hub_traitlets.Callable, "callable"),
    (traitlets.Callable, "callable"),
    (traitlets.Bool, "bool"),
    (traitlets.Int, "int"),
    (traitlets.Float, "float"),
    (traitlets.Unicode, "str"),
    (traitlets.Type, "str"),
    (traitlets.Set, "set"),
    (traitlets.List, "list"),
    (traitlets.Tuple, "tuple"),
    (traitlets.Dict, "dict"),
]
# How the help of a trait of type Any says that it takes a function.
FUNCTION = re.compile(r"hook function|any callable", re.IGNORECASE)


def _kinds(trait: Any) -> set[str]:
    if isinstance(trait, traitlets.Union):
        kinds = set().union(*(_kinds(part) for part in trait.trait_types))
    elif isinstance(trait, traitlets.Enum):
        kinds = {type(value).__name__ for value in trait.values}
    elif type(trait) is traitlets.Any and FUNCTION.search(trait.help or "") and not _is_checked(trait):
        kinds = {"callable"}
    else:
        kinds = set(next((kind for known, kind in KINDS if isinstance(trait, known)), "any").split("|"))
    return kinds | ({"none"} if trait.allow_none else set())


def _is_checked(trait: Any) -> bool:
    """Whether the class checks the values of this trait itself, such as a name that stands for a function."""
    checks = [each for each in vars(trait.this_class or object).values() if isinstance(each, traitlets.ValidateHandler)]
    return any(trait.name in each.trait_names for each in checks)


def kind(trait: Any) -> str:
    """Return the kinds of values that a trait accepts."""
    kinds = _kinds(trait)
    return "any" if "any" in kinds else "|".join(sorted(kinds))


def our_classes() -> list[Any]:
    """Return the configurable classes of the Hub's own package."""
    names = [module.name for module in pkgutil.walk_packages(jupyterhub_ansible.__path__, "jupyterhub_ansible.")]
    found = [value for name in names for value in vars(importlib.import_module(name)).values()]
    return [
        value
        for value in found
        if isinstance(value, type)
        and issubclass(value, Configurable)
        and value.__module__.startswith("jupyterhub_ansible.")
        # A class with its parent's name is configured as that parent.
        and value.__name__ not in [parent.__name__ for parent in value.__bases__]
    ]


def parents(cls: Any) -> list[Any]:
    """Return the parents that can be configured."""
    return [parent for parent in cls.__bases__ if issubclass(parent, Configurable) and parent is not Configurable]


def table(classes: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Return the table of some classes and their parents, each with the traits that it adds or changes.

    Null marks a trait of a parent that the class does not have.

    Raises:
        ValueError: two classes have the same name.
    """
    written: dict[str, dict[str, Any]] = {}
    known: dict[str, Any] = {}

    def write(cls: Any) -> None:
        name = cls.__name__
        if known.setdefault(name, cls) is not cls:
            raise ValueError(f"{name} is both {known[name].__module__} and {cls.__module__}")
        if name in written:
            return
        for parent in parents(cls):
            write(parent)
        traits = {trait: kind(value) for trait, value in cls.class_traits(config=True).items()}
        entry = {"parents": [parent.__name__ for parent in parents(cls)], "traits": {}}
        inherited = expand({**written, name: entry})[name]
        entry["traits"] = {
            trait: traits.get(trait)
            for trait in sorted(traits.keys() | inherited.keys())
            if traits.get(trait) != inherited.get(trait)
        }
        written[name] = entry

    for cls in classes:
        write(cls)
    return dict(sorted(written.items()))


def page() -> str:
    """Return the current content of the file."""
    classes = [JupyterHub, *JupyterHub().classes, *our_classes()]
    return json.dumps(table(sorted(classes, key=lambda cls: str(cls.__name__))), indent=1) + "\n"


if __name__ == "__main__":
    TABLE.write_text(page(), encoding="utf-8")
