"""Create an operator's inventory, settings and vault from examples/production: `make init`.

Values that are neither given nor generated stay placeholders; a deployment refuses these and says how to fill them in.
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
# The values in the examples.
HOST, USER, NAME = "hub.example.org", "root", "production"
ADMIN = "your-github-login"
PLACEHOLDER = "changeme"
TUNNEL = "http://127.0.0.1:8000"
# Groups of Ansible and of this project.
TAKEN = ("all", "ungrouped", "local")
PASSWORD = Path(".vault-password")
ELSEWHERE = "ANSIBLE_VAULT_PASSWORD_FILE"


class RefusedError(Exception):
    """The reason why nothing was written."""


def arguments() -> argparse.Namespace:
    """Return make's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="", help="name or address of the machine, for SSH")
    parser.add_argument("--admin", default="", help="GitHub login name of the first administrator")
    parser.add_argument("--user", default=USER, help="account on the machine: root, or one that may use sudo")
    parser.add_argument("--name", default=NAME, help="name of the files, and of the group of machines")
    parser.add_argument("--url", default="", help="address that browsers use: https, with a name that resolves to it")
    return parser.parse_args()


def check(given: argparse.Namespace) -> None:
    """Refuse arguments that could not result in a working Hub.

    Raises:
        RefusedError: what is wrong, with the fix.
    """
    if not given.host or not given.admin:
        raise RefusedError(f"Which machine, and who administers the Hub?  make init HOST={HOST} ADMIN={ADMIN}")
    for name, value in (("HOST", given.host), ("ADMIN", given.admin), ("URL", given.url)):
        if placeholders.is_placeholder(value):
            raise RefusedError(f"{name}={value} is only an example: write your own")
    if port := re.fullmatch(r"(?:\[(.+)\]|([^:@/]+)):(\d+)", given.host):
        raise RefusedError(
            f"HOST={given.host} contains a port: make init HOST={port[1] or port[2]}, and then write"
            f" ansible_port: {port[3]} below it in inventory/{given.name}.yml"
        )
    if addresses.wrong_form(f"https://{given.host}") and addresses.wrong_form(f"https://[{given.host}]"):
        raise RefusedError(
            f"HOST={given.host} is not a name or address of a machine, such as {HOST}; set the account by USER=..."
        )
    if advice := github.wrong_login(given.admin):
        raise RefusedError(f"ADMIN={given.admin} is not a GitHub login name: {advice}")
    if not re.fullmatch(r"(?!-)[A-Za-z0-9._-]+", given.user):
        raise RefusedError(f"USER={given.user} is not a valid account name")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", given.name) or given.name in TAKEN:
        raise RefusedError(
            f"NAME={given.name} is invalid: use lower-case letters, digits and _, and none of {', '.join(TAKEN)}"
        )
    if given.url and (wrong := addresses.wrong_form(given.url)):
        raise RefusedError(f"URL={given.url} {wrong[0]}: {wrong[1]}")
    # With the examples' authenticator, a deployment would refuse it as well.
    for finding in rules_of_addresses.https_is_needed(given.url, "github"):
        raise RefusedError(f"URL {finding.what}; {finding.fix}")


def client_secret() -> str:
    """Return the client secret from the file that the environment names, never from the environment itself.

    Raises:
        RefusedError: the file is missing or empty, or the environment contains the secret itself.
    """
    if os.environ.get("GITHUB_CLIENT_SECRET", "").strip():
        raise RefusedError(
            "GITHUB_CLIENT_SECRET is set, but the secret is read from a file only: write it into a private file, and\n"
            "name that file: unset GITHUB_CLIENT_SECRET; export GITHUB_CLIENT_SECRET_FILE=/path/to/file"
        )
    file = os.environ.get("GITHUB_CLIENT_SECRET_FILE")
    if not file:
        return PLACEHOLDER
    try:
        secret = Path(file).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"GITHUB_CLIENT_SECRET_FILE={file} cannot be read: {error}") from error
    if not secret:
        raise RefusedError(f"GITHUB_CLIENT_SECRET_FILE={file} is empty")
    return secret


