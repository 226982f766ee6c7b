"""Names that look like settings of this project but are none."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches

from .problems import Finding, did_you_mean

OURS = re.compile(r"(jupyterhub|preflight|docker|images|proxy|hub)_")
# How alike a name outside our prefixes must be to be taken for a slip of the pen.
ALIKE = 0.9


def misspelt(names: Collection[str], settings: Collection[str], computed: Collection[str]) -> Iterator[Finding]:
    """Yield the variables that no role reads; their values are never shown."""
    for name in sorted(set(names) - set(settings) - set(computed)):
        if OURS.match(name.lower()):
            advice = did_you_mean(name, settings, "remove it (docs/reference/settings.md lists all)")
        elif not name.startswith(("ansible_", "__")) and get_close_matches(name.lower(), settings, 1, ALIKE):
            advice = did_you_mean(name, settings, "")
        else:
            continue
        yield Finding("there is no such setting", advice, name)
