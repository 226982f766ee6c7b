"""Rules for settings that are of the right type: ranges, forms, and settings that must fit each other.

To add one, write a function under `@rule(settings it reads)` in the module of its
subject; what it yields is about the first of these settings, unless it says otherwise.
Messages show a value only where no secret can be in it.
"""

from __future__ import annotations

from ..registry import Rules
from . import (
    access,
    addresses,
    authenticator,
    catalogue,
    general,
    github,
    missing,
    options,
    providers,
    secrets,
    servers,
)

TABLES: tuple[Rules, ...] = tuple(
    module.rule
    for module in (
        authenticator,
        missing,
        general,
        addresses,
        access,
        github,
        providers,
        secrets,
        servers,
        catalogue,
        options,
    )
)
"""In this order: what one table complains of, the later ones leave alone."""
