"""All checks on one set of settings and one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.rules import tables
from ...module_utils.rules.check import Settings
from ...module_utils.rules.check import check_settings as checked
from ...module_utils.rules.problems import Problem
from ...module_utils.rules.specs import Specs
from . import engine as engine  # its rules are of the machine's table
from . import engine_settings, host, ingress

# What one complains of, the later ones leave alone: the way in stands before who may log in by it.
_ACCESS = tables.TABLES.index(tables.access.rule)
TABLES = (*tables.TABLES[:_ACCESS], engine_settings.rule, ingress.rule, *tables.TABLES[_ACCESS:])


def check_settings(specs: Specs, settings: Settings) -> tuple[list[Problem], dict[str, Any]]:
    """Return the problems of the settings, and those settings that further checks may rely on."""
    return checked(specs, settings, TABLES)


def check_host(machine: host.Host, settings: Settings, good: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of the machine, as far as the settings let it be judged."""
    for _, finding in host.rule.findings(good, machine):
        yield settings.problem(finding)
