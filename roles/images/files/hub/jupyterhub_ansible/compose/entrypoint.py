"""`python -m jupyterhub_ansible.compose.entrypoint COMMAND...`: run the command as the Hub's account.

Root only until the secrets are in their places and the group of Docker's socket is known.
"""

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .. import environment
from ..secret_files import ALWAYS
from .errors import ComposeError

HUB_UID = 64101
PROXY_UID = 64102
"""The accounts in the images (roles/images/files/hub/Dockerfile, roles/images/files/proxy/Dockerfile)."""


class Places(NamedTuple):
    """Where the Hub's container has what it shares with the machine, with its next one and with the proxy."""

    socket: Path = Path("/var/run/docker.sock")
    state: Path = Path("/srv/jupyterhub")
    proxy: Path = Path("/run/proxy")

    @property
    def secrets(self) -> Path:
        """The folder of the secrets that were made here."""
        return self.state / "secrets"


def _write(path: Path, text: str, owner: int) -> None:
    # Under another name first: the proxy may be reading it.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    os.chown(new, owner, owner)
    new.replace(path)


def keep_secrets(places: Places, given: Mapping[str, str]) -> None:
    """Make each secret that nobody gave, once, and hand the proxy its token."""
    places.secrets.mkdir(mode=0o700, exist_ok=True)
    for folder, owner in ((places.state, HUB_UID), (places.secrets, HUB_UID), (places.proxy, PROXY_UID)):
        os.chown(folder, owner, owner)
        folder.chmod(0o700)
    for name in ALWAYS:
        path = places.secrets / name
        if name not in given and not path.exists():
            _write(path, secrets.token_hex(32), HUB_UID)
    token = given.get("proxy_token") or (places.secrets / "proxy_token").read_text()
    _write(places.proxy / "token", token, PROXY_UID)


def without_rights(command: list[str], group: int) -> list[str]:
    """Return the command line that runs the command as the Hub's account, in this group besides."""
    return [
        "setpriv",
        f"--reuid={HUB_UID}",
        f"--regid={HUB_UID}",
        f"--groups={group}",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--no-new-privs",
        *command,
    ]


def prepared(places: Places, environ: Mapping[str, str], command: list[str]) -> list[str]:
    """Put the secrets in their places, and return what to run.

    Raises:
        ComposeError: a secret cannot be read, or Docker's socket is not there.
    """
    try:
        group = places.socket.stat().st_gid
    except OSError as error:
        raise ComposeError(
            f"Docker's socket is not at {places.socket}: {error.strerror}. Mount it, as docker-compose.yml does."
        ) from None
    try:
        keep_secrets(places, environment.secrets(environ))
    except environment.EnvironmentVariableError as error:
        raise ComposeError(str(error)) from None
    return without_rights(command, group)


def main() -> None:
    """Become the command."""
    places = Places()
    try:
        command = prepared(places, os.environ, sys.argv[1:])
    except ComposeError as error:
        sys.exit(str(error))
    os.environ |= {"HOME": str(places.state), "JUPYTERHUB_SECRETS_DIR": str(places.secrets)}
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
