"""hub.json and the secret files: what is accepted, and the message for each mistake."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from example_secrets import GITHUB, secret
from jupyterhub_ansible.rules.tables import missing
from jupyterhub_ansible.rules.tables import secrets as preflight_secrets
from jupyterhub_ansible.settings import renamed
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings, SettingsError, load
from jupyterhub_ansible.settings.secrets import SecretsError, read_secrets


def complaint(hub_files: Path, where: str, value: Any, settings: dict[str, Any] = EXAMPLE) -> str:
    """Return the problems of the example with `value` at the dotted path `where`; `...` removes the key."""
    settings = copy.deepcopy(settings)
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
        load()
    except SettingsError as error:
        return str(error)
    return ""


def test_the_example_loads(hub_files: Path) -> None:
    settings, secrets = load()
    assert settings.hub_server_memory_mb == EXAMPLE["hub_server_memory_mb"]
    assert secrets.cookie_secret.hex() == secret(0)
    assert secrets.admin_password == secret(4)


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("hub_server_memory_mb", "2048", "hub_server_memory_mb (hub.json): must be a whole number, but is a"),
        ("hub_server_memory_mb", ..., "hub_server_memory_mb (hub.json): is not set"),
        ("hub_server_memmory_mb", 1, "hub_server_memmory_mb (hub.json): there is no such setting"),
        ("hubb", {}, "hubb (hub.json): is not a known setting"),
        ("proxy_token", "s3cret" * 9, "proxy_token (hub.json): is a secret, not a setting; set it by CONFIGPROXY"),
        ("deployment", ..., "deployment (hub.json): is not set"),
        ("jupyterhub_address", "0.0.0.0", 'jupyterhub_address (hub.json): others can reach "0.0.0.0"'),
        ("hub_authenticator", "github", "hub_github_client_id (hub.json): is not set, and hub_authenticator: github"),
        ("images_environments", [], "images_environments (hub.json): is empty"),
        ("images_environments.0.image", ..., 'images_environments[0] (slug "base") (hub.json): lacks the key "image"'),
        ("images_environments.0.pip", ["numpy"], 'images_environments[0] (slug "base") (hub.json): unknown key "pip"'),
        (
            "hub_traits",
            {"Spawner": {"mem_limit": "2G"}},
            "hub_traits.Spawner.mem_limit (hub.json): has its own setting",
        ),
    ],
)
def test_mistake_is_reported_in_one_line(hub_files: Path, where: str, value: Any, message: str) -> None:
    """The messages are preflight's; tests/settings compares them."""
    told = complaint(hub_files, where, value)
    assert told.startswith(message)
    assert told.count("\n") == (where == "hub_authenticator")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("jupyterhub_address", "::1"),
        ("hub_server_cpus", 0.5),
        ("hub_server_tmp_mb", 100),
        ("hub_deleted_homes", "archive"),
        ("hub_volume_name_template", "jhub-user-{username}-{servername}"),
        ("hub_traits", {"DockerSpawner": {"extra_host_config": {"shm_size": "1g"}}}),
        ("images_environments.0.sizes", ...),
        ("images_environments.0.sizes.0.title", ...),
        ("images_environments.0.mounts", ...),
        ("hub_free_images", {"staff": ["ghcr.io/acme/*", "python:*", "host:5000/*/x@*"]}),
    ],
)
def test_accepted(hub_files: Path, where: str, value: Any) -> None:
    assert complaint(hub_files, where, value) == ""


def test_groups_of_github_are_in_small_letters(hub_files: Path) -> None:
    """Otherwise they would never match, and nobody could use the environment."""
    for where, value in (
        ("images_environments.0.groups", ["Acme:data"]),
        ("hub_free_images", {"Acme:data": ["x"]}),
    ):
        told = complaint(hub_files, where, value, {**EXAMPLE, **GITHUB})
        assert 'must be lower case, like the Hub\'s groups: "Acme:data"' in told


def test_possibly_secret_values_are_not_shown(hub_files: Path) -> None:
    for where, value in {
        "hub_traits": {"Spawner": "s3cret"},
        "hub_server_environment": {"KEY": ["s3cret"]},
        "images_environments.0.environment": {"KEY": ["s3cret"]},
    }.items():
        told = complaint(hub_files, where, value)
        assert told
        assert "s3cret" not in told


def test_all_problems_at_once(hub_files: Path) -> None:
    (hub_files / "hub.json").write_text(json.dumps({**EXAMPLE, "hubb": 1}))
    (hub_files / "crypt_key").write_text("")
    (hub_files / "proxy_token").unlink()
    with pytest.raises(SettingsError) as error:
        load()
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["hubb (hub.json)", "hub_crypt_key", "proxy_token"]


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_invalid_files(hub_files: Path, text: str) -> None:
    (hub_files / "hub.json").write_text(text)
    with pytest.raises(SettingsError, match=r"hub\.json: (is not JSON|must be a mapping)"):
        load()


