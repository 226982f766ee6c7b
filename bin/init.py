"""Write what is an operator's own, from examples/production: an inventory, settings, and a vault: `make init`.

What it is not told and cannot make stays a placeholder, which a deployment refuses with its fix.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import re
import secrets
import sys
from pathlib import Path

import yaml
from ansible.constants import DEFAULT_VAULT_IDENTITY
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultLib, VaultSecret, get_file_vault_secret
from ansible.utils.path import unfrackpath

from plugins.module_utils.rules import addresses, github, placeholders
from plugins.module_utils.rules.tables import addresses as rules_of_addresses

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLES = PROJECT / "examples/production"
# As the examples have them.
HOST, USER, NAME = "hub.example.org", "root", "production"
ADMIN = "your-github-login"
UNSAID = "changeme"
TUNNEL = "http://127.0.0.1:8000"
# Groups of Ansible's and of this project's.
TAKEN = ("all", "ungrouped", "local")
PASSWORD = Path(".vault-password")
ELSEWHERE = "ANSIBLE_VAULT_PASSWORD_FILE"


class RefusedError(Exception):
    """What keeps it from writing anything, in words."""


def arguments() -> argparse.Namespace:
    """Return what make was told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="", help="the machine, by the name or address that ssh reaches it by")
    parser.add_argument("--admin", default="", help="login name at GitHub of the first administrator")
    parser.add_argument("--user", default=USER, help="account there: root, or one that may use sudo")
    parser.add_argument("--name", default=NAME, help="of the files, and of the group of machines")
    parser.add_argument("--url", default="", help="address that browsers use: https, with a name that leads to it")
    return parser.parse_args()


def check(given: argparse.Namespace) -> None:
    """Refuse what would not lead to a Hub.

    Raises:
        RefusedError: with the fix.
    """
    if not given.host or not given.admin:
        raise RefusedError(f"Which machine, and who looks after the Hub?  make init HOST={HOST} ADMIN={ADMIN}")
    for name, value in (("HOST", given.host), ("ADMIN", given.admin), ("URL", given.url)):
        if placeholders.is_placeholder(value):
            raise RefusedError(f"{name}={value} is only an example: write your own")
    if port := re.fullmatch(r"(?:\[(.+)\]|([^:@/]+)):(\d+)", given.host):
        raise RefusedError(
            f"HOST={given.host} has a port in it: make init HOST={port[1] or port[2]}, and then write"
            f" ansible_port: {port[3]} below it in inventory/{given.name}.yml"
        )
    if addresses.wrong_form(f"https://{given.host}") and addresses.wrong_form(f"https://[{given.host}]"):
        raise RefusedError(
            f"HOST={given.host} is no name or address of a machine, such as {HOST}; the account is USER=..."
        )
    if advice := github.wrong_login(given.admin):
        raise RefusedError(f"ADMIN={given.admin} is no login name of GitHub: {advice}")
    if not re.fullmatch(r"(?!-)[A-Za-z0-9._-]+", given.user):
        raise RefusedError(f"USER={given.user} is no name of an account")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name) or given.name in TAKEN:
        raise RefusedError(
            f"NAME={given.name} cannot be: use small letters, digits and _, and none of {', '.join(TAKEN)}"
        )
    if given.url and (wrong := addresses.wrong_form(given.url)):
        raise RefusedError(f"URL={given.url} {wrong[0]}: {wrong[1]}")
    # The examples' authenticator; a deployment would refuse it, too.
    for finding in rules_of_addresses.https_is_needed(given.url, "github"):
        raise RefusedError(f"URL {finding.what}; {finding.fix}")


def client_secret() -> str:
    """Return the client secret from the file that the environment names; never from the environment itself.

    Raises:
        RefusedError: there is no such file, or nothing in it; or the environment has the secret itself.
    """
    if os.environ.get("GITHUB_CLIENT_SECRET", "").strip():
        raise RefusedError(
            "GITHUB_CLIENT_SECRET is set, and the secret is not read from there: write it into a file of yours, and\n"
            "name that: unset GITHUB_CLIENT_SECRET; export GITHUB_CLIENT_SECRET_FILE=/path/to/file"
        )
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
        "# ingress_mode: caddy": f"{'' if url.startswith('https://') and given.url else '# '}ingress_mode: caddy",
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


def vault_password() -> tuple[bytes, str]:
    """Return the vault's password, and where it is from, "" for a new one that is to be kept in .vault-password.

    Raises:
        RefusedError: there is one that cannot be used, or none was typed.
    """
    file, other = PROJECT / PASSWORD, os.environ.get(ELSEWHERE)
    # By another name these are still ours; and bin/vault-password gives a word where there is no password.
    ours = [PROJECT / "bin/vault-password", *([] if os.path.lexists(file) else [file])]
    if other is not None and Path(unfrackpath(other)) not in ours:
        return password_elsewhere(other), f"{ELSEWHERE}={other}, which every run needs"
    if os.path.lexists(file):
        return password_kept(file), f"{PASSWORD}, which was there"
    password = typed_password() if sys.stdin.isatty() else ""
    return (password or secrets.token_urlsafe(32)).encode(), ""


