"""All checks of one set of settings and one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.rules import tables
from ...module_utils.rules.check import Settings
from ...module_utils.rules.check import check_settings as checked
from ...module_utils.rules.problems import Problem
from ...module_utils.rules.specs import Specs
from . import conflicts as conflicts  # This and engine add their rules to the table in host.
from . import engine as engine
from . import engine_settings, host, ingress

# Once a table reports a setting, later tables skip it: rules for the ingress come before those for access.
_ACCESS = tables.TABLES.index(tables.access.rule)
TABLES = (*tables.TABLES[:_ACCESS], engine_settings.rule, ingress.rule, *tables.TABLES[_ACCESS:])


def check_settings(specs: Specs, settings: Settings) -> tuple[list[Problem], dict[str, Any]]:
    """Return the problems of the settings, and the settings that further checks may rely on."""
    return checked(specs, settings, TABLES)


def check_host(machine: host.Host, settings: Settings, good: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of the machine, as far as the valid settings allow checking it."""
    for _, finding in host.rule.findings(good, machine):
        yield settings.problem(finding)