def test_no_file(hub_files: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*absent\.json: No such file"):
        load(hub_files / "absent.json", hub_files)


def test_old_names_are_reported_with_the_new_ones(hub_files: Path) -> None:
    old = {"server": {"memory_mb": 4096, "pids": 9}, "access": None, "authenticator": "github", "tokens": {}}
    (hub_files / "hub.json").write_text(json.dumps({**EXAMPLE, **old}))
    with pytest.raises(SettingsError) as error:
        load()
    lines = str(error.value).splitlines()
    assert lines == [
        "authenticator (hub.json): is now called hub_authenticator; write hub_authenticator",
        "access (hub.json): is now called hub_allow_all, hub_allowed_users, hub_admin_users, hub_blocked_users; write"
        " hub_allow_all, hub_allowed_users, hub_admin_users, hub_blocked_users",
        "server.memory_mb (hub.json): is now called hub_server_memory_mb; write hub_server_memory_mb",
        "server.pids (hub.json): is now called hub_server_pids; write hub_server_pids",
        "tokens.max_age_days (hub.json): is now called hub_token_max_age_days; write hub_token_max_age_days",
    ]


def test_every_new_name_exists() -> None:
    new = [
        each
        for value in renamed.RENAMED_IN_HUB_JSON.values()
        for each in (value.values() if isinstance(value, dict) else [value])
    ]
    known = {*Settings.model_fields, *(f"deployment.{name}" for name in EXAMPLE["deployment"])}
    assert [name for name in new if name not in known] == []


@pytest.mark.parametrize(
    ("name", "text", "mode", "message"),
    [
        ("user_password", "", 0o600, "hub_user_password: .* is empty"),
        ("user_password", secret(1), 0o604, "hub_user_password: .* is open to every user"),
        ("user_password", "1234567", 0o600, "hub_user_password .*: is shorter than the 8 characters"),
        ("user_password", secret(4), 0o600, "hub_admin_password .*: is the same as hub_user_password"),
        ("admin_password", "s3cret-admin", 0o600, "hub_admin_password .*: is shorter than the 32 characters"),
        ("cookie_secret", "s3cret", 0o600, "hub_cookie_secret .*: is not 64 hexadecimal digits"),
        ("crypt_key", "s3cret" * 12, 0o600, "hub_crypt_key .*: is not 64 hexadecimal digits"),
        ("crypt_key", f"{'ab' * 32}\n{'ab' * 32}\n", 0o600, "hub_crypt_key .*: is easy to guess"),
        ("proxy_token", "0123456789", 0o600, "proxy_token .*: is shorter than 32 characters"),
    ],
)
def test_a_bad_secret(hub_files: Path, name: str, text: str, mode: int, message: str) -> None:
    (hub_files / name).write_text(text)
    (hub_files / name).chmod(mode)
    with pytest.raises(SettingsError, match=message) as error:
        load()
    assert not text or text not in str(error.value)


def test_the_place_of_a_secret_is_its_file(hub_files: Path) -> None:
    (hub_files / "cookie_secret").write_text("short")
    with pytest.raises(SettingsError) as error:
        load()
    assert str(error.value).startswith(f"hub_cookie_secret ({hub_files}/cookie_secret): is not 64 hexadecimal digits")


PASSPHRASES = {
    "user_password": ("orbit lamp moss tin", "1234 Hühner", "my key to the lab", "a b c d e f g"),
    "admin_password": ("orbit lamp moss tin and one more password 123",),
}


@pytest.mark.parametrize(("name", "value"), [(name, each) for name, them in PASSPHRASES.items() for each in them])
def test_hub_accepts_what_preflight_accepts(hub_files: Path, name: str, value: str) -> None:
    def told(text: str) -> list[Any]:
        return [
            each for rules in (preflight_secrets.rule, missing.rule) for each in rules.findings({f"hub_{name}": text})
        ]

    assert told("changeme")
    assert told(value) == []
    (hub_files / name).write_text(value)
    assert getattr(load().secrets, name) == value


def test_only_secrets_of_the_login_are_read(hub_files: Path) -> None:
    (hub_files / "user_password").unlink()
    assert "github_client_secret" in read_secrets(hub_files, "github")
    with pytest.raises(SecretsError, match="hub_user_password: cannot read"):
        read_secrets(hub_files, "shared-password")


def test_secrets_are_not_shown(hub_files: Path) -> None:
    assert repr(load().secrets) == "Secrets()"