def scalar(value: str) -> str:
    """Return a string as YAML, quoted if it would be read as something else otherwise."""
    plain = re.fullmatch(r"[\w.:/-]+", value) and yaml.safe_load(f"{value}: {value}") == {value: value}
    return value if plain else json.dumps(value)


def filled(text: str, given: argparse.Namespace, secret: str) -> str:
    """Return an example with the known values filled in."""
    url = given.url or f"https://{given.host}"
    values = {
        f"# jupyterhub_url: https://{HOST}": f"{'' if given.url else '# '}jupyterhub_url: {scalar(url)}",
        "# ingress_mode: caddy": f"{'' if url.startswith('https://') and given.url else '# '}ingress_mode: caddy",
        f"    {HOST}:": f"    {scalar(given.host)}:",
        f"{USER}@{HOST}": f"{given.user}@{given.host}",
        f"ansible_user: {USER}": f"ansible_user: {scalar(given.user)}",
        f"- {ADMIN}": f"- {scalar(given.admin)}",
        f"hub_github_client_id: {PLACEHOLDER}": f"hub_github_client_id: {scalar(client_id())}",
        f"\nvault_hub_github_client_secret: {PLACEHOLDER}": f"\nvault_hub_github_client_secret: {scalar(secret)}",
        NAME: given.name,
    }
    # In one pass, so that inserted values are not replaced again.
    return re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], text)


def client_id() -> str:
    """Return the client ID, which is not a secret."""
    return os.environ.get("GITHUB_CLIENT_ID", "").strip() or PLACEHOLDER


def vault_password() -> tuple[bytes, str]:
    """Return the vault's password and its source, "" for a new one that has to be written to .vault-password.

    Raises:
        RefusedError: there is one that cannot be used, or none was typed.
    """
    file, other = PROJECT / PASSWORD, os.environ.get(ELSEWHERE)
    # These are ours, and not another source; bin/vault-password prints a dummy if there is no password.
    ours = [PROJECT / "bin/vault-password", *([] if os.path.lexists(file) else [file])]
    if other is not None and Path(unfrackpath(other)) not in ours:
        return password_elsewhere(other), f"{ELSEWHERE}={other}, which every run needs"
    if os.path.lexists(file):
        return existing_password(file), f"{PASSWORD}, which already existed"
    password = typed_password() if sys.stdin.isatty() else ""
    return (password or secrets.token_urlsafe(32)).encode(), ""


def password_elsewhere(other: str) -> bytes:
    """Return the password from another file or program, as Ansible reads it."""
    try:
        secret = get_file_vault_secret(filename=other, vault_id=DEFAULT_VAULT_IDENTITY, loader=DataLoader())
        secret.load()
        if not secret.bytes.strip():
            raise AnsibleError("it is blank")
    except AnsibleError as error:
        raise RefusedError(
            f"{ELSEWHERE}={other} gives no password: {error}\nCorrect it, or unset it to use {PASSWORD} instead."
        ) from error
    password: bytes = secret.bytes
    return password


def existing_password(file: Path) -> bytes:
    """Return the password in .vault-password, as Ansible gets it from bin/vault-password."""
    try:
        password = file.read_bytes().strip(b"\r\n")
    except OSError as error:
        raise RefusedError(
            f"{PASSWORD} cannot be read: {error.strerror}\nCorrect that, or remove it to have one generated."
        ) from error
    if not password.strip():
        raise RefusedError(
            f"{PASSWORD} is empty: write the vault's password into it, or have one generated: rm {PASSWORD}"
        )
    return password


def typed_password() -> str:
    """Return the password that the operator types, "" for none."""
    try:
        password = getpass.getpass(f"Password for the vault (Enter to generate one; it is kept in {PASSWORD}): ")
        if password != password.strip():
            raise RefusedError(
                "A password cannot begin or end with a blank, since Ansible strips blanks when it reads the file.\n"
                "Choose another one, or press Enter to have one generated."
            )
        if password and password != getpass.getpass("Repeat it: "):
            raise RefusedError("The two passwords differ.")
    except (EOFError, UnicodeDecodeError) as error:
        raise RefusedError("No password was typed.") from error
    return password


