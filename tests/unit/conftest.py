"""Fixtures that several unit tests share."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from example_secrets import SECRET_NAMES, secret
from fake_clock import Clock
from fake_engine import LOG, PLAN, Engine, image
from fake_spawner import PROXY, FakeDocker
from github import GitHub, running
from github_login import APP, App, Door
from jupyterhub_ansible.compose import fence, reconciler
from jupyterhub_ansible.engine import run_as
from jupyterhub_ansible.rules import probe
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.spawner import disk_admission, fence_check
from jupyterhub_ansible.spawner.address_pool import Addresses
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


@pytest.fixture(autouse=True)
def engines_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder by which the Hub knows how full the engine's disk is."""
    monkeypatch.setattr(disk_admission, "FOLDER", tmp_path)


@pytest.fixture
def clock() -> Clock:
    """A clock that the test advances."""
    return Clock()


@pytest.fixture
def hub_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Hub's settings and secrets, which `load()` finds."""
    (tmp_path / "hub.json").write_text(json.dumps(EXAMPLE))
    for number, name in enumerate(SECRET_NAMES):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(f"{secret(number)}\n")
    monkeypatch.setenv("JUPYTERHUB_SETTINGS_FILE", str(tmp_path / "hub.json"))
    monkeypatch.setenv("JUPYTERHUB_SECRETS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker()
    monkeypatch.setattr(UserServerSpawner, "_client", fake)
    monkeypatch.setattr(PROXY, "routes", {})
    monkeypatch.setattr(UserServerSpawner, "addresses", Addresses(Session(create_engine("sqlite://"))), raising=False)
    monkeypatch.setattr(UserServerSpawner, "_engine", None)
    monkeypatch.setattr("jupyterhub_ansible.spawner.recovery._RESTART_S", 0)
    monkeypatch.setattr(run_as, "_known", {})
    return fake


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def helper(engine: Engine) -> fence.Fence:
    return fence.Fence(engine, "a-hub", PLAN, 512, "sha256:hub")


@pytest.fixture
def prober() -> Any:
    found = {"the Hub": True, "the proxy's public port": True, "another server": False, probe.NAMES: True}
    looks_up = Mock(return_value=True)
    return SimpleNamespace(remove_leftovers=Mock(), reached=Mock(return_value=found), host_resolves_names=looks_up)


@pytest.fixture
def compose_reconciler(
    engine: Engine, helper: fence.Fence, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> reconciler.Reconciler:
    monkeypatch.setattr(reconciler, "own_id", lambda: "me")
    monkeypatch.setattr(reconciler, "READY", tmp_path / "able")
    monkeypatch.setattr(reconciler, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(reconciler, "NEW_TOKEN", tmp_path / "new-proxy-token")
    monkeypatch.setattr(reconciler, "WAIT_S", 0)
    monkeypatch.setattr(reconciler, "PAUSE_S", 0)
    monkeypatch.setattr(fence_check, "CLOSED", tmp_path / "closed")
    engine.add("me", kind="compose-hub")
    engine.add("p", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    engine.stored = [image(1)]
    settings = json.loads(json.dumps(EXAMPLE))
    settings |= {"jupyterhub_name": "hub", "compose": {}}
    settings["deployment"]["users_network"] = "hub-users"
    settings["images_environments"][0]["image"] = "hub/env-base:built"
    made = reconciler.Reconciler(Settings.model_validate_json(json.dumps(settings)), LOG, engine)
    made.prober = prober
    return made


@pytest.fixture
def github() -> GitHub:
    """Ann is a member of Acme and of its team Data; Bob is not."""
    github = GitHub()
    github.register_app(APP, "s" * 40, "http://127.0.0.1/hub/oauth_callback")
    github.add_organization("Acme")
    github.add_team("Acme", "Data Science")
    for login in ("Ann", "bob"):
        github.add_user(login)
    github.set_member("Acme", "Ann")
    github.add_team_member("Acme", "data-science", "Ann")
    return github


@pytest.fixture
def door(github: GitHub) -> Iterator[Any]:
    """Return a factory of authenticators with settings, which share a test's users."""
    app = App()
    with running(github) as url:
        yield lambda **settings: Door(github, url, app, **settings)
