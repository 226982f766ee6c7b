"""All checks of one set of settings: names, types and rules.  Preflight and the Hub run the same ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import strict
from .names import unknown
from .problems import Finding, Problem, shown
from .registry import Rules
from .specs import Specs
from .tables import TABLES

SECRET_NAME = re.compile(r"(password|secret|key|token)$")
DEFAULT = "the default"
"""The place of a setting that has its default."""
# The value of -e name=value is always a string.
COMMAND_LINE = "CLI option"
EXPOSED_FIX = (
    "encrypt it (.venv/bin/ansible-vault encrypt FILE, or encrypt_string for one value) or move it to a file that git "
    "ignores; then replace the secret, since git's history keeps the old one"
)
TYPED_HINT = """ (on the command line: -e '{"name": value}')"""
# An inventory in INI format takes values as Python writes them, and everything else as a string.
INI_HINT = """ (in an INI inventory as Python writes it: True, ["a"], {"a": True}; or move it to group_vars/all.yml)"""
YAML = re.compile(r"(^|/)(group_vars|host_vars)/|\.(ya?ml|json), line")


@dataclass
class Settings:
    """Values as the roles will see them; `broken` holds those that Ansible could not evaluate."""

    values: dict[str, Any]
    names: set[str] = field(default_factory=set)
    broken: dict[str, Finding] = field(default_factory=dict)
    where: Callable[[str], str] = lambda name: ""
    is_secret: Callable[[str], bool] = lambda name: bool(SECRET_NAME.search(name))
    # Secrets in plain text in files that git tracks, with file and line.
    exposed: Mapping[str, str] = field(default_factory=dict)
    # What rules may read besides the settings.
    context: Mapping[str, Any] = field(default_factory=dict)

    def is_given(self, name: str) -> bool:
        """Return whether the operator set something."""
        return name in self.names and self.where(name) != DEFAULT

    def problem(self, finding: Finding, name: str = "") -> Problem:
        """Return a finding as a problem, with the place where its setting was set."""
        about = finding.about or name
        # A finding about no single setting, such as "access", has no place.
        where = self.where(about.split("[")[0].split(".")[0])
        hint = typed_hint(where) if finding.what.startswith("must be") else ""
        return Problem(about, where, self.masked(finding.what), self.masked(finding.fix) + hint)

    def masked(self, text: str) -> str:
        """Return a text with the values of secrets masked, whichever check put them there."""
        for name, value in self.values.items():
            if self.is_secret(name):
                for leaf in sorted(leaves(value), key=len, reverse=True):
                    text = re.sub(rf"(?<!\w){re.escape(leaf)}(?!\w)", "***", text)
        return text

    def well_formed(self, specs: Specs, bad: Collection[str]) -> dict[str, Any]:
        """Return the settings that rules may rely on: evaluated and of the right type, None if unset."""
        good = {name: self.values.get(name) for name in specs.options if name not in bad}
        return {**good, **self.context}


def typed_hint(where: str) -> str:
    """Return how to write a value of another type than a string at a place where it is not written as YAML."""
    if where.startswith(COMMAND_LINE):
        return TYPED_HINT
    return INI_HINT if ", line " in where and not YAML.search(where) else ""


def leaves(value: Any) -> Iterator[str]:
    """Yield all strings and numbers in a value, in the forms in which messages show them."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    elif value not in (None, "", True, False):
        yield from {str(value), shown(value).strip('"').removesuffix("...")}


def check_settings(
    specs: Specs, settings: Settings, tables: Iterable[Rules] = TABLES
) -> tuple[list[Problem], dict[str, Any]]:
    """Return the problems of the settings, and the settings that further checks may rely on."""
    named = unknown(settings.names, specs.options, specs.computed, settings.is_given)
    problems = [settings.problem(finding) for finding in named]
    bad = set(settings.broken)
    problems += [settings.problem(finding, name) for name, finding in settings.broken.items()]
    for name, option in specs.options.items():
        if name in settings.values:
            show = (lambda value: "") if settings.is_secret(name) else shown
            findings = list(strict.check(name, settings.values[name], option, show))
        elif option.get("required") and name not in settings.broken:
            findings = [Finding("is not set", "set it in group_vars", name)]
        else:
            continue
        problems += [settings.problem(finding, name) for finding in findings]
        bad |= {name} if findings else set()
    problems += [
        Problem(about, where, "is in plain text in a file that git tracks", EXPOSED_FIX)
        for about, where in settings.exposed.items()
    ]
    for table in tables:
        for name, finding in table.findings(settings.well_formed(specs, bad)):
            problems.append(settings.problem(finding, name))
            bad.add(name)
    return problems, settings.well_formed(specs, bad)