def encrypted(text: str, password: bytes) -> str:
    """Return a string encrypted as by ansible-vault."""
    vault = VaultLib([(DEFAULT_VAULT_IDENTITY, VaultSecret(password))])
    content: bytes = vault.encrypt(text.encode())
    return content.decode()


def write(texts: dict[Path, str], secret: set[Path]) -> None:
    """Create files, which must not exist yet: all of them, or none if one cannot be created.

    Raises:
        RefusedError: a file cannot be created; nothing was written.
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
                    f"{name} cannot be written: {error.strerror}\nCheck what is in the way: ls -ld {name.parent}"
                ) from error
        undo.pop_all()


def paths(name: str) -> tuple[Path, Path, Path]:
    """Return the paths of inventory, settings and vault."""
    folder = Path("group_vars", name)
    return Path("inventory", f"{name}.yml"), folder / "settings.yml", folder / "vault.yml"


def init(given: argparse.Namespace) -> str:
    """Write the files, and return the next steps as text.

    Raises:
        RefusedError: nothing was written.
    """
    check(given)
    files = inventory, _, vault = paths(given.name)
    for file in files:
        if os.path.lexists(PROJECT / file):
            raise RefusedError(
                f"{file} already exists.  To continue with it: make check INVENTORY={inventory}\n"
                f"For another Hub: make init HOST={given.host} ADMIN={given.admin} NAME=another_name"
            )
    secret = client_secret()
    examples = zip(files, paths(NAME), strict=True)
    texts = {file: filled((EXAMPLES / example).read_text(), given, secret) for file, example in examples}
    password, source = vault_password()
    texts[vault] = encrypted(texts[vault], password)
    if not source:
        texts[PASSWORD] = f"{password.decode()}\n"
    # The inventory comes last: even if the clean-up is interrupted, an incomplete set cannot be deployed.
    write(dict(reversed(texts.items())), secret={PASSWORD, vault})
    return next_steps(given, source, secret)


def next_steps(given: argparse.Namespace, source: str, secret: str) -> str:
    """Return what was written, and what remains to be done."""
    url = given.url or TUNNEL
    inventory, settings, vault = paths(given.name)
    files = [
        (inventory, "the machine, and how to reach it by SSH"),
        (settings, "who may log in, and other settings"),
        (vault, "the secrets, encrypted"),
        (PASSWORD, "the vault's password; keep a copy of it, separate from the vault"),
    ]
    if source:
        files.pop()
    lines = ["Written, and ignored by git:", *(f"  {file!s:38} {what}" for file, what in files), ""]
    if source:
        lines += [f"The vault is encrypted with the password of {source}.", ""]
    lines += ["Next:"]
    steps = []
    if PLACEHOLDER in (client_id(), secret):
        steps += [
            "create an OAuth app at https://github.com/settings/applications/new (docs/how-to/github.md) with\n"
            f"     Homepage URL                {url}\n"
            f"     Authorization callback URL  {addresses.callback_url(url)}",
        ]
    if url.startswith("https:"):
        steps += ["point the name to the machine, and open its ports 80 and 443 (docs/how-to/https.md)"]
    if client_id() == PLACEHOLDER:
        steps += [f"write its client ID into {settings}: hub_github_client_id"]
    if secret == PLACEHOLDER:
        steps += [f"write a client secret of it into the vault: .venv/bin/ansible-vault edit {vault}"]
    steps += [
        f"log in once by hand, to check the host key: ssh {given.user}@{given.host}",
        f"see what would be done: make check INVENTORY={inventory}",
        f"deploy: make deploy INVENTORY={inventory}",
    ]
    if given.user != USER:
        steps[-1] += "\n     (if sudo asks for a password, run both with ARGS=--ask-become-pass)"
    return "\n".join([*lines, *(f"  {number}. {step}" for number, step in enumerate(steps, 1))])


def main() -> None:
    """Run it."""
    try:
        print(init(arguments()))
    except RefusedError as reason:
        sys.exit(f"Nothing was written. {reason}")
    except KeyboardInterrupt:
        sys.exit("\nNothing was written: interrupted.")


if __name__ == "__main__":
    main()
