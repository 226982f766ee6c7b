"""Options that are passed on to JupyterHub's classes as they are, against the table of what these take.

A class that the operator brings is in no table; it is tried with the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ..known_traits import known_classes
from ..problems import Finding
from ..registry import Findings, Rules
from ..strict import is_float, is_int

rule = Rules()

# How alike the name of a class must be to be taken for a slip of the pen.
ALIKE = 0.85
FORM = "write it as {Class: {trait: value}}"
# What is in YAML, by the kinds of traits; null where a trait takes it goes without saying.
WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "list": "a list",
    "dict": "a mapping",
    "set": "a list",
    "tuple": "a list",
}

FORMS = {
    "true or false": "true or false, without quotes",
    "a whole number": "it without quotes",
    "a number": "it without quotes",
    "a text": "it in quotes",
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
            yield Finding("is no name of a class", advice, f"hub_traits.{name}")
        elif not isinstance(traits, Mapping):
            yield Finding("is not a mapping of traits", FORM, f"hub_traits.{name}")


@rule("hub_traits", "hub_authenticator??")
def known(classes: Mapping[str, Any], authenticator: str | None) -> Findings:
    """A misspelt class would count for nothing, a misspelt trait as well."""
    table = known_classes()
    brought = {each.rpartition(".")[2] for each in (authenticator or "", *_texts(classes)) if "." in each}
    for name, traits in classes.items():
        if name in table and isinstance(traits, Mapping):
            yield from _known_traits(name, traits, table[name])
        elif name not in table and name not in brought:
            # With something before it, it is the name of a class that was made from it.
            close = [each for each in get_close_matches(name, table, 2, ALIKE) if not name.endswith(each)]
            close = close or [each for each in table if each.startswith(name)]
            if close:
                yield Finding(
                    "is no class of JupyterHub's", f"did you mean {' or '.join(close)}?", f"hub_traits.{name}"
                )


def _known_traits(name: str, traits: Mapping[str, Any], table: Mapping[str, str]) -> Findings:
    for trait, value in traits.items():
        about = f"hub_traits.{name}.{trait}"
        if trait not in table:
            close = get_close_matches(trait, table, 2, 0.7)
            advice = f"did you mean {' or '.join(close)}?" if close else "remove it, or look for it in another class"
            yield Finding(f"is no option of the class {name}", advice, about)
            continue
        wanted = set(table[trait].split("|"))
        if "any" in wanted or wanted & kinds_of(value):
            continue
        words = list(dict.fromkeys(word for kind, word in WORDS.items() if kind in wanted))
        if words:
            forms = " or ".join(FORMS[word] for word in words)
            yield Finding(f"must be {' or '.join(words)}", f"write {forms}", about)
        else:
            yield Finding("takes a function, which no setting can be", "remove it", about)


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts in a value: one of them may be the path of a class."""
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, Mapping) else ():
        yield from _texts(inner)
