"""Checks of hub_traits against the table of JupyterHub's classes and their traits.

The operator's own classes are not in that table; they are tested with the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ..known_traits import functions, known_classes
from ..problems import Finding
from ..registry import Findings, Rules
from ..strict import is_float, is_int

rule = Rules()

# How similar the name of a class must be to count as a typo.
ALIKE = 0.85
FORM = "write it as {Class: {trait: value}}"
# What to write in YAML, by kind of trait; null is not mentioned, though some traits take it.
YAML_TYPES = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "list": "a list",
    "dict": "a mapping",
    "set": "a list",
    "tuple": "a list",
}

FORMS = {
    "true or false": "true or false, without quotes",
    "a whole number": "it without quotes",
    "a number": "it without quotes",
    "a string": "it in quotes",
    "a list": "[value, value]",
    "a mapping": "{key: value}",
}


def kinds_of(value: Any) -> set[str]:
    """Return the kinds of traits that take a value."""
    if value is None:
        return {"none"}
    if isinstance(value, bool):
        return {"bool"}
    if isinstance(value, (list, tuple)):
        return {"list", "set", "tuple"}
    if isinstance(value, Mapping):
        return {"dict"}
    if is_int(value):
        return {"int", "float"}
    return {"float"} if is_float(value) else {"str"}


@rule("hub_traits")
def form(classes: Mapping[str, Any]) -> Findings:
    """The Hub merges them class by class."""
    for name, traits in classes.items():
        if not re.fullmatch(r"[A-Z]\w*", name):
            inside = re.fullmatch(r"(?:c\.)?([A-Z]\w*)\.(\w+)", name)
            advice = f"did you mean {inside[1]}: {{{inside[2]}: ...}}?" if inside else FORM
            yield Finding("is not a class name", advice, f"hub_traits.{name}")
        elif not isinstance(traits, Mapping):
            yield Finding("is not a mapping of traits", FORM, f"hub_traits.{name}")


@rule("hub_traits", "hub_authenticator??")
def known(classes: Mapping[str, Any], authenticator: str | None) -> Findings:
    """A misspelt class or trait would have no effect."""
    table = known_classes()
    own = {each.rpartition(".")[2] for each in (authenticator or "", *_strings(classes)) if "." in each}
    for name, traits in classes.items():
        if name in table and isinstance(traits, Mapping):
            yield from _known_traits(name, traits, table[name])
        elif name not in table and name not in own:
            # A known name with something before it is probably a subclass.
            close = [each for each in get_close_matches(name, table, 2, ALIKE) if not name.endswith(each)]
            close = close or [each for each in table if each.startswith(name)]
            if close:
                yield Finding("is not a JupyterHub class", f"did you mean {' or '.join(close)}?", f"hub_traits.{name}")


def _known_traits(name: str, traits: Mapping[str, Any], table: Mapping[str, str]) -> Findings:
    for trait, value in traits.items():
        about = f"hub_traits.{name}.{trait}"
        if trait not in table:
            close = get_close_matches(trait, table, 2, 0.7)
            advice = f"did you mean {' or '.join(close)}?" if close else "remove it, or look for it in another class"
            yield Finding(f"is not a trait of the class {name}", advice, about)
            continue
        wanted = set(table[trait].split("|"))
        if "any" in wanted or wanted & kinds_of(value):
            continue
        types = list(dict.fromkeys(name for kind, name in YAML_TYPES.items() if kind in wanted))
        # Others take functions only (below).
        if types:
            forms = " or ".join(FORMS[each] for each in types)
            yield Finding(f"must be {' or '.join(types)}", f"write {forms}", about)


@rule("hub_traits")
def hooks(classes: Mapping[str, Any]) -> Findings:
    """A string passes the class's own check, and fails when it is called: nobody could log in, or start a server."""
    for name, traits in classes.items():
        # Regardless of the class's name, since it may be the operator's own.
        for path in _with_functions(traits):
            advice = "write it in Python, in jupyterhub_config.py of images_hub_files (docs/how-to/hub-files.md)"
            yield Finding("takes a function, which a setting cannot contain", advice, f"hub_traits.{name}.{path}")


def _with_functions(traits: Any, group: str = "") -> Iterator[str]:
    """Yield the traits that take a function but have another value, with those that a group's servers get."""
    for trait, value in traits.items() if isinstance(traits, Mapping) else ():
        if trait in functions() and value is not None:
            yield f"{group}{trait}"
        elif trait == "group_overrides" and isinstance(value, Mapping):
            for key, override in value.items():
                inner = override.get("spawner_override") if isinstance(override, Mapping) else None
                yield from _with_functions(inner, f"group_overrides.{key}.spawner_override.")


def _strings(value: Any) -> Iterator[str]:
    """Yield all strings in a value: one of them may be the path of a class."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else ():
        yield from _strings(inner)
