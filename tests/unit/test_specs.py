"""Every public setting is declared, described, and has the same default in its role and in its spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub_ansible.rules.names import OURS
from jupyterhub_ansible.rules.strict import TYPES
from project import ROLES

ROLE_NAMES = sorted(path.name for path in ROLES.iterdir() if (path / "meta").is_dir())
PUBLIC_LIMIT = 74
Options = dict[str, dict[str, Any]]


def contents(path: Path) -> dict[str, Any]:
    return (yaml.safe_load(path.read_text()) if path.exists() else None) or {}


def options(role: str) -> Options:
    entry_points = contents(ROLES / role / "meta/argument_specs.yml")["argument_specs"]
    return {name: option for entry in entry_points.values() for name, option in (entry.get("options") or {}).items()}


def defaults(role: str) -> dict[str, Any]:
    return contents(ROLES / role / "defaults/main.yml")


def flat(path: str, declared: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in declared.items():
        yield f"{path}{name}", option
        yield from flat(f"{path}{name}.", option.get("options") or {})


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_defaults_of_role_and_spec_are_the_same(role: str) -> None:
    declared = {name: option["default"] for name, option in options(role).items() if "default" in option}
    # By value and type: true is not 1.
    assert repr(sorted(declared.items())) == repr(sorted(defaults(role).items()))


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_settings_without_a_default_are_shown_commented(role: str) -> None:
    text = (ROLES / role / "defaults/main.yml").read_text()
    for name, option in options(role).items():
        if "default" not in option:
            assert re.search(rf"^# {name}:", text, re.MULTILINE), f"{name} is not in the role's defaults"


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_options_are_typed_and_described(role: str) -> None:
    for name, option in flat("", options(role)):
        description = option.get("description")
        text = description if isinstance(description, str) else " ".join(description or [])
        assert len(text.split()) >= 3 or "." in name, f"{name} is not described"
        assert text.endswith("."), f"{name}: not a sentence"
        assert option.get("type") in TYPES, f"{name}: type"
        assert option["type"] != "list" or option.get("elements") in TYPES, f"{name}: elements"


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_settings_begin_with_the_name_of_their_role(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []
    # Otherwise a misspelt setting of this role would go unnoticed.
    assert OURS.match(f"{role}_")


def test_there_are_not_too_many_settings() -> None:
    assert sum(len(options(role)) for role in ROLE_NAMES) <= PUBLIC_LIMIT


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_what_tasks_register_is_internal(role: str) -> None:
    # A second play with preflight would call anything else a misspelt setting.
    tasks = "\n".join(path.read_text() for path in (ROLES / role / "tasks").glob("*.yml"))
    assert [name for name in re.findall(r"^\s+register: (\w+)", tasks, re.MULTILINE) if not name.startswith("__")] == []
    assert "set_fact" not in tasks
