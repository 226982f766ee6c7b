"""None of the deployment's secrets is anywhere but in its file."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from e2e.client import User
from e2e.deployment import ARTEFACTS, Deployment
from e2e.places import found, of_files, of_processes, of_runs, of_the_engine, secrets


def test_search_finds_a_secret(deployment: Deployment) -> None:
    names = {"cookie_secret", "crypt_key", "proxy_token", "user_password", "admin_password"}
    expected = {f"hub/{name}" for name in names} | {"proxy/token"}
    assert secrets(deployment).keys() == expected
    # Short ones could be found by chance.
    assert all(len(value) >= 16 for value in secrets(deployment).values())
    copy = ("a copy", f"x{deployment.secret('crypt_key')}x")
    assert found(secrets(deployment), iter([copy])) == ["hub/crypt_key in a copy"]


def test_secret_files_are_readable_by_their_container_only(deployment: Deployment) -> None:
    for role, owner in (("hub", 64101), ("proxy", 64102)):
        folder = deployment.root / role / "secrets"
        modes = {path: (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in (folder, *folder.iterdir())}
        assert modes == {path: (0o700 if path == folder else 0o600, owner) for path in modes}


@pytest.fixture
def busy(alice: User, bob: User) -> None:
    """Servers are running and have been used, so that their output is in the logs."""
    assert alice.server().run("1").result == bob.server().run("1").result == "1"


@pytest.mark.usefixtures("busy")
def test_secrets_are_not_in_docker_s_metadata_and_logs(deployment: Deployment) -> None:
    assert found(secrets(deployment), of_the_engine(deployment)) == []


@pytest.mark.usefixtures("busy")
def test_secrets_are_not_in_the_process_list(deployment: Deployment) -> None:
    assert found(secrets(deployment), of_processes(deployment)) == []


def test_secrets_are_not_in_world_readable_files(deployment: Deployment) -> None:
    assert found(secrets(deployment), of_files(deployment)) == []


def test_secrets_are_not_in_the_output_of_any_run(deployment: Deployment) -> None:
    """The first run, with -vvv and --diff, created them."""
    first = min(ARTEFACTS.glob("run-*.log")).read_text()
    assert " -vvv --diff" in first.splitlines()[0]
    assert "TASK [hub : " in first
    assert found(secrets(deployment), of_runs()) == []


def test_operator_s_secrets_are_not_in_the_output(deployment: Deployment, tmp_path: Path) -> None:
    """A dry run reports the changes of secrets that the operator sets without their values."""
    given = {
        name: os.urandom(32).hex()
        for name in ("hub_user_password", "hub_admin_password", "hub_cookie_secret", "hub_crypt_key", "proxy_token")
    }
    settings = tmp_path / "secrets.yml"
    settings.write_text("".join(f'{name}: "{value}"\n' for name, value in given.items()))
    before = deployment.state()
    run = deployment.run("-vvv", "--check", "--diff", "-e", f"@{settings}").succeeded()
    assert run.changed > 0
    assert [name for name, value in given.items() if value in run.output] == []
    assert deployment.state() == before
