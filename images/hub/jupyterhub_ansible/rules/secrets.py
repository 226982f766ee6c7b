"""Secrets: hard to guess, and as their makers hand them out. No message holds a value."""

import re
from itertools import pairwise
from typing import NamedTuple


class Secret(NamedTuple):
    """A secret by its names: the setting, the file that the Hub reads, and the variable of a Compose application."""

    setting: str
    file: str
    variable: str = ""
    meaning: str = ""
    """For the documentation of the variable (Markdown)."""
    login: str = ""
    """The authenticator that alone needs it."""
    required: bool = False
    """Nobody but its owner can make it."""


SECRETS = (
    Secret(
        "hub_github_client_secret",
        "github_client_secret",
        "GITHUB_CLIENT_SECRET",
        "the OAuth app's client secret",
        login="github",
        required=True,
    ),
    Secret(
        "hub_cookie_secret", "cookie_secret", "JUPYTERHUB_COOKIE_SECRET", "signs login cookies: 64 hexadecimal digits"
    ),
    Secret(
        "hub_crypt_key",
        "crypt_key",
        "JUPYTERHUB_CRYPT_KEY",
        "encrypts what is kept of a login: 64 hexadecimal digits, or several, newest first",
    ),
    Secret(
        "proxy_token",
        "proxy_token",
        "CONFIGPROXY_AUTH_TOKEN",
        "the secret between Hub and proxy, at least 32 characters",
    ),
    Secret("hub_user_password", "user_password", login="shared-password"),
    Secret("hub_admin_password", "admin_password", login="shared-password"),
)
"""All secrets of a Hub."""


def needed(authenticator: str) -> tuple[Secret, ...]:
    """Return the secrets that a Hub with this authenticator reads."""
    return tuple(each for each in SECRETS if each.login in ("", authenticator))


_FEW = 4
_DIGITS = 16
CLIENT_SECRET_MIN = 20
# The first that is tried.
_COMMON = re.compile(
    r"(my)?(password|passwort|passw0rd|secret|admin|root|user|test|jupyter(hub)?|hub|letmein|welcome|iloveyou|qwert[yz]\w*|"
    r"correct ?horse ?battery ?staple)?[\d\W_]*",
    re.IGNORECASE,
)


def weakness(value: str) -> str:
    """Return why a secret is easy to guess, "" if it is not for any of these reasons."""
    if len(set(value)) <= _FEW:
        return f"it has {len(set(value))} different characters"
    if (value + value).find(value, 1) < len(value):
        return "it repeats itself"
    steps = {ord(after) - ord(before) for before, after in pairwise(value)}
    if steps in ({1}, {-1}):
        return "it is a row of neighbours"
    # Sixteen digits are what a generated one may come to.
    if _COMMON.fullmatch(value) and not (value.isdigit() and len(value) >= _DIGITS):
        return "it is a common word, or digits alone"
    return ""


def wrong_client_secret(value: str, client_id: str | None) -> tuple[str, str] | None:
    """Return what is wrong with the client secret of a GitHub app, and the fix; None if nothing is."""
    if client_id is not None and value == client_id:
        return "is the client ID", "take the client secret, which the app's page shows once, when it is made"
    if re.search(r"[\s'\"`]|[^ -~]", value):
        return "has spaces, quotes or line breaks in it", "copy it again, and write it on the line of its name"
    if len(value) < CLIENT_SECRET_MIN:
        return (
            f"has {len(value)} characters, and GitHub's have 40",
            "copy the whole of it, or generate a new one on the app's page",
        )
    return None
