"""Every bad setting and every unfit machine gets its message, and nothing else is complained about."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from preflight_checks import host, report, specs
from preflight_checks.problems import message
from rolefile import ROLES

CASES = yaml.safe_load(Path(__file__).with_name("cases.yml").read_text())
SPECS = specs.load(ROLES, lambda path: yaml.safe_load(path.read_text()))
# What Ansible would make of the defaults that are expressions.
DEFAULTS = {**SPECS.defaults, "jupyterhub_root": "/srv/jupyterhub"}
GOOD = host.Host(
    facts={
        "distribution": "Debian",
        "distribution_major_version": "12",
        "distribution_version": "12.11",
        "architecture": "x86_64",
    },
    report={
        "euid": 0,
        "memory_mb": 8000,
        "disks": {"/var/lib/docker": 50_000, "/srv/jupyterhub": 50_000},
        "address_is_local": True,
        "listeners": [],
        "networks": [{"network": "192.0.2.0/24", "interface": "eth0"}],
        "publishers": [],
        "strangers": [],
        "guests": [],
        "bridge_holder": "",
        "foreign_root": "",
        "deployed": False,
    },
    engine={
        "version": "20.10.24+dfsg1",
        "rootless": False,
        "snap": False,
        "userns_remap": False,
        "podman": False,
        "ours": True,
        "root_dir": "/var/lib/docker",
    },
)


def machine(changes: Mapping[str, Any]) -> host.Host:
    """Return the good machine with some of its facts, reports or engine's traits changed."""
    parts = {"facts": GOOD.facts, "report": GOOD.report, "engine": GOOD.engine}
    for key, value in changes.items():
        part = next(name for name, content in parts.items() if key in content)
        parts[part] = {**parts[part], key: {**GOOD.report["disks"], **value} if key == "disks" else value}
    return replace(GOOD, **parts)


def problems(values: Mapping[str, Any], changes: Mapping[str, Any] | None = None) -> list[str]:
    settings = report.Settings(
        {name: value for name, value in {**DEFAULTS, **values}.items() if name in SPECS.options},
        set(values),
        is_secret=lambda name: name.endswith(("_password", "_secret", "_key", "_token")),
        context={"playbook_dir": "/project/playbooks"},
    )
    found, good = report.check_settings(SPECS, settings)
    return [str(each) for each in (*found, *report.check_host(machine(changes or {}), settings, good))]


def title(case: Mapping[str, Any]) -> str:
    return str(case["says"][0])[:60]


@pytest.mark.parametrize("case", CASES, ids=title)
def test_a_bad_thing_gets_its_message(case: Mapping[str, Any]) -> None:
    found = problems(case.get("set", {}), case.get("machine"))
    text = "\n".join(found)
    for part in case["says"]:
        assert part in text
    # Some bad values break two settings; `says` then begins with both names.
    expected = {part.split(":")[0] for part in case["says"] if part.partition(":")[0] in case.get("set", {})}
    assert len(found) == max(1, len(expected)), text
    for part in case.get("never", []):
        assert part not in text


def test_the_defaults_on_a_good_machine_are_no_problem() -> None:
    assert problems({}) == []


def test_settings_that_are_meant_are_no_problem() -> None:
    meant = {
        "jupyterhub_address": "127.0.0.2",
        "hub_server_cpus": 1.5,
        "hub_user_password": "a-password-long-enough",
        "hub_admin_password": "another-password-of-36-characters---",
        "hub_crypt_key": "0123456789abcdef" * 4,
        "hub_volume_name_template": "jhub-user-{username}-{servername}",
        "hub_server_environment": {"UV_INDEX": "https://mirror.example/simple"},
        "hub_traits": {"JupyterHub": {"log_level": 10, "tags": ["a", None, True, 1.5]}},
        "docker_daemon_settings": {"registry-mirrors": [], "live-restore": None},
        "proxy_users_subnet": "192.168.16.0/20",
        "vault_hub_admin_password": "x",
        "my_own_variable": "x",
    }
    assert problems(meant) == []


def test_our_own_proxy_may_hold_the_port() -> None:
    held = {
        "listeners": [{"address": "127.0.0.1", "program": "docker-proxy"}],
        "publishers": [{"name": "jupyterhub-proxy", "addresses": ["127.0.0.1"], "ours": True}],
        "networks": [{"network": "10.213.0.0/20", "interface": "br-jupyterhub"}],
    }
    assert problems({}, held) == []


def test_a_listener_on_another_address_is_no_problem() -> None:
    assert problems({}, {"listeners": [{"address": "192.0.2.7", "program": "nginx"}]}) == []


def test_ubuntu_is_a_warning_only() -> None:
    ubuntu = {"distribution": "Ubuntu", "distribution_version": "24.04"}
    assert problems({}, ubuntu) == []
    assert host.warnings(machine(ubuntu)) == [
        "Ubuntu 24.04 is expected to work but is not tested; Debian 12 and 13 are"
    ]
    assert host.warnings(GOOD) == []


def test_several_problems_come_in_one_numbered_message() -> None:
    settings = report.Settings(
        {**DEFAULTS, "jupyterhub_port": "x", "hub_server_pids": datetime.date(2026, 1, 1)},
        {"hub_pids"},
        where=lambda name: "group_vars/prod.yml, line 3" if name == "jupyterhub_port" else "",
    )
    text = message(report.check_settings(SPECS, settings)[0])
    assert text.startswith("3 problems were found, nothing was changed:\n1. ")
    assert 'jupyterhub_port (group_vars/prod.yml, line 3): must be a whole number, but is a text: "x"\n   Fix: ' in text
    assert "hub_server_pids: must be a whole number, but is a date" in text


@pytest.mark.parametrize("value", ["canary-" * 20, 'quo"ted\\canary', "canary"])
def test_a_secret_setting_never_shows_its_value(value: str) -> None:
    settings = report.Settings(
        {**DEFAULTS, "jupyterhub_address": value}, is_secret=lambda name: name == "jupyterhub_address"
    )
    text = message(report.check_settings(SPECS, settings)[0])
    assert "jupyterhub_address: is not an IP address" in text
    assert "canary" not in text


def test_a_secret_of_the_wrong_type_is_not_shown_in_part_either() -> None:
    assert problems({"hub_user_password": ["x" * 50 + "canary" * 9]}) == [
        "hub_user_password: must be a text, but is a list\n   Fix: put it in quotes"
    ]


def test_passwords_in_addresses_are_not_shown() -> None:
    assert "canary" not in "".join(problems({"images_environments": "https://user:canary@index.example/simple"}))
