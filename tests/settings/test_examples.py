"""The examples that `make init` starts from: their settings exist, and are accepted once filled in."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROLES
from settings.test_cases import DEFAULTS, GITHUB, SPECS, problems

PROJECT = ROLES.parent
PRODUCTION = PROJECT / "examples/production"
INVENTORY = Path("inventory/production.yml")
SETTINGS = Path("group_vars/production/settings.yml")
VAULT = SETTINGS.with_name("vault.yml")
# A comment that is YAML: a setting, or a line below one. All other comments are sentences.
COMMENTED = re.compile(r"^( *)# ((?:  )*(?:- )?[a-z0-9_.]+:(?: .*)?)$", re.MULTILINE)
VAULTED_SECRET = "vault_hub_github_client_secret"
VAULTED = re.compile(r"\{\{ vault_\w+ \}\}")


def uncommented(path: Path) -> dict[str, Any]:
    """Return the file with all settings uncommented."""
    content: dict[str, Any] = yaml.safe_load(COMMENTED.sub(r"\1\2", (PRODUCTION / path).read_text()))
    return content


def settings_of(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without Ansible's own variables and the vault's."""
    return {
        name: value
        for name, value in variables.items()
        if not name.startswith("ansible_") and not VAULTED.fullmatch(str(value))
    }


def hosts() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = uncommented(INVENTORY)["production"]["hosts"]
    return found


def test_every_comment_is_a_sentence_or_a_setting() -> None:
    # Otherwise a setting in a comment would not be tested below.
    assert len(hosts()) == 2
    names = re.findall(r"^# ([a-z]+_\w+)", (PRODUCTION / SETTINGS).read_text(), re.MULTILINE)
    assert len(names) >= 6
    assert set(names) <= set(uncommented(SETTINGS))


def test_all_settings_exist() -> None:
    named = {*uncommented(SETTINGS), *(name for variables in hosts().values() for name in settings_of(variables))}
    assert named - set(SPECS.options) == set()


def test_the_vault_contains_what_the_others_refer_to() -> None:
    text = (PRODUCTION / INVENTORY).read_text() + (PRODUCTION / SETTINGS).read_text()
    assert set(re.findall(r"\{\{ (vault_\w+) \}\}", text)) == set(uncommented(VAULT))


def test_shown_values_are_the_defaults() -> None:
    shown = {name: value for name, value in settings_of(uncommented(SETTINGS)).items() if name not in GITHUB}
    assert shown == {name: DEFAULTS[name] for name in shown}


@pytest.mark.parametrize("host", hosts())
def test_preflight_accepts_them_with_everything_uncommented(host: str) -> None:
    machine = {"memory_mb": 16000}
    assert problems({**settings_of(uncommented(SETTINGS)), **GITHUB, **settings_of(hosts()[host])}, machine) == []


def test_placeholders_are_refused_with_their_fix() -> None:
    found = problems({**uncommented(SETTINGS), "hub_github_client_secret": uncommented(VAULT)[VAULTED_SECRET]})
    assert {each.partition(":")[0] for each in found if "is still a placeholder" in each} >= {
        "hub_github_client_id",
        "hub_github_client_secret",
        "hub_admin_users[0]",
        "jupyterhub_url",
    }


def blocks() -> list[Any]:
    pages = [PROJECT / "docs/how-to" / name for name in ("github.md", "other-logins.md")]
    found = [block for page in pages for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S)]
    return [pytest.param(yaml.safe_load(block), id=block.partition("\n")[0]) for block in found]


@pytest.mark.parametrize("settings", blocks())
def test_preflight_accepts_what_the_pages_on_logins_show(settings: dict[str, Any]) -> None:
    login = settings.get("hub_authenticator", "github")
    # Settings shown earlier on that page.
    before = GITHUB if login == "github" else {name: GITHUB[name] for name in ("jupyterhub_url", "ingress_mode")}
    assert problems({**before, **settings_of(settings)}) == []


def test_git_ignores_the_files_made_from_them() -> None:
    names = [str(INVENTORY), str(SETTINGS), str(VAULT), ".vault-password"]
    ignored = subprocess.run(["git", "check-ignore", *names], cwd=PROJECT, capture_output=True, text=True)
    assert ignored.stdout.split() == names
