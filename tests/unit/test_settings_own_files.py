"""The operator's own files: jupyterhub_config.py runs last, under the rules for hub_traits, and fails in words."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_secrets import GITHUB
from jupyterhub.spawner import Spawner
from jupyterhub_ansible.settings import check, own_files
from oauthenticator.oauth2 import OAuthenticator
from project import IMAGES
from traitlets.config import Config, PyFileConfigLoader

CONFIG_FILE = IMAGES / "hub/jupyterhub_config.py"


@pytest.fixture
def own(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = hub_files / "own"
    folder.mkdir()
    monkeypatch.setenv("JUPYTERHUB_FILES_DIR", str(folder))
    # As a .pth file of the image does (images/hub/Dockerfile).
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    known = {*sys.modules}
    yield folder
    for name in {*sys.modules} - known:
        del sys.modules[name]


def config() -> Config:
    return PyFileConfigLoader(str(CONFIG_FILE)).load_config()


def settings(own: Path, **changed: Any) -> None:
    (own.parent / "hub.json").write_text(json.dumps({**check.EXAMPLE, **changed}))


def write(own: Path, text: str) -> None:
    (own / "jupyterhub_config.py").write_text(text)


@pytest.mark.parametrize(
    "line",
    [
        "c.JupyterHub.load_roles = [{'name': 'theirs'}]",
        "c.JupyterHub.template_vars = {'b': 2}",
        "c.GitHubMemberAuthenticator.groups_with_access = {'acme:other'}",
    ],
)
def test_it_cannot_take_away_what_the_deployment_needs(own: Path, line: str) -> None:
    workspace = {"slug": "lab", "environment": "base", "groups": ["acme:data"]}
    settings(own, **GITHUB, jupyterhub_url="https://hub.acme.test", hub_workspaces=[workspace])
    write(own, f"c = get_config()\n{line}\n")
    with pytest.raises(SystemExit, match=r"c\.JupyterHub\.load_roles \+= "):
        config()


def test_it_runs_last_and_adds_to_what_is_there(own: Path) -> None:
    settings(own, hub_traits={"JupyterHub": {"template_vars": {"a": 1}}})
    (own / "team_hooks.py").write_text("async def before(spawner): ...\n")
    write(
        own,
        "from team_hooks import before\n"
        "c = get_config()\n"
        "c.Spawner.pre_spawn_hook = before\n"
        "c.JupyterHub.template_vars['b'] = 2\n"
        "c.JupyterHub.load_roles.append({'name': 'theirs', 'scopes': ['read:users']})\n"
        "c.JupyterHub.tornado_settings.update({'x': 1})\n",
    )
    c = config()
    assert c.Spawner.pre_spawn_hook.__name__ == "before"
    assert {"a": 1, "b": 2}.items() <= c.JupyterHub.template_vars.items()
    assert [role["name"] for role in c.JupyterHub.load_roles] == ["sync-routes", "idle-culler", "theirs"]
    assert check.problems(CONFIG_FILE) == []


def test_what_extends_a_default_keeps_it(own: Path) -> None:
    """The check of what the file sets only looks: a trait that was read or extended is resolved by its class."""
    settings(own, **GITHUB, jupyterhub_url="https://hub.acme.test")
    write(
        own,
        "c.GitHubOAuthenticator.scope.append('user:email')\n"
        "c.Spawner.env_keep.extend(['TEAM'])\n"
        "c.Spawner.env_keep.prepend(['FIRST'])\n"
        "assert not c.OAuthenticator.extra_authorize_params.to_dict()\n"
        "c.OAuthenticator.extra_authorize_params.update({'prompt': 'login'})\n",
    )
    c = config()
    authenticator = c.JupyterHub.authenticator_class(config=c)
    assert authenticator.scope == ["read:org", "user:email"]
    assert authenticator.extra_authorize_params == {"prompt": "login"}
    assert Spawner(config=c).env_keep == ["FIRST", *Spawner().env_keep, "TEAM"]
    assert check.problems(CONFIG_FILE) == []


@pytest.mark.parametrize("line", ["add('x')", "update(['x'])", "update({'x'})"])
def test_a_set_that_is_not_there_yet_can_be_added_to(own: Path, line: str) -> None:
    write(own, f"c.OAuthenticator.admin_groups.{line}\nc.OAuthenticator.manage_groups = True\n")
    assert OAuthenticator(config=config()).admin_groups == {"x"}
    write(own, f"c.LocalAuthenticator.blocked_users.{line}\n")
    with pytest.raises(SystemExit, match=r"LocalAuthenticator\.blocked_users: has its own setting"):
        config()


def test_a_class_of_the_folder_can_be_the_authenticator(own: Path) -> None:
    (own / "company.py").write_text("from jupyterhub.auth import Authenticator\nclass Login(Authenticator): ...\n")
    settings(own, hub_authenticator="company.Login", hub_admin_users=["ann"], hub_allow_all=True)
    assert check.problems(CONFIG_FILE) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "c.Spawner.x = 1\nunknown_name\n",
            "jupyterhub_config.py, line 2: NameError: name 'unknown_name' is not defined",
        ),
        ("x = 1\nif x\n", "jupyterhub_config.py, line 2: SyntaxError: expected ':'"),
        ("import broken\n", "broken.py, line 3: ZeroDivisionError: division by zero"),
        ("import nowhere\n", "jupyterhub_config.py, line 1: ModuleNotFoundError: No module named 'nowhere'"),
        ("import sys\nsys.exit('enough')\n", "jupyterhub_config.py, line 2: SystemExit: enough"),
    ],
)
def test_a_failure_is_one_line(own: Path, text: str, says: str) -> None:
    (own / "broken.py").write_text("a = 1\n\na / 0\n")
    write(own, text)
    with pytest.raises(SystemExit) as failed:
        config()
    assert str(failed.value) == says


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "c.JupyterHub.bind_url = 'http://:8000'",
            "JupyterHub.bind_url: has its own setting; set jupyterhub_address",
        ),
        (
            "from dockerspawner import DockerSpawner\nc.JupyterHub.spawner_class = DockerSpawner",
            "JupyterHub.spawner_class: would start servers",
        ),
        (
            "c.JupyterHub.proxy_class = 'jupyterhub.proxy.ConfigurableHTTPProxy'",
            "JupyterHub.proxy_class: could lead users to servers of others; remove it",
        ),
        (
            "c.Spawner.args.append('--HubAuth.cache_max_age=3600')",
            "Spawner.args.--HubAuth.cache_max_age=3600: would keep users in their servers for longer",
        ),
        ("c.JupyterHub.spawner_class = 'dockerspawner.DockerSpawner'", "JupyterHub.spawner_class: would start servers"),
        ("c.JupyterHub.db_url = 'sqlite:///x.sqlite'", "JupyterHub.db_url: would be another database than"),
        ("c.DockerSpawner.network_name = 'bridge'", "DockerSpawner.network_name: is set by the deployment"),
        ("c.Authenticator.admin_users = {'eve'}", "Authenticator.admin_users: has its own setting"),
        ("c.DockerSpawner.extra_host_config = {'privileged': True}", "DockerSpawner.extra_host_config.privileged:"),
        # What extends a default, not a value of ours.
        (
            "c.DockerSpawner.extra_host_config.update([('privileged', True)])",
            "DockerSpawner.extra_host_config.privileged:",
        ),
        (
            "c.DockerSpawner.extra_host_config.update({'privileged': True})",
            "DockerSpawner.extra_host_config.privileged:",
        ),
        ("import pathlib\nc.DockerSpawner.volumes = {pathlib.Path('/etc'): '/x'}", "DockerSpawner.volumes./etc:"),
        ("c.DockerSpawner.mounts = ({'source': '/var/run/docker.sock'},)", "DockerSpawner.mounts.0.source:"),
        (
            "c.DockerSpawner.extra_host_config = lambda spawner: {}",
            "DockerSpawner.extra_host_config: cannot be a function",
        ),
        ("c.DockerSpawner.extra_host_config.update({5: 6})", "DockerSpawner.extra_host_config.5:"),
        ("c.DockerSpawner.volumes = {'/var/run/docker.sock': '/x'}", "DockerSpawner.volumes./var/run/docker.sock:"),
    ],
)
def test_what_hub_traits_must_not_set_it_must_not_either(own: Path, text: str, says: str) -> None:
    write(own, f"{text}\n")
    with pytest.raises(SystemExit) as refused:
        config()
    assert str(refused.value).startswith(f"jupyterhub_config.py: {says}")


def test_what_it_mounts_is_held_against_the_environments(own: Path) -> None:
    [base, *_] = check.EXAMPLE["images_environments"]
    mount = {"source": "/srv/data", "target": "/d", "read_only": False}
    settings(own, images_environments=[{**base, "mounts": [mount]}])
    write(own, "c.DockerSpawner.read_only_volumes.update({'/srv/data/sub': '/s'})\n")
    with pytest.raises(SystemExit, match=r'DockerSpawner\.read_only_volumes\./srv/data/sub: .* is inside "/srv/data"'):
        config()


def test_a_hook_must_not_take_the_place_of_the_check_of_memberships(own: Path) -> None:
    """What it returns counts as GitHub's answer (OAuthenticator.refresh_user)."""
    settings(own, **GITHUB, jupyterhub_url="https://hub.acme.test")
    write(own, "c.OAuthenticator.refresh_user_hook = lambda *_: True\n")
    with pytest.raises(SystemExit, match=r"OAuthenticator\.refresh_user_hook: would let users in who have left"):
        config()
    write(own, "c.OAuthenticator.refresh_user_hook = None\nc.Authenticator.auth_refresh_strict = True\n")
    config()
    settings(own)
    write(own, "c.OAuthenticator.refresh_user_hook = lambda *_: True\n")
    config()


