"""The Hub's secrets: one file each, in a folder that only the Hub's user can enter.

What is wrong with one is told without its value.
"""

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

_HEX_32_BYTES = re.compile(r"[0-9a-fA-F]{64}")


class SecretsError(Exception):
    """A secret is missing or cannot be used; `str()` gives one line per problem."""


@dataclass(frozen=True)
class Secrets:
    """The Hub's secrets; `repr()` shows none.

    `cookie_secret` and `crypt_key` are 32 bytes, 64 hexadecimal digits in their files (JupyterHub wants exactly
    that many: `JupyterHub.cookie_secret`, `CryptKeeper.keys`).
    """

    cookie_secret: bytes = field(repr=False)
    crypt_key: bytes = field(repr=False)
    proxy_token: str = field(repr=False)
    user_password: str = field(repr=False)
    admin_password: str = field(repr=False)


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretsError(f"secret {path.name}: cannot read {path}: {reason}") from None
    if mode & stat.S_IRWXO:
        raise SecretsError(f"secret {path.name}: {path} is open to every user of the machine; make it 0600")
    if not text:
        raise SecretsError(f"secret {path.name}: {path} is empty")
    return text


def _complaints(texts: dict[str, str]) -> list[str]:
    """What JupyterHub would refuse, later and less plainly (`SharedPasswordAuthenticator` for the passwords)."""
    complaints = [
        f"secret {name}: must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them"
        for name in ("cookie_secret", "crypt_key")
        if not _HEX_32_BYTES.fullmatch(texts[name])
    ]
    complaints += [
        f"secret {name}: must have {length} characters or more"
        for name, length in {"proxy_token": 32, "user_password": 8, "admin_password": 32}.items()
        if len(texts[name]) < length
    ]
    if texts["user_password"] == texts["admin_password"]:
        complaints.append("secrets user_password and admin_password must differ")
    return complaints


def load_secrets(folder: Path) -> Secrets:
    """Read and check all secrets in `folder`.

    Raises:
        SecretsError: one is missing, unreadable, empty, open to other users, too short, or of the wrong form.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for name in ("cookie_secret", "crypt_key", "proxy_token", "user_password", "admin_password"):
        try:
            texts[name] = _read(folder / name)
        except SecretsError as error:
            problems.append(str(error))
    problems = problems or _complaints(texts)
    if problems:
        raise SecretsError("\n".join(problems))
    return Secrets(
        cookie_secret=bytes.fromhex(texts["cookie_secret"]),
        crypt_key=bytes.fromhex(texts["crypt_key"]),
        proxy_token=texts["proxy_token"],
        user_password=texts["user_password"],
        admin_password=texts["admin_password"],
    )
