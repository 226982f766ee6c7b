"""The examples can be copied and used: what they name exists, is accepted, and is what Ansible then reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from rolefile import ROLES
from settings.test_cases import DEFAULTS, SPECS, problems

PROJECT = ROLES.parent
PRODUCTION = PROJECT / "examples/production"
INVENTORY = Path("inventory/production.yml")
SETTINGS = Path("group_vars/production/settings.yml")
# A comment that is YAML: a setting, or a line below one. All others are sentences.
COMMENTED = re.compile(r"^( *)# ((?:  )*(?:- )?[a-z0-9_.]+:(?: .*)?)$", re.MULTILINE)
VAULTED = re.compile(r"\{\{ vault_\w+ \}\}")


def uncommented(path: Path) -> dict[str, Any]:
    """The file as it is when everything in it is chosen."""
    content: dict[str, Any] = yaml.safe_load(COMMENTED.sub(r"\1\2", (PRODUCTION / path).read_text()))
    return content


def settings_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Without Ansible's own variables, and without what comes from a vault."""
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith("ansible_") and not VAULTED.fullmatch(str(value))
    }


def hosts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = uncommented(INVENTORY)["production"]["hosts"]
    return found


def test_every_comment_is_a_sentence_or_a_setting() -> None:
    # Else a setting in a comment would not be tested below.
    assert len(hosts()) == 2
    names = re.findall(r"^# ([a-z]+_\w+)", (PRODUCTION / SETTINGS).read_text(), re.MULTILINE)
    assert len(names) >= 6
    assert set(names) <= set(uncommented(SETTINGS))


def test_all_settings_exist() -> None:
    named = {*uncommented(SETTINGS), *(name for variables in hosts().values() for name in settings_of(variables))}
    assert named - set(SPECS.options) == set()


def test_what_is_shown_is_the_default() -> None:
    shown = settings_of(uncommented(SETTINGS))
    assert shown == {name: DEFAULTS[name] for name in shown}


@pytest.mark.parametrize("host", hosts())
def test_preflight_accepts_them_with_everything_chosen(host: str) -> None:
    machine = {"memory_mb": 16000}
    assert problems({**settings_of(uncommented(SETTINGS)), **settings_of(hosts()[host])}, machine) == []


def test_git_leaves_the_copies_alone() -> None:
    ignored = subprocess.run(["git", "check-ignore", INVENTORY, SETTINGS], cwd=PROJECT, capture_output=True, text=True)
    assert ignored.stdout.split() == [str(INVENTORY), str(SETTINGS)]


def test_a_copy_is_what_ansible_reads(tmp_path: Path) -> None:
    for folder in ("inventory", "group_vars", "elsewhere"):
        (tmp_path / folder).mkdir()
    shutil.copy(PROJECT / "inventory/group_vars", tmp_path / "inventory", follow_symlinks=False)
    # The documented command.
    subprocess.run(["cp", "-r", f"{PRODUCTION}/.", "."], cwd=tmp_path, check=True)
    shown = subprocess.run(
        ["ansible-inventory", "-i", tmp_path / INVENTORY, "--host", "hub.example.org"],
        # Unlike a playbook, this command reads group_vars of the working folder, too.
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
    )
    chosen = yaml.safe_load((PRODUCTION / SETTINGS).read_text())
    assert settings_of(json.loads(shown.stdout)) == chosen
