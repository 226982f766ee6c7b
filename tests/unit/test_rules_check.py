"""How a value of another type is written, by the place where it was set."""

from __future__ import annotations

import pytest
from jupyterhub_ansible.rules.check import INI_HINT, TYPED_HINT, Settings
from jupyterhub_ansible.rules.problems import Finding


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("CLI option '-e'", TYPED_HINT),
        ("inventory/hosts.ini, line 3", INI_HINT),
        ("/etc/ansible/hosts, line 3", INI_HINT),
        ("inventory/production.yml, line 3", ""),
        ("group_vars/all/settings.yaml, line 3", ""),
        ("inventory/group_vars/all, line 3", ""),
        ("hub.json", ""),
        ("JUPYTERHUB_SETTINGS", ""),
        ("", ""),
    ],
)
def test_how_a_type_is_written(where: str, hint: str) -> None:
    settings = Settings({}, where=lambda name: where)
    wrong = Finding('must be true or false, but is a string: "yes"', "write true or false, without quotes")
    assert settings.problem(wrong, "hub_allow_all").fix == f"write true or false, without quotes{hint}"
    assert settings.problem(Finding("is empty", "remove it"), "hub_allow_all").fix == "remove it"