def test_wrong_traits_and_missing_files_are_found_by_the_check(own: Path) -> None:
    write(own, f"c.Spawner.poll_intervall = 9\nc.JupyterHub.logo_file = '{own}/logo.svg'\n")
    found = check.problems(CONFIG_FILE)
    assert [each.partition(":")[0] for each in found] == ["hub_traits or jupyterhub_config.py"] * 2
    assert any("no such trait; did you mean poll_interval?" in each for each in found)
    assert any(f"JupyterHub.logo_file: there is no {own}/logo.svg in the Hub's container" in each for each in found)
    (own / "logo.svg").touch()
    assert len(check.problems(CONFIG_FILE)) == 1


def test_a_logo_that_is_not_in_the_container_is_refused(hub_files: Path) -> None:
    """JupyterHub itself would start, and answer 500 to the browser that asks for it."""
    settings(
        hub_files / "own",
        hub_traits={"JupyterHub": {"logo_file": "/srv/logo.png", "template_paths": ["/srv/templates"]}},
    )
    found = sorted(check.problems(CONFIG_FILE))
    assert [each.partition(";")[0] for each in found] == [
        "hub_traits: JupyterHub.logo_file: there is no /srv/logo.png in the Hub's container",
        "hub_traits: JupyterHub.template_paths: there is no /srv/templates in the Hub's container",
    ]


def test_files_that_are_added_are_looked_for_too(own: Path) -> None:
    """What is added to a trait without a value of ours is resolved later, by its class."""
    write(own, "c.GoogleOAuthenticator.google_service_account_keys.update({'acme.test': '/srv/key.json'})\n")
    [found] = [each for each in check.problems(CONFIG_FILE) if "google_service_account_keys" in each]
    assert "there is no /srv/key.json in the Hub's container" in found


def test_files_of_the_hubs_volume_are_not_looked_for(hub_files: Path) -> None:
    """The playbook checks settings in a container of its own, which does not have the volume."""
    names = ["/srv/jupyterhub/templates", "templates", "/srv/jupyterhub"]
    traits = {"logo_file": "/srv/jupyterhub/logo.svg", "template_paths": names}
    settings(hub_files / "own", hub_traits={"JupyterHub": traits})
    assert check.problems(CONFIG_FILE) == []
    settings(hub_files / "own", hub_traits={"JupyterHub": {"logo_file": "/srv/jupyterhub/../logo.svg"}})
    assert len(check.problems(CONFIG_FILE)) == 1


def test_without_the_file_nothing_changes(own: Path) -> None:
    assert own_files.run(Config(), None) is None  # type: ignore[arg-type, func-returns-value]
