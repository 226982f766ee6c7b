"""Names that look like settings of this project but are not: old ones, other projects' or misspelt ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches

from .problems import Finding, did_you_mean
from .renamed import MOVED, RENAMED

OURS = re.compile(r"(jupyterhub|preflight|docker|images|network|proxy|audit|hub|backup|ingress|uninstall)_")
# How similar a name without one of our prefixes must be to count as a typo.
ALIKE = 0.9


def unknown(
    names: Collection[str], settings: Collection[str], computed: Collection[str], is_given: Callable[[str], bool]
) -> Iterator[Finding]:
    """Yield the variables that no role reads; their values are never shown.

    `is_given` returns whether the operator set a setting, as opposed to a role's default.
    """
    for name in sorted(set(names) - set(settings) - set(computed)):
        small = name.lower()
        here = RENAMED.get(small)
        ours = OURS.match(small)
        if here and not ours and is_given(here):
            continue  # The operator's own variable, which the setting's value may come from.
        if here:
            yield Finding(f"is called {here} here", f"write {here}", name)
        elif small in MOVED:
            yield Finding("is not a setting here", MOVED[small], name)
        elif ours:
            advice = did_you_mean(name, settings, "remove it (docs/reference/settings.md lists all)")
            yield Finding("there is no such setting", advice, name)
        elif not name.startswith(("ansible_", "__")) and get_close_matches(small, settings, 1, ALIKE):
            yield Finding("there is no such setting", did_you_mean(name, settings, ""), name)
