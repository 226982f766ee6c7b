"""jupyterhub_config.py: settings become traits, and the check finds what the Hub would refuse."""

import copy
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.utils import kwargs_from_env
from example_secrets import GITHUB, secret
from jupyterhub.auth import Authenticator
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.shared_folders import access
from jupyterhub_versions.limits import Limits, limits
from project import IMAGES
from traitlets.config import Config, PyFileConfigLoader

CONFIG_FILE = IMAGES / "hub/jupyterhub_config.py"


def change(hub_files: Path, **settings: Any) -> None:
    (hub_files / "hub.json").write_text(json.dumps({**copy.deepcopy(check.EXAMPLE), **settings}))


def config() -> Config:
    return PyFileConfigLoader(str(CONFIG_FILE)).load_config()


def test_users_keep_working_while_the_hub_is_replaced(hub_files: Path) -> None:
    c = config()
    assert c.JupyterHub.cleanup_servers is False
    assert c.ConfigurableHTTPProxy.should_start is False


def test_the_engine_is_that_of_the_mounted_socket(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Compose application may have the operator's variables; Coolify gives all of them to every service."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", "/nowhere")
    config()
    assert kwargs_from_env() == {}


def test_services_have_only_their_scopes(hub_files: Path) -> None:
    c = config()
    may = {
        "sync-routes": ["proxy"],
        "idle-culler": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
    assert [service["name"] for service in c.JupyterHub.services] == list(may)
    assert {role["name"]: role["scopes"] for role in c.JupyterHub.load_roles} == may
    assert all(role["services"] == [role["name"]] for role in c.JupyterHub.load_roles)
    assert not any(service.get("admin") for service in c.JupyterHub.services)
    # The same at every start, or old ones would stay valid in the database; and not the secret itself.
    tokens = [service["api_token"] for service in c.JupyterHub.services]
    assert tokens == [service["api_token"] for service in config().JupyterHub.services]
    assert len({*tokens, c.JupyterHub.cookie_secret.hex()}) == 3


def test_without_a_timeout_nothing_is_culled_and_without_megabytes_no_versions_are_kept(hub_files: Path) -> None:
    change(hub_files, hub_idle_timeout_s=0, hub_max_age_s=0, hub_versions_mb=0)
    c = config()
    assert [service["name"] for service in c.JupyterHub.services] == ["sync-routes"]
    assert [role["name"] for role in c.JupyterHub.load_roles] == ["sync-routes"]
    assert c.Spawner.environment == {}
    change(hub_files, hub_idle_timeout_s=0, hub_max_age_s=0, hub_versions_mb=100, hub_versions_per_file=7)
    assert limits(config().Spawner.environment) == Limits(per_file=7, mb=100)


def test_a_workspace_has_roles_for_its_groups(hub_files: Path) -> None:
    workspace = {"slug": "lab", "environment": "base", "groups": ["acme:data"], "users": ["ann"]}
    change(hub_files, hub_workspaces=[workspace])
    c = config()
    groups = {role["name"]: role["groups"] for role in c.JupyterHub.load_roles if "groups" in role}
    assert groups == {"workspace.lab": ["acme:data"], "workspace.lab.start": ["acme:data"]}
    assert [*c.UserServerSpawner.workspaces] == ["lab"]
    assert callable(c.JupyterHub.template_vars["workspaces"])


def test_shared_folders_reach_spawner_and_pages(hub_files: Path) -> None:
    change(hub_files, hub_shared_folders=[{"slug": "lab", "read_groups": ["acme:data"], "users": ["Ann"]}])
    c = config()
    [folder] = c.UserServerSpawner.shared_folders
    assert (folder.slug, folder.users) == ("lab", {"ann"})
    assert [each.folder.slug for each in access.grants([folder], {"ann"}, set())] == ["lab"]
    assert c.JupyterHub.template_vars["shared_folders"](None)() == []


def test_a_team_of_a_shared_folder_becomes_a_group(hub_files: Path) -> None:
    folder = {"slug": "lab", "groups": ["acme:lab"], "read_groups": ["acme:data"]}
    change(hub_files, **GITHUB, jupyterhub_url="https://hub.acme.test", hub_shared_folders=[folder])
    assert config().GitHubMemberAuthenticator.groups_with_access == {"acme:lab", "acme:data"}


def test_tokens_expire(hub_files: Path) -> None:
    assert config().JupyterHub.token_expires_in_max_seconds == 90 * 86400
    change(hub_files, hub_token_max_age_days=0)
    assert config().JupyterHub.token_expires_in_max_seconds == 0


def test_the_public_address_in_a_url(hub_files: Path) -> None:
    change(hub_files, jupyterhub_url="http://[::1]:8000", jupyterhub_address="::1")
    assert config().JupyterHub.bind_url == "http://[::1]:8000"


def test_start_timeout_covers_slow_phases(hub_files: Path) -> None:
    c = config()
    spawner = c.JupyterHub.spawner_class(config=c)
    # Waiting for memory, Docker, the server's answer.
    assert spawner.start_timeout > spawner.full_wait_s + spawner.http_timeout
    assert spawner.http_timeout == check.EXAMPLE["hub_start_timeout_s"]


def test_a_limit_of_0_means_no_named_servers(hub_files: Path) -> None:
    assert config().JupyterHub.allow_named_servers is True
    change(hub_files, hub_named_servers_limit=0)
    assert config().JupyterHub.allow_named_servers is False


def test_traits_win_and_dictionaries_are_merged(hub_files: Path) -> None:
    traits = {"DockerSpawner": {"client_kwargs": {"timeout": 120}, "args": ["-x"]}, "Spawner": {"poll_interval": 9}}
    change(hub_files, hub_server_environment={"A": "ours"}, hub_traits=traits)
    c = config()
    # And derived ones: each environment's timeout, and how many versions of files are kept.
    derived = {"JUPYTERHUB_IDLE_CULLING", "JUPYTERHUB_ACTIVITY_INTERVAL", "JUPYTERHUB_VERSIONS"}
    assert set(c.Spawner.environment) == {"A", *derived}
    assert set(c.DockerSpawner.client_kwargs) == {"max_pool_size", "timeout"}
    assert c.Spawner.poll_interval == 9
    assert c.DockerSpawner.args == ["-x"]
    # Ours are not set on a subclass, where they would override the administrator's.
    assert set(c.UserServerSpawner) == {
        "project",
        "profiles",
        "default_profile",
        "free_images",
        "pids_limit",
        "tmp_mb",
        "running_limit",
        "reserve_memory_mb",
        "reserve_disk_mb",
        "deleted_homes",
        "share_home",
        "volume_name_template",
        "sharing",
        "workspaces",
        "shared_folders",
    }


def test_lists_are_added_to_ours(hub_files: Path) -> None:
    theirs = {"services": [{"name": "theirs"}], "load_roles": [{"name": "theirs"}]}
    ours = {trait: config().JupyterHub[trait] for trait in theirs}
    change(hub_files, hub_traits={"JupyterHub": theirs})
    for trait, added in theirs.items():
        assert [each["name"] for each in config().JupyterHub[trait]] == [
            each["name"] for each in (*added, *ours[trait])
        ]
    assert [each["name"] for each in ours["load_roles"]] == ["sync-routes", "idle-culler"]


def test_the_example_passes_the_check(hub_files: Path) -> None:
    assert check.problems(CONFIG_FILE) == []


@pytest.mark.parametrize(
    ("traits", "problem"),
    [
        # Not covered by the table of known traits: the operator's classes, and values that a class validates.
        ({"MyLogin": {"x": 1}}, "hub_traits: MyLogin: no such class"),
        ({"JupyterHub": {"trusted_downstream_ips": [{}]}}, "hub_traits: JupyterHub.trusted_downstream_ips: must be"),
    ],
)
def test_the_check_finds(hub_files: Path, traits: dict[str, Any], problem: str) -> None:
    change(hub_files, hub_traits=traits)
    found = check.problems(CONFIG_FILE)
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "s3cret" not in found[0]


def test_the_check_knows_traits_of_parents_and_other_authenticators(hub_files: Path) -> None:
    change(
        hub_files,
        hub_traits={"DummyAuthenticator": {"auto_login": True}, "LocalProcessSpawner": {"shell_cmd": ["sh"]}},
    )
    assert check.problems(CONFIG_FILE) == []


def test_bad_settings_fail_the_check_with_their_message(hub_files: Path) -> None:
    change(hub_files, hubb={})
    with pytest.raises(SystemExit, match=r"^hubb \(hub\.json\): is not a known setting"):
        check.problems(CONFIG_FILE)


def test_bad_settings_stop_the_hub_without_a_traceback(hub_files: Path) -> None:
    change(hub_files, hubb={})
    done = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", CONFIG_FILE],
        cwd=hub_files,
        env={**os.environ, "PYTHONPATH": str(CONFIG_FILE.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr.splitlines()[-1]
        == "hubb (hub.json): is not a known setting; remove it (docs/reference/settings.md lists all)"
    )
    assert "Traceback" not in done.stderr


def test_github(hub_files: Path) -> None:
    access = {"hub_allowed_users": ["Bob"], "hub_admin_users": ["Ann"], "hub_blocked_users": ["Eve"]}
    change(hub_files, **GITHUB, **access, jupyterhub_url="https://hub.acme.test", jupyterhub_address="0.0.0.0")
    assert check.problems(CONFIG_FILE) == []
    c = config()
    authenticator = c.JupyterHub.authenticator_class(config=c)
    assert authenticator.oauth_callback_url == "https://hub.acme.test/hub/oauth_callback"
    assert authenticator.allowed_organizations == {"example"}
    assert authenticator.allowed_groups == {"octo-org:data-science"}
    assert authenticator.admin_groups == {"octo-org:admins"}
    assert authenticator.scope == ["read:org"]
    assert authenticator.manage_groups
    assert authenticator.enable_auth_state
    assert authenticator.auth_refresh_strict
    assert authenticator.auth_refresh_age == 300
    assert (authenticator.allow_all, authenticator.allowed_users) == (False, {"bob"})
    assert authenticator.admin_users == {"ann"}
    assert authenticator.blocked_users == {"eve"}
    # Passwords of the other authenticator are neither needed nor read.
    (hub_files / "user_password").unlink()
    assert check.problems(CONFIG_FILE) == []


def test_a_hub_for_administrators_only_gets_no_advice_to_let_everybody_in(
    hub_files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody_else: dict[str, Any] = {"hub_github_allowed_organizations": [], "hub_github_allowed_teams": []}
    change(hub_files, **{**GITHUB, **nobody_else}, hub_admin_users=["ann"])
    c = config()
    authenticator = c.JupyterHub.authenticator_class(config=c)
    authenticator.log = logging.getLogger("authenticator")
    authenticator.check_allow_config()
    assert "allow_all" not in caplog.text


def test_any_other_authenticator(hub_files: Path) -> None:
    urls = {f"{name}_url": f"https://id.acme.test/{name}" for name in ("authorize", "token", "userdata")}
    traits = {"GenericOAuthenticator": {"client_id": "x", "client_secret": secret(9), **urls}}
    change(hub_files, hub_authenticator="generic-oauth", hub_traits=traits, hub_admin_users=["ann"])
    assert check.problems(CONFIG_FILE) == []
    assert "auth_refresh_strict" not in config().Authenticator, "a token of theirs may last an hour"
    change(hub_files, hub_authenticator="nowhere.LoginAuthenticator", hub_admin_users=["ann"])
    assert [each.split(":")[1] for each in check.problems(CONFIG_FILE)] == [" JupyterHub.authenticator_class"]


def test_user_removed_from_the_settings_is_refused(hub_files: Path) -> None:
    """Also with a class that is not from oauthenticator: by default, JupyterHub allows all users in its database."""
    change(
        hub_files,
        hub_authenticator="company.LDAPAuthenticator",
        hub_allowed_users=["ann"],
        hub_admin_users=["eve"],
    )
    authenticator = Authenticator(config=config())
    # As JupyterHub does at its start for all users in the database.
    for name in ("ann", "bob"):
        authenticator.add_user(SimpleNamespace(name=name))
    assert [authenticator.check_allowed(name, None) for name in ("ann", "bob")] == [True, False]
