"""Rules for settings of the right type: ranges, formats, and settings that must agree with each other.

To add one, write a function under `@rule(settings it reads)` in the module of its subject.  A finding is about the
first of these settings, unless it names another one.  Messages show a value only if it cannot contain a secret.
"""

from __future__ import annotations

from ..registry import Rules
from . import (
    access,
    addresses,
    authenticator,
    backup,
    catalogue,
    general,
    github,
    missing,
    options,
    providers,
    ranges,
    secrets,
    servers,
    shared_folders,
    workspaces,
)

TABLES: tuple[Rules, ...] = tuple(
    module.rule
    for module in (
        authenticator,
        missing,
        general,
        ranges,
        addresses,
        access,
        github,
        providers,
        secrets,
        servers,
        catalogue,
        options,
        workspaces,
        shared_folders,
        backup,
    )
)
"""In this order: once a table reports a setting, later tables skip it."""
