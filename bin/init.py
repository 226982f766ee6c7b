#!/usr/bin/env python3
"""Write what is an operator's own, from examples/production: an inventory, settings, and a vault: `make init`.

What it is not told and cannot make stays a placeholder, which a deployment refuses with its fix.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import secrets
import sys
from pathlib import Path

import yaml
from ansible.constants import DEFAULT_VAULT_IDENTITY
from ansible.parsing.vault import VaultLib, VaultSecret

sys.path.append(str(Path(__file__).resolve().parents[1] / "roles/preflight/plugin_utils"))

from preflight_checks.rules import addresses, github, missing

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLES = PROJECT / "examples/production"
# As the examples have them.
HOST, USER, NAME = "hub.example.org", "root", "production"
ADMIN = "your-github-login"
UNSAID = "changeme"
TUNNEL = "http://127.0.0.1:8000"
# Groups of Ansible's and of this project's.
TAKEN = ("all", "ungrouped", "local")


class RefusedError(Exception):
    """What keeps it from writing anything, in words."""


def arguments() -> argparse.Namespace:
    """Return what make was told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="", help="the machine, by the name or address that ssh reaches it by")
    parser.add_argument("--admin", default="", help="login name at GitHub of the first administrator")
    parser.add_argument("--user", default=USER, help="account there: root, or one that may use sudo")
    parser.add_argument("--name", default=NAME, help="of the files, and of the group of machines")
    parser.add_argument("--url", default="", help="address that browsers use, where something there speaks HTTPS")
    return parser.parse_args()


def check(given: argparse.Namespace) -> None:
    """Refuse what would not lead to a Hub.

    Raises:
        RefusedError: with the fix.
    """
    if not given.host or not given.admin:
        raise RefusedError(f"Which machine, and who looks after the Hub?  make init HOST={HOST} ADMIN={ADMIN}")
    for name, value in (("HOST", given.host), ("ADMIN", given.admin), ("URL", given.url)):
        if missing.is_placeholder(value):
            raise RefusedError(f"{name}={value} is only an example: write your own")
    if addresses.wrong_form(f"https://{given.host}") and addresses.wrong_form(f"https://[{given.host}]"):
        raise RefusedError(
            f"HOST={given.host} is no name or address of a machine, such as {HOST}; the account is USER=..."
        )
    if advice := github.wrong_login(given.admin):
        raise RefusedError(f"ADMIN={given.admin} is no login name of GitHub: {advice}")
    if not re.fullmatch(r"[a-z_][a-z0-9_-]*", given.user):
        raise RefusedError(f"USER={given.user} is no name of an account")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name) or given.name in TAKEN:
        raise RefusedError(
            f"NAME={given.name} cannot be: use small letters, digits and _, and none of {', '.join(TAKEN)}"
        )
    if given.url and (wrong := addresses.wrong_form(given.url)):
        raise RefusedError(f"URL={given.url} {wrong[0]}: {wrong[1]}")


def client_secret() -> str:
    """Return the client secret from the file that the environment names; never from the environment itself.

    Raises:
        RefusedError: there is no such file, or nothing in it.
    """
    file = os.environ.get("GITHUB_CLIENT_SECRET_FILE")
    if not file:
        return UNSAID
    try:
        secret = Path(file).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"GITHUB_CLIENT_SECRET_FILE={file} cannot be read: {error}") from error
    if not secret:
        raise RefusedError(f"GITHUB_CLIENT_SECRET_FILE={file} is empty")
    return secret


def scalar(value: str) -> str:
    """Return a text as YAML, in quotes where it would be something else without."""
    plain = re.fullmatch(r"[\w.:/-]+", value) and yaml.safe_load(f"{value}: {value}") == {value: value}
    return value if plain else json.dumps(value)


def filled(text: str, given: argparse.Namespace, secret: str) -> str:
    """Return an example with what is known in its place."""
    url = given.url or f"https://{given.host}"
    values = {
        f"# jupyterhub_url: https://{HOST}": f"{'' if given.url else '# '}jupyterhub_url: {scalar(url)}",
        f"    {HOST}:": f"    {scalar(given.host)}:",
        f"{USER}@{HOST}": f"{given.user}@{given.host}",
        f"ansible_user: {USER}": f"ansible_user: {scalar(given.user)}",
        f"- {ADMIN}": f"- {scalar(given.admin)}",
        f"hub_github_client_id: {UNSAID}": f"hub_github_client_id: {scalar(client_id())}",
        f"\nvault_hub_github_client_secret: {UNSAID}": f"\nvault_hub_github_client_secret: {scalar(secret)}",
        NAME: given.name,
    }
    # In one go: what was put in is not looked at again.
    return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], text)