def password_elsewhere(other: str) -> bytes:
    """Return the password of another file or program, as Ansible reads it."""
    try:
        secret = get_file_vault_secret(filename=other, vault_id=DEFAULT_VAULT_IDENTITY, loader=DataLoader())
        secret.load()
        if not secret.bytes.strip():
            raise AnsibleError("it is blank")
    except AnsibleError as error:
        raise RefusedError(
            f"{ELSEWHERE}={other} gives no password: {error}\nCorrect it, or unset it to have one in {PASSWORD}."
        ) from error
    password: bytes = secret.bytes
    return password


def password_kept(file: Path) -> bytes:
    """Return the password of .vault-password, as Ansible gets it from bin/vault-password."""
    try:
        password = file.read_bytes().strip(b"\r\n")
    except OSError as error:
        raise RefusedError(
            f"{PASSWORD} cannot be read: {error.strerror}\nCorrect that, or remove it to have one made."
        ) from error
    if not password.strip():
        raise RefusedError(
            f"{PASSWORD} is empty: write the vault's password into it, or remove it to have one made: rm {PASSWORD}"
        )
    return password


def typed_password() -> str:
    """Return the password that is typed, "" for none."""
    try:
        password = getpass.getpass(f"A password for the vault (Enter alone makes one; it is kept in {PASSWORD}): ")
        if password != password.strip():
            raise RefusedError(
                "A password cannot begin or end with a blank, which Ansible takes away where it reads a file itself.\n"
                "Choose another, or press Enter alone to have one made."
            )
        if password and password != getpass.getpass("Once more: "):
            raise RefusedError("These were two different passwords.")
    except (EOFError, UnicodeDecodeError) as error:
        raise RefusedError("No password was typed.") from error
    return password


def encrypted(text: str, password: bytes) -> str:
    """Return a text as ansible-vault encrypts it."""
    vault = VaultLib([(DEFAULT_VAULT_IDENTITY, VaultSecret(password))])
    content: bytes = vault.encrypt(text.encode())
    return content.decode()


def write(texts: dict[Path, str], secret: set[Path]) -> None:
    """Write files that are not there yet: all of them, or none where one cannot be written.

    Raises:
        RefusedError: nothing was written.
    """
    with contextlib.ExitStack() as undo:
        for name, text in texts.items():
            file = PROJECT / name
            try:
                for folder in reversed(file.parents):
                    if not os.path.lexists(folder):
                        folder.mkdir()
                        undo.callback(folder.rmdir)
                mode = 0o600 if name in secret else 0o644
                with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
                    undo.callback(file.unlink)
                    handle.write(text)
            except OSError as error:
                raise RefusedError(
                    f"{name} cannot be written: {error.strerror}\nSee what is in its way: ls -ld {name.parent}"
                ) from error
        undo.pop_all()


def paths(name: str) -> tuple[Path, Path, Path]:
    """Return inventory, settings and vault of that name."""
    folder = Path("group_vars", name)
    return Path("inventory", f"{name}.yml"), folder / "settings.yml", folder / "vault.yml"


def init(given: argparse.Namespace) -> str:
    """Write the files, and return what is to be done next.

    Raises:
        RefusedError: nothing was written.
    """
    check(given)
    files = inventory, _, vault = paths(given.name)
    for file in files:
        if os.path.lexists(PROJECT / file):
            raise RefusedError(
                f"{file} is there already.  To go on with it: make check INVENTORY={inventory}\n"
                f"For another Hub: make init HOST={given.host} ADMIN={given.admin} NAME=another_name"
            )
    secret = client_secret()
    examples = zip(files, paths(NAME), strict=True)
    texts = {file: filled((EXAMPLES / example).read_text(), given, secret) for file, example in examples}
    password, source = vault_password()
    texts[vault] = encrypted(texts[vault], password)
    if not source:
        texts[PASSWORD] = f"{password.decode()}\n"
    # The inventory last: where even the undoing is cut off, there is nothing yet to deploy with.
    write(dict(reversed(texts.items())), secret={PASSWORD, vault})
    return next_steps(given, source, secret)


def next_steps(given: argparse.Namespace, source: str, secret: str) -> str:
    """Return what was written, and what is left to do."""
    url = given.url or TUNNEL
    inventory, settings, vault = paths(given.name)
    files = [
        (inventory, "the machine, and how ssh reaches it"),
        (settings, "who may log in, and what else is yours to decide"),
        (vault, "the secrets, encrypted"),
        (PASSWORD, "what decrypts them; keep a copy of it elsewhere than of the vault"),
    ]
    if source:
        files.pop()
    lines = ["Written, and ignored by git:", *(f"  {file!s:38} {what}" for file, what in files), ""]
    if source:
        lines += [f"The vault is encrypted with the password of {source}.", ""]
    lines += ["Next:"]
    steps = []
    if UNSAID in (client_id(), secret):
        steps += [
            "create an OAuth app at https://github.com/settings/applications/new (docs/how-to/github.md) with\n"
            f"     Homepage URL                {url}\n"
            f"     Authorization callback URL  {addresses.callback_url(url)}",
        ]
    if url.startswith("https:"):
        steps += ["let the name lead to the machine, and open its ports 80 and 443 (docs/how-to/https.md)"]
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
    except KeyboardInterrupt:
        sys.exit("\nNothing was written. It was interrupted.")


if __name__ == "__main__":
    main()
