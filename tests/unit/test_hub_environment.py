"""Settings from environment variables: the Compose carrier."""

import json
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_ansible import environment
from jupyterhub_ansible.check import EXAMPLE, GITHUB
from jupyterhub_ansible.settings import Settings, SettingsError, load

CALLBACK = "https://hub.example.org/hub/oauth_callback"


@pytest.fixture
def base(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The image's own settings, and the switch that has the environment looked at."""
    github = {**GITHUB, "client_id": "", "allowed_organizations": [], "allowed_teams": [], "admin_teams": []}
    settings = {**EXAMPLE, "authenticator": "github", "github": github}
    (hub_files / "hub.json").write_text(json.dumps(settings))
    monkeypatch.setenv(environment.SWITCH, "1")
    return settings


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in {"GITHUB_CLIENT_ID": "Iv1.id", "OAUTH_CALLBACK_URL": CALLBACK, **variables}.items():
        monkeypatch.setenv(name, value)
    return load().settings


def test_the_variables_that_everybody_sets(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        ALLOWED_GITHUB_ORGS="Acme, beta:data-team,",
        ADMIN_GITHUB_USERS="Ann,bob",
        DOCKER_NOTEBOOK_IMAGE_BASE="mine/base:1",
    )
    assert settings.github
    assert settings.github.client_id == "Iv1.id"
    assert settings.public.url == "https://hub.example.org"
    assert settings.github.allowed_organizations == {"acme"}
    assert settings.github.allowed_teams == {"beta:data-team"}
    assert settings.access.admin_users == {"ann", "bob"}
    assert settings.environments[0].image == "mine/base:1"
    assert settings.environments[0].contents == (), "the versions of another image would be said of it"
    assert settings.server.memory_mb == EXAMPLE["server"]["memory_mb"], "what is not said stays"


@pytest.mark.parametrize("text", ["server: {memory_mb: 4096}", '{"server": {"memory_mb": 4096}}'])
def test_any_other_setting(base: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    settings = loaded(monkeypatch, JUPYTERHUB_SETTINGS=text)
    assert settings.server.memory_mb == 4096
    assert settings.server.pids == EXAMPLE["server"]["pids"]


def test_empty_is_unset(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, ALLOWED_GITHUB_ORGS=" ", JUPYTERHUB_SETTINGS="", JUPYTERHUB_COOKIE_SECRET="")
    assert settings.github
    assert settings.github.allowed_organizations == frozenset()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GITHUB_CLIENT_ID", "", "hub.json: github.client_id: String should have at least 1 character"),
        ("OAUTH_CALLBACK_URL", "https://s3cret", "OAUTH_CALLBACK_URL: must be the public address with /hub/oauth_"),
        ("DOCKER_NOTEBOOK_IMAGE_DATASCIENCE", "s3cret", "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE: the catalogue has no"),
        ("ALLOWED_GITHUB_ORGS", "s3cret corp", "hub.json: github.allowed_organizations.0: String should match"),
        ("JUPYTERHUB_SETTINGS", "a: [s3cret", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON, line 1"),
        ("JUPYTERHUB_SETTINGS", "s3cret", "JUPYTERHUB_SETTINGS: must be a mapping of settings"),
        ("JUPYTERHUB_SETTINGS", "serverr: {}", "hub.json: serverr: is not a known setting"),
        ("GITHUB_CLIENT_SECRET_FILE", "/nowhere", "GITHUB_CLIENT_SECRET_FILE: cannot read /nowhere: No such file"),
        ("JUPYTERHUB_COOKIE_SECRET", "s3cret", "secret cookie_secret: must be 64 hexadecimal digits"),
    ],
)
def test_a_mistake_is_told(base: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(monkeypatch, **{name: value})
    assert str(error.value).startswith(message)
    assert "s3cret" not in str(error.value)


def test_secrets_by_value_and_by_file(base: Any, hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hub_files / "github_client_secret").unlink()
    (hub_files / "elsewhere").write_text("of-a-file-" * 3 + "\n")
    monkeypatch.setenv("GITHUB_CLIENT_SECRET_FILE", str(hub_files / "elsewhere"))
    monkeypatch.setenv("JUPYTERHUB_COOKIE_SECRET", "a" * 64)
    loaded(monkeypatch)
    secrets = load().secrets
    assert secrets.github_client_secret == "of-a-file-" * 3
    assert secrets.cookie_secret == b"\xaa" * 32
    assert secrets.proxy_token == "2" * 64, "one that is not given is a file"
    monkeypatch.setenv("GITHUB_CLIENT_SECRET", "x" * 30)
    with pytest.raises(SettingsError, match="GITHUB_CLIENT_SECRET: is set, and GITHUB_CLIENT_SECRET_FILE as well"):
        load()


def test_elsewhere_the_environment_is_not_looked_at(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(environment.SWITCH)
    monkeypatch.setenv("ADMIN_GITHUB_USERS", "mallory")
    monkeypatch.setenv("GITHUB_CLIENT_SECRET", "x" * 30)
    with pytest.raises(SettingsError, match=r"^hub\.json: github\.client_id: String should have at least 1"):
        load()
