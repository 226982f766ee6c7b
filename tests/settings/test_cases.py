"""Every invalid setting and every unsuitable machine gets its message, and nothing else is reported."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from project import ROLES

from plugins.module_utils.rules.check import DEFAULT, SECRET_NAME, Settings
from plugins.module_utils.rules.problems import message
from plugins.module_utils.rules.tables import addresses
from plugins.plugin_utils.preflight import host, report, specs

CASES = yaml.safe_load(Path(__file__).with_name("cases.yml").read_text())
SPECS = specs.load(ROLES, lambda path: yaml.safe_load(path.read_text()))
# Defaults that are expressions, as Ansible would evaluate them.
DEFAULTS = {**SPECS.defaults, "jupyterhub_root": "/srv/jupyterhub"}
KEY = "d2c9e4b07f6a1853c0e7f4a9b86d213590fe8c7ba61d04e2937f5c8b1a6e0d43"
TRY_IT = {"hub_authenticator": "shared-password"}
GITHUB: dict[str, Any] = {
    "hub_authenticator": "github",
    "hub_github_client_id": "Ov23liGq0Zb1yTtRkPw7",
    "hub_github_client_secret": "9f2c71d0b54e8a6637c1e0d4f8b2a95d13c6e7f0",
    "hub_admin_users": ["octocat"],
    "jupyterhub_url": "https://hub.team.dev",
    "ingress_mode": "proxy",
}
GOOGLE: dict[str, Any] = {
    "hub_authenticator": "google",
    "hub_traits": {
        "OAuthenticator": {"client_id": "1234567890-abc.apps.googleusercontent.com"},
        "GoogleOAuthenticator": {"client_secret": "GOCSPX-9f2c71d0b54e8a6637c1e0", "hosted_domain": ["team.dev"]},
    },
    "hub_admin_users": ["mona"],
    "jupyterhub_url": "https://hub.team.dev",
    "ingress_mode": "proxy",
}
# The same with the Hub's own HTTPS.
CADDY = {**GITHUB, "ingress_mode": "caddy"}
BASES = {"set": TRY_IT, "github": GITHUB, "google": GOOGLE, "caddy": CADDY}
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
        "processors": 4,
        "disks": {"/var/lib/docker": 50_000, "/srv/jupyterhub": 50_000},
        "absent_folders": [],
        "unusable_folders": {},
        "nvidia_hook": True,
        "address_is_local": True,
        "resolves_to": ["192.0.2.10"],
        "resolves_elsewhere": [],
        "absent_files": [],
        "certificate_problem": "",
        "has_ingress": False,
        "has_coolify": False,
        "has_scheduler": True,
        "foreign_units": [],
        "has_other_key": False,
        "listeners": [],
        "networks": [{"network": "192.0.2.0/24", "interface": "eth0"}],
        "publishers": [],
        "name_conflicts": [],
        "foreign_containers": [],
        "bridge_holder": "",
        "foreign_root": "",
        "own_networks": {},
        "servers_running": False,
        "deployed": False,
    },
    engine={
        "version": "20.10.24+dfsg1",
        "rootless": False,
        "snap": False,
        "userns_remap": False,
        "podman": False,
        "ours": True,
        "live_restore": True,
        "rules": True,
        "rules_off": False,
        "root_dir": "/var/lib/docker",
        "running": True,
        "mtu": None,
        "route_mtu": 1500,
    },
)


def machine(changes: Mapping[str, Any]) -> host.Host:
    """Return the good machine with some of its facts, report or engine changed."""
    parts = {"facts": GOOD.facts, "report": GOOD.report, "engine": GOOD.engine}
    for key, value in changes.items():
        part = next(name for name, content in parts.items() if key in content)
        parts[part] = {**parts[part], key: {**GOOD.report["disks"], **value} if key == "disks" else value}
    return replace(GOOD, **parts)


def problems(
    values: Mapping[str, Any], changes: Mapping[str, Any] | None = None, exposed: Mapping[str, str] | None = None
) -> list[str]:
    """Return the problems that are reported for settings on top of the defaults."""
    settings = Settings(
        {name: value for name, value in {**DEFAULTS, **values}.items() if name in SPECS.options},
        set(values),
        is_secret=lambda name: name.endswith(("_password", "_secret", "_key", "_token")),
        exposed=exposed or {},
        context={"playbook_dir": "/project/playbooks"},
    )
    found, good = report.check_settings(SPECS, settings)
    return [str(each) for each in (*found, *report.check_host(machine(changes or {}), settings, good))]


def title(case: Mapping[str, Any]) -> str:
    return str(case["says"][0])[:60]


@pytest.mark.parametrize("case", CASES, ids=title)
def test_an_invalid_case_gets_its_message(case: Mapping[str, Any]) -> None:
    base = next((each for each in BASES if each in case), "set")
    bad = case.get(base, {})
    settings = {**BASES[base], **bad}
    found = problems(
        {name: value for name, value in settings.items() if value != "unset"}, case.get("machine"), case.get("exposed")
    )
    text = "\n".join(found)
    for part in case["says"]:
        assert part in text
    # Some invalid values affect two settings; `says` then begins with both names.
    expected = {part.split(":")[0] for part in case["says"] if part.partition(":")[0] in bad}
    assert len(found) == max(1, len(expected)), text
    for part in case.get("never", []):
        assert part not in text


@pytest.mark.parametrize("settings", BASES.values(), ids=BASES)
def test_minimal_settings_on_a_good_machine_are_accepted(settings: Mapping[str, Any]) -> None:
    assert problems(settings) == []


def test_with_defaults_only_everything_missing_is_reported_at_once() -> None:
    found = problems({})
    assert [each.split(":")[0] for each in found] == [
        "hub_github_client_id",
        "hub_github_client_secret",
        "access",
    ]
    assert "callback URL http://127.0.0.1:8000/hub/oauth_callback" in found[0]


def test_intended_settings_are_accepted() -> None:
    meant = {
        **TRY_IT,
        "jupyterhub_address": "127.0.0.2",
        "hub_server_cpus": 1.5,
        "hub_user_password": "a-password-long-enough",
        "hub_admin_password": "another-password-of-36-characters---",
        "hub_crypt_key": f"{KEY}\n{KEY[::-1]}\n",
        "hub_volume_name_template": "jhub-user-{username}-{servername}",
        "hub_server_environment": {"UV_INDEX": "https://mirror.example/simple"},
        "hub_traits": {
            "JupyterHub": {
                "log_level": 10,
                "active_server_limit": 20,
                "default_url": "/hub/home",
                "load_roles": [{}],
                "token_expires_in_max_seconds": 43200,
            },
            "Spawner": {"poll_interval": 60, "args": ["--debug"]},
            "DockerSpawner": {
                "extra_host_config": {
                    "shm_size": "1g",
                    "ulimits": [{"name": "nofile", "soft": 4096, "hard": 4096}],
                    "dns": ["192.0.2.53"],
                    "device_requests": [{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}],
                    "devices": ["/dev/dri"],
                    "runtime": "nvidia",
                },
                "extra_create_kwargs": {"hostname": "lab", "user": "1000:100"},
                "volumes": {
                    "team-{username}": "/team",
                    "jupyterhub-shared": "/shared",
                    "/srv/data": {"bind": "/data", "mode": "ro"},
                },
                "client_kwargs": {"timeout": 120},
            },
            "MySpawner": {"whatever": None},
        },
        "docker_daemon_settings": {
            "registry-mirrors": [],
            "live-restore": None,
            "hosts": ["fd://", "tcp://192.0.2.7:2376"],
            **{"tlsverify": True, "tlscacert": "/ca.pem", "tlscert": "/cert.pem", "tlskey": "/key.pem"},
            "insecure-registries": ["registry.team.dev:5000", "10.0.0.0/8", "fc00::/7"],
            "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1400"}},
            "default-runtime": "nvidia",
            "group": "docker",
            "icc": False,
            "userland-proxy": False,
            "iptables": True,
        },
        "network_users_subnet": "192.168.16.0/20",
        "vault_hub_admin_password": "x",
        "my_own_variable": "x",
    }
    assert problems(meant) == []


def test_intended_access_is_accepted() -> None:
    meant: dict[str, Any] = {
        "hub_github_url": "https://github.team.dev:8443",
        "hub_github_callback_url": "https://hub.team.dev/hub/oauth_callback",
        "hub_github_allowed_organizations": ["octo-org", "password"],
        "hub_github_allowed_teams": ["octo-org:data-science", "Octo-Org:a_b"],
        "hub_github_admin_teams": ["octo-org:admins"],
        "hub_allowed_users": ["a-b", "octocat", "mona_octo"],
        "hub_blocked_users": ["mallory"],
        "hub_traits": {"GitHubOAuthenticator": {"login_service": "GitHub of the team"}},
    }
    assert problems({**GITHUB, **meant}) == []
    assert problems({**GITHUB, "hub_allow_all": True}) == []
    # Through a tunnel, and behind an HTTPS proxy on another machine.
    tunnel = {name: value for name, value in GITHUB.items() if name not in ("jupyterhub_url", "ingress_mode")}
    assert problems(tunnel) == []
    elsewhere = {"jupyterhub_address": "0.0.0.0", "ingress_trusted_proxies": ["192.0.2.7", "10.0.0.0/24", "fd00::/64"]}
    assert problems({**GITHUB, **elsewhere}) == []


def test_intended_ingress_is_accepted() -> None:
    own = {"certificate_file": "/etc/ssl/hub.pem", "key_file": "/etc/ssl/hub.key"}
    per_user = {"JupyterHub": {"subdomain_host": "https://hub.team.dev"}}
    assert problems({**CADDY, "ingress_caddy": {"email": "ann@team.dev", "staging": True}}) == []
    assert (
        problems({**CADDY, "ingress_caddy": {"directory_url": "https://ca.team.dev/acme", "ca_file": "/ca.pem"}}) == []
    )
    assert problems({**CADDY, "ingress_caddy": own, "hub_traits": per_user}, {"resolves_to": []}) == []
    assert problems({**CADDY, "ingress_caddy": own, "jupyterhub_url": "https://hub"}) == []
    # Another program may use the port that other modes would need.
    taken = {"listeners": [{"port": "8000/tcp", "address": "127.0.0.1", "program": "nginx"}]}
    assert problems(CADDY, taken) == []
    assert problems({**CADDY, "ingress_mode": "coolify"}, {"has_coolify": True}) == []


@pytest.mark.parametrize(
    ("plan", "credentials"),
    [
        ({"repository": "/mnt/backup/hub"}, {}),
        ({"repository": "/backups/hub", "schedule": "23:59", "key_is_kept": True, "keep": {"hourly": 24}}, {}),
        ({"repository": "/mnt/hub", "schedule": "hourly", "key_is_kept": True, "keep": {}}, {}),
        ({"repository": "/var/backups/hub", "append_only": True}, {}),
        ({"repository": "sftp:hub@store.team.dev:hub"}, {"SSH_KEY": "-----BEGIN", "SSH_KNOWN_HOSTS": "store ssh-x y"}),
        ({"repository": "sftp://hub@store.team.dev:2222//hub"}, {"SSH_KEY": "k", "SSH_KNOWN_HOSTS": "store ssh-x y"}),
        ({"repository": "s3:https://s3.team.dev/hub"}, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}),
        ({"repository": "rest:http://10.0.0.7:8000/hub/"}, {"RESTIC_REST_USERNAME": "a", "RESTIC_REST_PASSWORD": "b"}),
        ({"repository": "rest:https://store.team.dev/"}, {}),
    ],
)
def test_intended_backups_are_accepted(plan: dict[str, Any], credentials: dict[str, str]) -> None:
    meant = {"backup_plan": plan, "backup_credentials": credentials, "backup_password": KEY}
    assert problems({**TRY_IT, **meant}) == []


def test_a_name_that_resolves_elsewhere_is_a_warning() -> None:
    [warning] = host.warnings(machine({"resolves_elsewhere": ["2001:db8::7"]}), CADDY)
    assert "resolves to 2001:db8::7, which is not an address of the machine" in warning
    assert host.warnings(GOOD, CADDY) == []
    assert host.warnings(machine({"resolves_elsewhere": ["2001:db8::7"]}), GITHUB) == []
    [warning] = host.warnings(GOOD, {**CADDY, "ingress_trusted_proxies": ["10.0.0.1"]})
    assert "ingress_trusted_proxies only applies with ingress_mode: proxy, but ingress_mode is caddy" in warning


@pytest.mark.parametrize("name", ["google", "azuread", "team.okpy.OkpyOAuthenticator", "a.B"])
def test_other_authenticators_are_accepted(name: str) -> None:
    theirs = {"OAuthenticator": {"client_id": "hub", "client_secret": KEY, "allowed_groups": ["data"]}}
    meant = {"hub_authenticator": name, "hub_traits": theirs, "hub_admin_users": ["mona@team.dev"]}
    assert problems(meant) == []


def test_the_right_callback_url_is_accepted() -> None:
    right = {"oauth_callback_url": f"{GITHUB['jupyterhub_url']}/hub/oauth_callback"}
    assert problems({**GITHUB, "hub_traits": {"OAuthenticator": right}}) == []


def test_an_http_port_open_to_everyone_is_a_warning() -> None:
    [warning] = addresses.warnings({**DEFAULTS, **GITHUB, "jupyterhub_address": "0.0.0.0"})
    assert "opens port 8000 to everyone" in warning
    assert addresses.warnings({**DEFAULTS, **GITHUB}) == []
    assert addresses.warnings({**DEFAULTS, **GITHUB, "jupyterhub_address": None}) == []


def test_the_operators_own_class_may_have_a_similar_name() -> None:
    meant = {"hub_authenticator": "team.MyGitLabOAuthenticator", "hub_admin_users": ["mona"]}
    traits = {
        "JupyterHub": {"spawner_class": "team.DockerSpawner2"},
        "DockerSpawner2": {"whatever": 1},
        "MyGitLabOAuthenticator": {"whatever": 1},
    }
    assert problems({**meant, "hub_traits": traits}) == []


def test_a_trait_of_the_class_may_allow_users() -> None:
    groups = {"AzureAdOAuthenticator": {"manage_groups": True, "admin_groups": ["admins"]}}
    known = {"OAuthenticator": {"client_id": "hub", "client_secret": KEY}}
    assert problems({"hub_authenticator": "azuread", "hub_traits": {**groups, **known}}) == []


def test_the_operators_own_variable_may_have_another_projects_name() -> None:
    assert problems({**GITHUB, "github_client_id": "x"}) == []


def test_a_variable_with_a_foreign_name_is_reported_if_the_setting_has_its_default() -> None:
    values = {**DEFAULTS, **GITHUB, "ALLOWED_GITHUB_ORGS": ["octo-org"]}
    settings = Settings(
        {name: value for name, value in values.items() if name in SPECS.options},
        set(values),
        where=lambda name: "" if name in GITHUB or name not in SPECS.options else DEFAULT,
        context={"playbook_dir": "/project/playbooks"},
    )
    [problem] = report.check_settings(SPECS, settings)[0]
    assert "ALLOWED_GITHUB_ORGS: is called hub_github_allowed_organizations here" in str(problem)


@pytest.mark.parametrize("name", [name for name in SPECS.options if SECRET_NAME.search(name)])
def test_every_secret_is_checked_for_weakness_and_placeholders(name: str) -> None:
    base = GITHUB if "github" in name else TRY_IT
    for value in ("changeme", "ab" * 40):
        found = problems({**base, name: value})
        assert [each.split(":")[0] for each in found][:1] == [name]
        assert value not in "".join(found)


def test_our_own_proxy_may_use_the_port() -> None:
    held = {
        "listeners": [{"port": "8000/tcp", "address": "127.0.0.1", "program": "docker-proxy"}],
        "publishers": [{"port": "8000/tcp", "name": "jupyterhub-proxy", "addresses": ["127.0.0.1"], "ours": True}],
        "networks": [{"network": "10.213.0.0/20", "interface": "br-jupyterhub"}],
    }
    assert problems(TRY_IT, held) == []


def test_a_listener_on_another_address_is_accepted() -> None:
    assert problems(TRY_IT, {"listeners": [{"port": "8000/tcp", "address": "192.0.2.7", "program": "nginx"}]}) == []


def test_ubuntu_is_a_warning_only() -> None:
    ubuntu = {"distribution": "Ubuntu", "distribution_version": "24.04"}
    assert problems(TRY_IT, ubuntu) == []
    assert host.warnings(machine(ubuntu), TRY_IT) == [
        "Ubuntu 24.04 is expected to work but is not tested; Debian 12 and 13 are"
    ]
    assert host.warnings(GOOD, TRY_IT) == []


def test_several_problems_are_one_numbered_message() -> None:
    settings = Settings(
        {**DEFAULTS, **TRY_IT, "jupyterhub_port": "x", "hub_server_pids": datetime.date(2026, 1, 1)},
        {"hub_pids"},
        where=lambda name: "group_vars/prod.yml, line 3" if name == "jupyterhub_port" else "",
    )
    text = message(report.check_settings(SPECS, settings)[0])
    assert text.startswith("3 problems were found, nothing was changed:\n1. ")
    assert (
        'jupyterhub_port (group_vars/prod.yml, line 3): must be a whole number, but is a string: "x"\n   Fix: ' in text
    )
    assert "hub_server_pids: must be a whole number, but is a date" in text


@pytest.mark.parametrize("value", ["canary-" * 20, 'quo"ted\\canary', "canary"])
def test_a_secret_setting_never_shows_its_value(value: str) -> None:
    settings = Settings({**DEFAULTS, "jupyterhub_address": value}, is_secret=lambda name: name == "jupyterhub_address")
    text = message(report.check_settings(SPECS, settings)[0])
    assert "jupyterhub_address: is not an IP address" in text
    assert "canary" not in text


def test_a_secret_of_the_wrong_type_is_not_shown_in_part_either() -> None:
    assert problems({**TRY_IT, "hub_user_password": ["x" * 50 + "canary" * 9]}) == [
        "hub_user_password: must be a string, but is a list\n   Fix: put it in quotes"
    ]


def test_passwords_in_addresses_are_not_shown() -> None:
    assert "canary" not in "".join(problems({"images_environments": "https://user:canary@index.example/simple"}))
