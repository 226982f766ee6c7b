"""The Hub's secrets: one file each, in a folder that only the Hub's user can read."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..rules.secrets import Secret, needed


class SecretsError(Exception):
    """A secret is missing or cannot be read; `str()` gives one line per problem."""


@dataclass(frozen=True)
class Secrets:
    """The Hub's secrets, hidden from `repr()`.  Those that the authenticator does not need are empty.

    `cookie_secret` and each of `crypt_keys` are 32 bytes, 64 hexadecimal digits in their files: JupyterHub requires
    exactly that length (`JupyterHub.cookie_secret`, `CryptKeeper.keys`).  The first key encrypts, the others only
    decrypt.
    """

    cookie_secret: bytes = field(repr=False)
    crypt_keys: tuple[bytes, ...] = field(repr=False)
    proxy_token: str = field(repr=False)
    user_password: str = field(default="", repr=False)
    admin_password: str = field(default="", repr=False)
    github_client_secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> "Secrets":
        """Return them from the files' contents, by file name, which the rules have already checked."""
        others = {name: text for name, text in texts.items() if name not in ("cookie_secret", "crypt_key")}
        return cls(
            cookie_secret=bytes.fromhex(texts["cookie_secret"]),
            crypt_keys=tuple(bytes.fromhex(key) for key in texts["crypt_key"].split()),
            **others,
        )


def _read(secret: Secret, path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretsError(f"{secret.setting}: cannot read {path}: {reason}") from None
    if mode & stat.S_IRWXO:
        raise SecretsError(f"{secret.setting}: {path} is open to every user of the machine; make it 0600")
    if not text:
        raise SecretsError(f"{secret.setting}: {path} is empty")
    return text


def read_secrets(folder: Path, authenticator: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the secrets that a Hub with this authenticator needs, by file: given ones, or else those in `folder`.

    Raises:
        SecretsError: one is missing, unreadable, empty, or open to other users.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for secret in needed(authenticator):
        try:
            texts[secret.file] = (given or {}).get(secret.file) or _read(secret, folder / secret.file)
        except SecretsError as error:
            problems.append(str(error))
    if problems:
        raise SecretsError("\n".join(problems))
    return texts