def client_id() -> str:
    """Return the client ID, which is no secret."""
    return os.environ.get("GITHUB_CLIENT_ID", "").strip() or UNSAID


def vault_password(file: Path) -> str:
    """Return the vault's password: the one that is there, one that is typed, or a new one."""
    if file.exists():
        return file.read_text().strip()
    typed = ""
    if sys.stdin.isatty():
        typed = getpass.getpass("A password for the vault (Enter alone makes one; it is kept in .vault-password): ")
        if typed and typed != getpass.getpass("Once more: "):
            raise RefusedError("These were two different passwords.")
    return typed or secrets.token_urlsafe(32)


def encrypted(text: str, password: str) -> str:
    """Return a text as ansible-vault encrypts it."""
    vault = VaultLib([(DEFAULT_VAULT_IDENTITY, VaultSecret(password.encode()))])
    content: bytes = vault.encrypt(text.encode())
    return content.decode()


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that is not there yet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        handle.write(text)


def init(given: argparse.Namespace) -> str:
    """Write the files, and return what is to be done next.

    Raises:
        RefusedError: nothing was written.
    """
    check(given)
    inventory = Path("inventory", f"{given.name}.yml")
    settings = Path("group_vars", given.name, "settings.yml")
    vault = settings.with_name("vault.yml")
    for file in (inventory, settings, vault):
        if (PROJECT / file).exists():
            raise RefusedError(
                f"{file} is there already.  To go on with it: make check INVENTORY={inventory}\n"
                f"For another Hub: make init HOST={given.host} ADMIN={given.admin} NAME=another_name"
            )
    secret = client_secret()
    examples = {inventory: f"inventory/{NAME}.yml", settings: f"group_vars/{NAME}/settings.yml"}
    examples[vault] = f"group_vars/{NAME}/vault.yml"
    texts = {file: filled((EXAMPLES / example).read_text(), given, secret) for file, example in examples.items()}
    password_file = PROJECT / ".vault-password"
    password = vault_password(password_file)
    if not password_file.exists():
        write(password_file, f"{password}\n")
    write(PROJECT / vault, encrypted(texts[vault], password))
    write(PROJECT / settings, texts[settings], 0o644)
    write(PROJECT / inventory, texts[inventory], 0o644)
    return next_steps(given, inventory, settings, vault, secret)


def next_steps(given: argparse.Namespace, inventory: Path, settings: Path, vault: Path, secret: str) -> str:
    """Return what was written, and what is left to do."""
    url = given.url or TUNNEL
    files = [
        (inventory, "the machine, and how ssh reaches it"),
        (settings, "who may log in, and what else is yours to decide"),
        (vault, "the secrets, encrypted"),
        (Path(".vault-password"), "what decrypts them; keep a copy of it elsewhere than of the vault"),
    ]
    lines = ["Written, and ignored by git:", *(f"  {file!s:38} {what}" for file, what in files), "", "Next:"]
    steps = []
    if UNSAID in (client_id(), secret):
        steps += [
            "create an OAuth app at https://github.com/settings/applications/new (docs/how-to/github.md) with\n"
            f"     Homepage URL                {url}\n"
            f"     Authorization callback URL  {addresses.callback_url(url)}",
        ]
    if client_id() == UNSAID:
        steps += [f"write its client ID into {settings}: hub_github_client_id"]
    if secret == UNSAID:
        steps += [f"and a client secret of it into the vault: .venv/bin/ansible-vault edit {vault}"]
    steps += [
        f"log in once by hand, to compare the host key: ssh {given.user}@{given.host}",
        f"see what would be done: make check INVENTORY={inventory}",
        f"do it: make deploy INVENTORY={inventory}",
    ]
    if given.user != USER:
        steps[-1] += "\n     (where sudo asks for a password, both with ARGS=--ask-become-pass)"
    return "\n".join([*lines, *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])


def main() -> None:
    """Run it."""
    try:
        print(init(arguments()))
    except RefusedError as reason:
        sys.exit(f"Nothing was written. {reason}")


if __name__ == "__main__":
    main()
