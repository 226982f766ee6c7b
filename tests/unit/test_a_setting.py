"""Every setting of the Hub is in all the places that CONTRIBUTING lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jupyterhub_ansible.rules import secrets, specs
from jupyterhub_ansible.rules.trait_table import ROWS
from jupyterhub_ansible.settings.model import OF_THE_DEPLOYMENT, Settings
from project import IMAGES, PROJECT, ROLES

from bin import reference

SECRETS = [each.setting for each in secrets.SECRETS]
SETTINGS = [name for name in specs.of_the_hub().options if name not in SECRETS]
PACKAGE = IMAGES / "hub/jupyterhub_ansible"


def texts(*patterns: str, root: Path = PROJECT) -> str:
    return "\n".join(path.read_text() for pattern in patterns for path in sorted(root.glob(pattern)))


CODE = texts("**/*.py", root=PACKAGE) + (IMAGES / "hub/jupyterhub_config.py").read_text()
DOCS = texts("README.md", "docs/*.md", "docs/how-to/*.md")
CASES = (PROJECT / "tests/settings/cases.yml").read_text()
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()


def test_the_hub_s_copy_of_the_specs_is_fresh() -> None:
    assert specs.TABLE.read_text() == reference.of_the_hub(), "run: make docs"


def test_the_model_has_every_setting() -> None:
    assert {*Settings.model_fields} - {*OF_THE_DEPLOYMENT} == {*SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_hub_uses_it(name: str) -> None:
    used = any(row.setting == name for row in ROWS) or re.search(rf"settings\.{name}\b", CODE)
    assert used, f"{name}: neither rules/trait_table.py nor other code reads it"


@pytest.mark.parametrize("name", [*SETTINGS, *SECRETS])
def test_a_case_shows_an_invalid_value(name: str) -> None:
    assert re.search(rf"\b{name}\b", CASES), f"{name}: no row of tests/settings/cases.yml"


@pytest.mark.parametrize("name", SETTINGS)
def test_documentation_says_when_it_is_needed(name: str) -> None:
    assert re.search(rf"\b{name}\b", DOCS), f"{name}: neither README.md nor docs/ but for the reference"


def test_every_row_has_a_setting() -> None:
    assert {row.setting for row in ROWS} <= {*SETTINGS}


def test_secrets_are_those_of_the_role() -> None:
    role = yaml.safe_load((ROLES / "hub/vars/main.yml").read_text())
    kept = {None: role["__hub_secrets_always"], **role["__hub_secrets_of_authenticator"]}
    assert {(each.login or None, each.file) for each in secrets.SECRETS} == {
        (login, file) for login, files in kept.items() for file in files
    }
    rotated = yaml.safe_load((PROJECT / "playbooks/rotate.yml").read_text())[0]["vars"]["rotate_secrets"]
    assert {each.file: each.setting for each in secrets.SECRETS if not each.required} == {
        file: each["setting"] for file, each in rotated.items()
    }


def test_contributing_lists_the_places() -> None:
    part = CONTRIBUTING.partition("## A new setting of the Hub")[2].partition("\n## ")[0]
    places = re.findall(r"^\d\. `([^`]+)`", part, re.MULTILINE)
    assert len(places) == 6
    for place in places:
        assert (PROJECT / place).exists(), place
