"""Settings from environment variables: the Compose carrier."""

import json
from pathlib import Path
from typing import Any

import pytest
from example_secrets import secret
from jupyterhub_ansible.settings import environment_variables
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings, SettingsError, load

CALLBACK = "https://hub.acme.test/hub/oauth_callback"
OF_A_FILE = "9f2c71d0b54e8a6637c1-of-a-file"


@pytest.fixture
def base(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The image's settings, and the switch that enables environment variables."""
    settings = {**EXAMPLE, "hub_authenticator": "github", "hub_admin_users": ["ann"], "compose": {}}
    (hub_files / "hub.json").write_text(json.dumps(settings))
    monkeypatch.setenv(environment_variables.SWITCH, "1")
    return settings


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in {
        "GITHUB_CLIENT_ID": "Iv1.8a61f9b3a7aba766",
        "OAUTH_CALLBACK_URL": CALLBACK,
        **variables,
    }.items():
        monkeypatch.setenv(name, value)
    return load().settings


def test_common_variables(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        ALLOWED_GITHUB_ORGS="Acme, beta:data-team,",
        ADMIN_GITHUB_USERS="Ann,bob",
        DOCKER_NOTEBOOK_IMAGE_BASE="mine/base:1",
    )
    assert settings.hub_github_client_id == "Iv1.8a61f9b3a7aba766"
    assert settings.jupyterhub_url == "https://hub.acme.test"
    assert settings.hub_github_allowed_organizations == {"acme"}
    assert settings.hub_github_allowed_teams == {"beta:data-team"}
    assert settings.hub_admin_users == {"ann", "bob"}
    assert settings.images_environments[0].image == "mine/base:1"
    assert settings.images_environments[0].contents == (), "the versions of another image would be said of it"
    assert settings.hub_server_memory_mb == EXAMPLE["hub_server_memory_mb"], "what is not said stays"


def test_profile_of_the_same_image_is_changed_too(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = EXAMPLE["images_environments"][0]
    profile = {**first, "slug": "profile", "title": "Profile"}
    settings = loaded(
        monkeypatch,
        JUPYTERHUB_SETTINGS=json.dumps({"images_environments": [*EXAMPLE["images_environments"], profile]}),
        DOCKER_NOTEBOOK_IMAGE_BASE="mine/base:1",
    )
    images = {each.slug: each.image for each in settings.images_environments}
    assert (images["base"], images["profile"]) == ("mine/base:1", "mine/base:1")
    assert "mine/base:1" not in [images[slug] for slug in images if slug not in ("base", "profile")]


@pytest.mark.parametrize("text", ["hub_server_memory_mb: 4096", '{"hub_server_memory_mb": 4096}'])
def test_any_other_setting(base: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    settings = loaded(monkeypatch, JUPYTERHUB_SETTINGS=text)
    assert settings.hub_server_memory_mb == 4096
    assert settings.hub_server_pids == EXAMPLE["hub_server_pids"]


@pytest.mark.parametrize("nobody", [{}, {"ADMIN_GITHUB_USERS": " , "}])
def test_hub_without_any_allowed_user(
    base: Any, hub_files: Path, monkeypatch: pytest.MonkeyPatch, nobody: dict[str, str]
) -> None:
    (hub_files / "hub.json").write_text(json.dumps({**base, "hub_admin_users": []}))
    with pytest.raises(SettingsError, match=r"^access: nobody could log in: .*set hub_admin_users") as error:
        loaded(monkeypatch, **nobody)
    assert str(error.value).endswith(
        "\nADMIN_GITHUB_USERS sets hub_admin_users; ALLOWED_GITHUB_ORGS sets"
        " hub_github_allowed_organizations and hub_github_allowed_teams"
    )
    for somebody in (
        {"ADMIN_GITHUB_USERS": "ann"},
        {"ADMIN_GITHUB_USERS": "", "JUPYTERHUB_SETTINGS": "{hub_allow_all: true, hub_admin_users: [ann]}"},
    ):
        loaded(monkeypatch, **somebody)


def test_empty_is_unset(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, ALLOWED_GITHUB_ORGS=" ", JUPYTERHUB_SETTINGS="", JUPYTERHUB_COOKIE_SECRET="")
    assert settings.hub_github_allowed_organizations == frozenset()


@pytest.mark.parametrize("text", ["  ", "\t\n", "# {hub_server_memory_mb: 1}"])
def test_empty_settings_are_unset(base: Any, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert loaded(monkeypatch, JUPYTERHUB_SETTINGS=text).hub_server_memory_mb == EXAMPLE["hub_server_memory_mb"]


@pytest.mark.parametrize(
    ("text", "organizations", "teams"),
    [("a,b", {"a", "b"}, {"x:y"}), ("a:t", {"z"}, {"a:t"}), ("a,a:t", {"a"}, {"a:t"})],
)
def test_organizations_and_teams_replace_their_own_kind(
    base: Any, monkeypatch: pytest.MonkeyPatch, text: str, organizations: set[str], teams: set[str]
) -> None:
    said = "{hub_github_allowed_organizations: [z], hub_github_allowed_teams: [x:y]}"
    settings = loaded(monkeypatch, JUPYTERHUB_SETTINGS=said, ALLOWED_GITHUB_ORGS=text)
    assert settings.hub_github_allowed_organizations == organizations
    assert settings.hub_github_allowed_teams == teams


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GITHUB_CLIENT_ID", "", "hub_github_client_id (hub.json): is not set, and hub_authenticator: github needs it"),
        ("GITHUB_CLIENT_ID", "12345", "hub_github_client_id (GITHUB_CLIENT_ID): is a number"),
        ("OAUTH_CALLBACK_URL", "/hub/oauth_callback", "jupyterhub_url (OAUTH_CALLBACK_URL): is empty"),
        ("OAUTH_CALLBACK_URL", "hub/hub/oauth_callback", "jupyterhub_url (OAUTH_CALLBACK_URL): is not an http:// or"),
        (
            "OAUTH_CALLBACK_URL",
            "https://a.dev/x/hub/oauth_callback",
            "jupyterhub_url (OAUTH_CALLBACK_URL): must be",
        ),
        (
            "OAUTH_CALLBACK_URL",
            "https://s3cret@b/hub/oauth_callback",
            "jupyterhub_url (OAUTH_CALLBACK_URL): contains a",
        ),
        ("OAUTH_CALLBACK_URL", "https://b:x/hub/oauth_callback", "jupyterhub_url (OAUTH_CALLBACK_URL): has an invalid"),
        ("OAUTH_CALLBACK_URL", "http://a.dev/hub/oauth_callback", "jupyterhub_url (OAUTH_CALLBACK_URL): uses http, so"),
        ("OAUTH_CALLBACK_URL", "https://s3cret", "OAUTH_CALLBACK_URL: must be the public address followed by /hub"),
        ("DOCKER_NOTEBOOK_IMAGE_DATASCIENCE", "s3cret", "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE: the catalogue has no"),
        ("ALLOWED_GITHUB_ORGS", "a corp", "hub_github_allowed_organizations[0] (ALLOWED_GITHUB_ORGS): is not a Gi"),
        ("JUPYTERHUB_SETTINGS", "a: [s3cret", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON, line 1"),
        ("JUPYTERHUB_SETTINGS", "s3cret", "JUPYTERHUB_SETTINGS: must be a mapping of settings"),
        ("JUPYTERHUB_SETTINGS", "a: !!int s3cret", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON"),
        ("JUPYTERHUB_SETTINGS", "a: !!bool s3cret", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON"),
        ("JUPYTERHUB_SETTINGS", "a: !!timestamp s3cret", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON"),
        ("JUPYTERHUB_SETTINGS", "[" * 3000, "JUPYTERHUB_SETTINGS: is neither YAML nor JSON"),
        (
            "JUPYTERHUB_SETTINGS",
            "hub_server_environment: {D: 2026-01-01}",
            "JUPYTERHUB_SETTINGS: hub_server_environment.D: is not a string, number, list or mapping; write it",
        ),
        (
            "JUPYTERHUB_SETTINGS",
            "hub_traits: {A: {b: [1, !!set {s3cret}]}}",
            "JUPYTERHUB_SETTINGS: hub_traits.A.b.1: ",
        ),
        ("JUPYTERHUB_SETTINGS", "hub_server_cpus: .inf", "JUPYTERHUB_SETTINGS: hub_server_cpus: is not "),
        (
            "JUPYTERHUB_SETTINGS",
            "hub_server_environment: {on: s3cret}",
            "JUPYTERHUB_SETTINGS: hub_server_environment: has a key that is not a string; write it in quotes",
        ),
        ("JUPYTERHUB_SETTINGS", "hub_traits: &a {environment: *a}", "JUPYTERHUB_SETTINGS: is neither YAML nor JSON"),
        (
            "JUPYTERHUB_SETTINGS",
            "server: {memory_mb: 1}",
            "server.memory_mb (JUPYTERHUB_SETTINGS): is now called hub_server",
        ),
        ("JUPYTERHUB_SETTINGS", "serverr: {}", "serverr (JUPYTERHUB_SETTINGS): is not a known setting"),
        ("GITHUB_CLIENT_SECRET_FILE", "/nowhere", "GITHUB_CLIENT_SECRET_FILE: cannot read /nowhere: No such file"),
        ("CONFIGPROXY_AUTH_TOKEN_FILE", "/dev/null", "CONFIGPROXY_AUTH_TOKEN_FILE: /dev/null is empty; write the sec"),
        (
            "JUPYTERHUB_COOKIE_SECRET",
            "s3cret",
            "hub_cookie_secret (JUPYTERHUB_COOKIE_SECRET): is not 64",
        ),
    ],
)
def test_mistake_is_reported(base: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(monkeypatch, **{name: value})
    assert str(error.value).startswith(message)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "text", "message"),
    [
        ("DOCKER_NOTEBOOK_IMAGE_BASE", "x", "images_environments: null", "DOCKER_NOTEBOOK_IMAGE_BASE: images_env"),
        ("DOCKER_NOTEBOOK_IMAGE_BASE", "x", "images_environments: [s3cret]", "DOCKER_NOTEBOOK_IMAGE_BASE: images_env"),
        (
            "DOCKER_NOTEBOOK_IMAGE_BASE",
            "x",
            "images_environments: [{title: s3cret}]",
            "DOCKER_NOTEBOOK_IMAGE_BASE: images_env",
        ),
        (
            "DOCKER_NOTEBOOK_IMAGE_BASE",
            "x",
            "images_environments: [{slug: base}, {slug: base}]",
            "DOCKER_NOTEBOOK_IMAGE_BASE: images_environments must be a list of environments with unique slugs; correct"
            " JUPYTERHUB_SETTINGS",
        ),
    ],
)
def test_variable_that_cannot_be_applied_is_reported(
    base: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str, message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        loaded(monkeypatch, **{name: value, "JUPYTERHUB_SETTINGS": text})
    assert str(error.value).startswith(message)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("text", ["{s3cret", "[]", "null"])
def test_broken_file_is_reported_with_variables_too(
    base: Any, hub_files: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (hub_files / "hub.json").write_text(text)
    with pytest.raises(SettingsError, match=r"hub\.json: (is not JSON|must be)") as error:
        loaded(monkeypatch)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    "callback", [CALLBACK, "http://localhost:8000/hub/oauth_callback", "http://[::1]/hub/oauth_callback"]
)
def test_callback_urls(base: Any, monkeypatch: pytest.MonkeyPatch, callback: str) -> None:
    url = loaded(monkeypatch, OAUTH_CALLBACK_URL=callback).jupyterhub_url
    assert f"{url}/hub/oauth_callback" == callback


def test_secrets_by_value_and_by_file(base: Any, hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hub_files / "github_client_secret").unlink()
    (hub_files / "elsewhere").write_text(f"{OF_A_FILE}\n")
    monkeypatch.setenv("GITHUB_CLIENT_SECRET_FILE", str(hub_files / "elsewhere"))
    monkeypatch.setenv("JUPYTERHUB_COOKIE_SECRET", secret(9))
    loaded(monkeypatch)
    secrets = load().secrets
    assert secrets.github_client_secret == OF_A_FILE
    assert secrets.cookie_secret.hex() == secret(9)
    assert secrets.proxy_token == secret(2), "one that is not given is a file"
    monkeypatch.setenv("GITHUB_CLIENT_SECRET", "x" * 30)
    with pytest.raises(SettingsError, match="GITHUB_CLIENT_SECRET: is set, and GITHUB_CLIENT_SECRET_FILE as well"):
        load()


@pytest.mark.parametrize("switch", ["true", "Yes", "on"])
def test_values_that_switch_it_on(base: Any, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv(environment_variables.SWITCH, switch)
    assert loaded(monkeypatch).jupyterhub_url == "https://hub.acme.test"


def test_invalid_switch_is_reported(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment_variables.SWITCH, "s3cret")
    with pytest.raises(SettingsError) as error:
        loaded(monkeypatch)
    assert (
        str(error.value) == "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT: must be 1, true, yes or on; or 0, false, no or off"
    )


@pytest.mark.parametrize("switch", [None, "", "0", "false", "No", "off"])
def test_environment_is_ignored_without_the_switch(
    base: Any, monkeypatch: pytest.MonkeyPatch, switch: str | None
) -> None:
    monkeypatch.delenv(environment_variables.SWITCH)
    if switch is not None:
        monkeypatch.setenv(environment_variables.SWITCH, switch)
    monkeypatch.setenv("ADMIN_GITHUB_USERS", "mallory")
    monkeypatch.setenv("GITHUB_CLIENT_SECRET", "x" * 30)
    with pytest.raises(SettingsError, match=r"^hub_github_client_id \(hub\.json\): is not set"):
        load()


def test_coolifys_keys_work_even_if_there_are_several() -> None:
    own, magic = secret(1), secret(2) + secret(3)
    found = environment_variables.secrets({"JUPYTERHUB_CRYPT_KEY": f"{own}\n{magic}", "GITHUB_CLIENT_SECRET": magic})
    first, second = found["crypt_key"].split()
    assert first == own
    assert len(second) == 64
    assert found["github_client_secret"] == magic


@pytest.mark.parametrize("name", environment_variables.OF_VARIABLES)
def test_settings_with_a_variable_are_refused_in_jupyterhub_settings(name: str) -> None:
    settings: dict[str, Any] = {"compose": {"hashes": {}}}
    with pytest.raises(
        environment_variables.EnvironmentVariableError, match=f"JUPYTERHUB_SETTINGS: {name}: is set by JUPYTERHUB_"
    ):
        environment_variables.overlaid(settings, {"JUPYTERHUB_SETTINGS": f"{{{name}: x}}"})


def test_weak_long_key_is_reported_before_it_is_hashed() -> None:
    with pytest.raises(
        environment_variables.EnvironmentVariableError, match="JUPYTERHUB_COOKIE_SECRET: is easy to guess"
    ):
        environment_variables.secrets({"JUPYTERHUB_COOKIE_SECRET": "0123456789abcdef" * 8})


def test_duplicate_names_in_a_variable_count_once(base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, ADMIN_GITHUB_USERS="Ann, bob,ann").hub_admin_users == {"ann", "bob"}
