"""The secrets of a Compose application: generated once, kept in the Hub's state, the proxy's token handed over."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..rules.secrets import SECRETS

NEW_TOKEN = "new-proxy-token"
"""A file in the Hub's state: the running proxy still has the old token."""
HUB_UID = 64101
PROXY_UID = 64102
"""The accounts in the images (images/hub/Dockerfile, images/proxy/Dockerfile)."""


class Places(NamedTuple):
    """Paths in the Hub's container: Docker's socket, the state volume, and the volume shared with the proxy."""

    socket: Path = Path("/var/run/docker.sock")
    state: Path = Path("/srv/jupyterhub")
    proxy: Path = Path("/run/proxy")

    @property
    def secrets(self) -> Path:
        """The folder of generated secrets."""
        return self.state / "secrets"


def _write(path: Path, text: str, owner: int) -> None:
    # Atomically, because the proxy may be reading it.
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    os.chown(new, owner, owner)
    new.replace(path)


def keep_secrets(places: Places, given: Mapping[str, str]) -> None:
    """Generate each secret that is not given, once, and hand the proxy its token."""
    places.secrets.mkdir(mode=0o700, exist_ok=True)
    for folder, owner in ((places.state, HUB_UID), (places.secrets, HUB_UID), (places.proxy, PROXY_UID)):
        os.chown(folder, owner, owner)
        folder.chmod(0o700)
    for name in [each.file for each in SECRETS if not each.login]:
        path = places.secrets / name
        if name not in given and not path.exists():
            _write(path, secrets.token_hex(32), HUB_UID)
    token = given.get("proxy_token") or (places.secrets / "proxy_token").read_text()
    handed = places.proxy / "token"
    if handed.exists() and handed.read_text() != token:
        # The running proxy still has the old token; the reconciler restarts it.
        _write(places.state / NEW_TOKEN, "", HUB_UID)
    _write(handed, token, PROXY_UID)
