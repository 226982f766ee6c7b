"""hub.json and the secret files: what is accepted, and what each mistake is told."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from example_secrets import secret
from jupyterhub_ansible.settings.check import EXAMPLE, GITHUB
from jupyterhub_ansible.settings.model import SettingsError, load, load_settings
from jupyterhub_ansible.settings.secrets import SecretsError, load_secrets

from plugins.plugin_utils.preflight.rules import missing
from plugins.plugin_utils.preflight.rules import secrets as preflight_secrets


def complaint(hub_files: Path, where: str, value: Any) -> str:
    """What is said of the example with `value` at the dotted place `where`; `...` takes the key away."""
    settings = copy.deepcopy(EXAMPLE)
    *parents, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    section: Any = settings
    for part in parents:
        section = section[part]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    (hub_files / "hub.json").write_text(json.dumps(settings))
    try:
        load_settings(hub_files / "hub.json")
    except SettingsError as error:
        return str(error)
    return ""


def test_the_example_loads(hub_files: Path) -> None:
    settings, secrets = load()
    assert settings.server.memory_mb == EXAMPLE["server"]["memory_mb"]
    assert secrets.cookie_secret.hex() == secret(0)
    assert secrets.admin_password == secret(4)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("server.memory_mb", "2048", "hub.json: server.memory_mb: Input should be a valid integer"),
        ("server.memory_mb", True, "hub.json: server.memory_mb: Input should be a valid integer"),
        ("server.memory_mb", 0, "hub.json: server.memory_mb: Input should be greater than or equal to 128"),
        ("server.memory_mb", ..., "hub.json: server.memory_mb: is missing"),
        ("server.memmory_mb", 1, "hub.json: server.memmory_mb: is not a known setting"),
        ("hubb", {}, "hub.json: hubb: is not a known setting"),
        ("name", "Hub", "hub.json: name: String should match pattern"),
        ("name", "a-user-b", "hub.json: name: must not contain the word -user"),
        ("public.address", "everywhere", "hub.json: public.address: must be an IP address"),
        ("public.address", "0.0.0.0", "hub.json: authenticator: shared-password is for a loopback"),
        ("public.port", 70000, "hub.json: public.port: Input should be less than or equal to 65535"),
        ("public.url", "hub.example.org", "hub.json: public.url: String should match pattern"),
        ("authenticator", "github", "hub.json: github: is there if authenticator is github, and only then"),
        ("authenticator", "dummy", 'hub.json: authenticator: "dummy" lets anybody in'),
        ("authenticator", "jupyterhub.auth.DummyAuthenticator", 'hub.json: authenticator: "jupyterhub.auth.Dummy'),
        ("github", GITHUB, "hub.json: github: is there if authenticator is github, and only then"),
        ("github", {**GITHUB, "secret": "x"}, "hub.json: github.secret: is not a known setting"),
        ("github", {**GITHUB, "allowed_teams": ["a"]}, "hub.json: github.allowed_teams.0: String should match"),
        ("access.admin_users", "ann", "hub.json: access.admin_users: Input should be a valid"),
        ("environments", [], "hub.json: environments: at least one is needed"),
        ("environments", EXAMPLE["environments"] * 2, "hub.json: environments: the slug base is there more"),
        ("environments.0.slug", "Base", "hub.json: environments.0.slug: String should match pattern"),
        ("environments.0.home", "{x}", "hub.json: environments.0.home: String should match pattern"),
        (
            "environments.0.sizes.0.memory_mb",
            "1G",
            "hub.json: environments.0.sizes.0.memory_mb: Input should be a valid",
        ),
        (
            "environments.0.sizes.0.cpus",
            0,
            "hub.json: environments.0.sizes.0.cpus: Input should be greater than or",
        ),
        (
            "environments.0.sizes",
            EXAMPLE["environments"][0]["sizes"] * 2,
            "hub.json: environments.0: sizes: the slug small",
        ),
        ("environments.0.mounts.0.source", "../x", "hub.json: environments.0.mounts.0.source: String should match"),
        ("environments.0.mounts.0.target", "/home/jovyan", "hub.json: environments.0: mounts: /home/jovyan is mounted"),
        (
            "environments.0.environment",
            {"JUPYTERHUB_USER": "x"},
            "hub.json: environments.0.environment.JUPYTERHUB_USER.[key]:",
        ),
        (
            "environments.0.environment",
            {"A": 1},
            "hub.json: environments.0.environment.A: Input should be a valid string",
        ),
        ("environments.0.gpus", -2, "hub.json: environments.0.gpus: Input should be greater than or equal to -1"),
        ("environments.0.groups", "staff", "hub.json: environments.0.groups: Input should be a valid"),
        ("free_images", {"staff": ["*"]}, "hub.json: free_images.staff.0: String should match pattern"),
        ("free_images", {"staff": ["*.io/x"]}, "hub.json: free_images.staff.0: String should match pattern"),
        ("free_images", ["x"], "hub.json: free_images: Input should be an object"),
        ("environments.0.idle_timeout_s", 59, "hub.json: environments.0.idle_timeout_s: must be 0 or at least 60"),
        ("culling.idle_timeout_s", 59, "hub.json: culling.idle_timeout_s: must be 0 or at least 60"),
        ("tokens.max_age_days", -1, "hub.json: tokens.max_age_days: Input should be greater than or equal to 0"),
        ("tokens.max_age_days", 3651, "hub.json: tokens.max_age_days: Input should be less than or equal to 3650"),
        ("culling.max_age_s", -1, "hub.json: culling.max_age_s: Input should be greater than or equal to 0"),
        ("culling", ..., "hub.json: culling: is missing"),
        ("default_environment", "gone", "hub.json: default_environment: must be one of base"),
        ("server.tmp_mb", 0, "hub.json: server.tmp_mb: Input should be greater than or equal to 16"),
        ("server.running_limit", -1, "hub.json: server.running_limit: Input should be greater than or equal"),
        ("reserve_memory_mb", -1, "hub.json: reserve_memory_mb: Input should be greater than or equal"),
        ("deleted_homes", "archiv", "hub.json: deleted_homes: Input should be 'keep', 'archive' or 'remove'"),
        ("named_servers.limit", -1, "hub.json: named_servers.limit: Input should be greater than or equal"),
        ("traits", {"Spawner": 1}, "hub.json: traits.Spawner: Input should be an object"),
        ("traits", {"Spawner.x": {}}, "hub.json: traits.Spawner.x.[key]: String should match pattern"),
        ("volume_name_template", "{user}", "hub.json: volume_name_template: unknown {user}"),
        ("volume_name_template", "home", "hub.json: volume_name_template: needs {username}"),
        ("volume_name_template", "{username", "hub.json: volume_name_template: is no template"),
        ("volume_name_template", "{username!r}{servername}", "hub.json: volume_name_template: fields are"),
        ("volume_name_template", "{username.x}", "hub.json: volume_name_template: unknown {username.x}"),
        ("volume_name_template", "u-{username}", "hub.json: volume_name_template: needs {servername} if"),
    ],
)
def test_a_mistake_is_told_in_one_line(hub_files: Path, where: str, value: Any, message: str) -> None:
    told = complaint(hub_files, where, value)
    assert told.startswith(message)
    assert told.count("\n") == 0


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("public.address", "::1"),
        ("server.cpus", 0.5),
        ("server.tmp_mb", 100),
        ("deleted_homes", "archive"),
        ("volume_name_template", "jhub-user-{username}-{servername}"),
        ("traits", {"DockerSpawner": {"extra_host_config": {"shm_size": "1g"}}}),
        ("environments.0.sizes", []),
        ("environments.0.mounts", ...),
        ("free_images", ...),
        ("free_images", {"staff": ["ghcr.io/acme/*", "python:*", "host:5000/*/x@*"]}),
    ],
)
def test_accepted(hub_files: Path, where: str, value: Any) -> None:
    assert complaint(hub_files, where, value) == ""


def test_groups_of_github_are_in_small_letters(hub_files: Path) -> None:
    """They are never met otherwise: nobody could use the environment."""
    github = {"authenticator": "github", "github": GITHUB}
    for changed in ({"groups": ["Acme:data"]}, {"free_images": {"Acme:data": ["x"]}}):
        settings = copy.deepcopy({**EXAMPLE, **github})
        if "groups" in changed:
            settings["environments"][0].update(changed)
        else:
            settings.update(changed)
        (hub_files / "hub.json").write_text(json.dumps(settings))
        with pytest.raises(SettingsError, match="nobody is in Acme:data: GitHub's groups are in small letters"):
            load_settings(hub_files / "hub.json")


def test_no_value_is_told(hub_files: Path) -> None:
    for where, value in {
        "traits": {"Spawner": "s3cret"},
        "server.environment": {"KEY": ["s3cret"]},
        "environments.0.environment": {"KEY": ["s3cret"]},
    }.items():
        told = complaint(hub_files, where, value)
        assert told
        assert "s3cret" not in told


def test_all_problems_at_once(hub_files: Path) -> None:
    (hub_files / "hub.json").write_text("{")
    (hub_files / "crypt_key").write_text("")
    (hub_files / "proxy_token").unlink()
    with pytest.raises(SettingsError) as error:
        load()
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["hub.json", "secret crypt_key", "secret proxy_token"]


def test_no_file(hub_files: Path) -> None:
    with pytest.raises(SettingsError, match=r"hub\.json: cannot read .*: No such file"):
        load(hub_files / "absent.json", hub_files)


@pytest.mark.parametrize(
    ("name", "text", "mode", "message"),
    [
        ("user_password", "", 0o600, "secret user_password: .* is empty"),
        ("user_password", secret(1), 0o604, "secret user_password: .* is open to every user"),
        ("user_password", "1234567", 0o600, "secret user_password: must have 8 characters or more"),
        ("user_password", secret(4), 0o600, "secret admin_password: must differ from user_password"),
        ("admin_password", "short", 0o600, "secret admin_password: must have 32 characters or more"),
        ("cookie_secret", "s3cret", 0o600, "secret cookie_secret: must be 64 hexadecimal digits"),
        ("crypt_key", "s3cret" * 12, 0o600, "secret crypt_key: must be 64 hexadecimal digits"),
    ],
)
def test_a_bad_secret(hub_files: Path, name: str, text: str, mode: int, message: str) -> None:
    (hub_files / name).write_text(text)
    (hub_files / name).chmod(mode)
    with pytest.raises(SecretsError, match=message) as error:
        load_secrets(hub_files, "shared-password")
    assert not text or text not in str(error.value)


PASSPHRASES = {
    "user_password": ("orbit lamp moss tin", "1234 Hühner", "my key to the lab", "a b c d e f g"),
    "admin_password": ("orbit lamp moss tin and one more password 123",),
}


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, them in PASSPHRASES.items() for each in them])
def test_what_preflight_takes_the_hub_takes(hub_files: Path, name: str, value: str) -> None:
    def told(text: str) -> list[Any]:
        return [
            each for rules in (preflight_secrets.rule, missing.rule) for each in rules.findings({f"hub_{name}": text})
        ]

    assert told("changeme")
    assert told(value) == []
    (hub_files / name).write_text(value)
    assert getattr(load_secrets(hub_files, "shared-password"), name) == value


def test_a_bad_secret_is_told_once(hub_files: Path) -> None:
    (hub_files / "crypt_key").write_text(f"{'ab' * 32}\n{'ab' * 32}\n")
    with pytest.raises(SecretsError) as error:
        load_secrets(hub_files, "shared-password")
    assert len(str(error.value).splitlines()) == 1


def test_secrets_are_not_shown(hub_files: Path) -> None:
    assert repr(load_secrets(hub_files, "shared-password")) == "Secrets()"
