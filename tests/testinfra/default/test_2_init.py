"""`make init` with a vault, then the documented commands: the Hub switches to logging in with GitHub."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from e2e.people import CLIENT_ID, CLIENT_SECRET, Person, github
from github import GitHub
from sites import KEY, PROJECT, Site

# One machine is enough: the one whose sudo asks for a password, which is in the vault as well.
MACHINE = "jhtest-default-trixie"
LEFT_OUT = (".git", ".venv", "artefacts", ".*cache*", "__pycache__", ".ansible", "node_modules")
SETTINGS, VAULT = "group_vars/throwaway/settings.yml", "group_vars/throwaway/vault.yml"
INVENTORY = "INVENTORY=inventory/throwaway.yml"


class Operator:
    """An operator with a copy of the project and an SSH key, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        shutil.copytree(PROJECT, self.folder, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (self.folder / ".venv").symlink_to(Path(sys.prefix))
        # The output of all deployments.
        self.said = ""

    def run(self, *command: str, **more: str) -> str:
        """Run a command of the README, on a machine without engine and images."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "MOLECULE_"))}
        # The machine's host key is new in every run.
        asked = {"ANSIBLE_SSH_COMMON_ARGS": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"}
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**known, **asked, "DOCKER_HOST": "unix:///nowhere", "ANSIBLE_NOCOLOR": "1", **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def deploy(self, *more: str) -> int:
        """Deploy, and return the number of changes."""
        output = self.run("make", "deploy", INVENTORY, *more)
        self.said += output
        [changed] = re.findall(r"^127\.0\.0\.1 +: ok=.*\bchanged=(\d+)", output, re.MULTILINE)
        return int(changed)

    def edit(self, file: str, **values: object) -> None:
        """Set keys, whether their lines are commented out or not; in a vault through `ansible-vault edit`."""
        lines = {key: f"{key}: {json.dumps(value)}" for key, value in values.items()}
        script = self.folder.with_name("script.sed")
        script.write_text("".join(f"s|^( *)(# )?{key}:.*|\\1{line}|\n" for key, line in lines.items()))
        sed = f"sed -i -E -f {script}"
        vault = ".venv/bin/ansible-vault"
        edit, view = ([vault, "edit"], [vault, "view"]) if file == VAULT else (sed.split(), ["cat"])
        self.run(*edit, file, EDITOR=sed)
        shown = self.run(*view, file)
        assert [line for line in lines.values() if line not in shown] == []


@dataclass
class Place:
    """An operator, and the GitHub whose users log in to the Hub."""

    operator: Operator
    github: GitHub
    url: str
    certificate: Path

    def login(self, account: str) -> int:
        """Return the status of the page that a login in a new browser session ends on."""
        return Person(self.url, account, self.certificate).login().status_code


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("operator")
    operator = Operator(folder)
    site = Site(MACHINE, pytestconfig.getoption("--ansible-inventory"))
    machine = site.variables()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with github("bridge", url, folder / "tls") as (account, settings, certificate), site.tunnel(port, port):
        account.add_organization("acme")
        for login in ("Olga", "Mia", "mallory"):
            account.add_user(login)
        account.set_member("acme", "Mia")
        secret = folder / "client-secret"
        secret.write_text(CLIENT_SECRET)
        said = operator.run(
            *("make", "init", "HOST=127.0.0.1", "ADMIN=Olga", f"USER={machine['ansible_user']}", "NAME=throwaway"),
            GITHUB_CLIENT_ID=CLIENT_ID,
            GITHUB_CLIENT_SECRET_FILE=str(secret),
        )
        assert f"make deploy {INVENTORY}" in said
        operator.edit(
            INVENTORY.partition("=")[2],
            ansible_port=machine["ansible_port"],
            ansible_ssh_private_key_file=str(KEY),
            ansible_become_password="{{ vault_become_password }}",
        )
        operator.edit(VAULT, vault_become_password="throwaway")
        operator.edit(SETTINGS, jupyterhub_port=port, hub_github_allowed_organizations=["acme"])
        # Only for this test: a smaller catalogue, and the GitHub stand-in.
        only_here: dict[str, Any] = {
            "images_environments": [{"slug": "base", "title": "Base"}],
            "hub_github_url": settings["hub_github_url"],
            "hub_traits": {"OAuthenticator": settings["hub_traits"]["OAuthenticator"]},
        }
        (operator.folder / SETTINGS).with_name("only-here.yml").write_text(json.dumps(only_here))
        yield Place(operator, account, url, certificate)


def test_first_run_with_a_vault_deploys_and_the_second_changes_nothing(place: Place) -> None:
    assert place.operator.deploy() > 0
    assert {account: place.login(account) for account in ("Mia", "Olga", "mallory")} == {
        "Mia": 200,
        "Olga": 200,
        "mallory": 403,
    }
    assert place.operator.deploy() == 0


def test_changed_client_secret_reaches_the_hub_with_the_next_run(place: Place) -> None:
    secret = token_hex(20)
    place.github.change_client_secret(CLIENT_ID, secret)
    assert place.login("Mia") == 403
    place.operator.edit(VAULT, vault_hub_github_client_secret=secret)
    assert place.operator.deploy("ARGS=--diff") > 0
    assert secret not in place.operator.said
    assert place.login("Mia") == 200
    assert place.operator.deploy() == 0


def test_only_the_operator_can_read_secrets(place: Place) -> None:
    folder = place.operator.folder
    assert (folder / VAULT).read_text().startswith("$ANSIBLE_VAULT;")
    assert {path.stat().st_mode & 0o777 for path in (folder / VAULT, folder / ".vault-password")} == {0o600}
    password = (folder / ".vault-password").read_text().strip()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(folder / ".venv")]
    assert [path for path in files if path.name != ".vault-password" and password.encode() in path.read_bytes()] == []
    assert [path for path in files if CLIENT_SECRET.encode() in path.read_bytes()] == []
    assert "PLAY RECAP" in place.operator.said
    assert [name for name in (CLIENT_SECRET, password) if name in place.operator.said] == []
