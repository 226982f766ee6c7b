"""The Hub's secrets: one file each, in a folder that only the Hub's user can enter.

What is wrong with one is told without its value.
"""

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from ..rules.placeholders import is_placeholder
from ..rules.secrets import CLIENT_SECRET_MIN, weakness, wrong_client_secret

_HEX_32_BYTES = re.compile(r"[0-9a-fA-F]{64}")


class SecretsError(Exception):
    """A secret is missing or cannot be used; `str()` gives one line per problem."""


@dataclass(frozen=True)
class Secrets:
    """The Hub's secrets; `repr()` shows none. Those that the authenticator does not need are empty.

    `cookie_secret` and each of `crypt_keys` are 32 bytes, 64 hexadecimal digits in their files (JupyterHub wants
    exactly that many: `JupyterHub.cookie_secret`, `CryptKeeper.keys`). The first key encrypts, the others only decrypt
    what was encrypted with them.
    """

    cookie_secret: bytes = field(repr=False)
    crypt_keys: tuple[bytes, ...] = field(repr=False)
    proxy_token: str = field(repr=False)
    user_password: str = field(default="", repr=False)
    admin_password: str = field(default="", repr=False)
    github_client_secret: str = field(default="", repr=False)


ALWAYS = ("cookie_secret", "crypt_key", "proxy_token")
OF_AUTHENTICATOR = {"shared-password": ("user_password", "admin_password"), "github": ("github_client_secret",)}
_LENGTHS = {"proxy_token": 32, "user_password": 8, "admin_password": 32, "github_client_secret": CLIENT_SECRET_MIN}
_ANOTHER = "take another one, such as `openssl rand -hex 32` prints"


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


def _complaints(texts: dict[str, str], client_id: str | None) -> list[str]:
    """What JupyterHub would refuse, later and less plainly (`SharedPasswordAuthenticator` for the passwords)."""
    keys = {"cookie_secret": [texts["cookie_secret"]], "crypt_key": texts["crypt_key"].split()}
    complaints = [
        f"secret {name}: must be 64 hexadecimal digits, as `openssl rand -hex 32` prints them"
        for name, lines in keys.items()
        if not all(_HEX_32_BYTES.fullmatch(line) for line in lines)
    ]
    complaints += [
        f"secret {name}: must have {length} characters or more"
        for name, length in _LENGTHS.items()
        if name in texts and len(texts[name]) < length
    ]
    return complaints or [*dict.fromkeys(f"secret {name}: {what}" for name, what in _weak(texts, client_id))]


def _weak(texts: dict[str, str], client_id: str | None) -> Iterator[tuple[str, str]]:
    """Yield what the playbook's preflight would refuse as well: a Compose application's Hub has none before it."""
    for name, text in texts.items():
        if name == "github_client_secret" and (wrong := wrong_client_secret(text, client_id)):
            yield name, "; ".join(wrong)
        # A passphrase is judged as a whole; only keys stand one on a line.
        for value in text.split() if name == "crypt_key" else [text]:
            if is_placeholder(value, secret=True):
                yield name, f"is still a placeholder; {_ANOTHER}"
            elif why := weakness(value):
                yield name, f"is easy to guess: {why}; {_ANOTHER}"
    for one, other in combinations(texts, 2):
        if texts[one] == texts[other]:
            yield other, f"must differ from {one}; give each a secret of its own"


def load_secrets(
    folder: Path, authenticator: str, given: Mapping[str, str] | None = None, client_id: str | None = None
) -> Secrets:
    """Read and check all secrets that a Hub with this authenticator needs: those that are given, or from `folder`.

    `client_id` is that of the OAuth app, which is easily taken for its secret.

    Raises:
        SecretsError: one is missing, unreadable, empty, open to other users, too short, easy to guess, or of the wrong
            form.
    """
    texts: dict[str, str] = {}
    problems: list[str] = []
    for name in (*ALWAYS, *OF_AUTHENTICATOR.get(authenticator, ())):
        try:
            texts[name] = (given or {}).get(name) or _read(folder / name)
        except SecretsError as error:
            problems.append(str(error))
    problems = problems or _complaints(texts, client_id)
    if problems:
        raise SecretsError("\n".join(problems))
    return Secrets(
        cookie_secret=bytes.fromhex(texts.pop("cookie_secret")),
        crypt_keys=tuple(bytes.fromhex(key) for key in texts.pop("crypt_key").split()),
        **texts,
    )
