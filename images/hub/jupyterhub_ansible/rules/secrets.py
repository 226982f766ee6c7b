"""The Hub's secrets, and checks of how they look.  No message contains a secret's value."""

import re
from itertools import pairwise
from typing import NamedTuple


class Secret(NamedTuple):
    """A secret's setting, the file that the Hub reads, and the environment variable of a Compose application."""

    setting: str
    file: str
    variable: str = ""
    meaning: str = ""
    """Documents the variable (Markdown)."""
    login: str = ""
    """The only authenticator that needs it, if not all do."""
    required: bool = False
    """It cannot be generated."""


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
# What an attacker tries first.
_COMMON = re.compile(
    r"(my)?(password|passwort|passw0rd|secret|admin|root|user|test|jupyter(hub)?|hub|letmein|welcome|iloveyou|qwert[yz]\w*|"
    r"correct ?horse ?battery ?staple)?[\d\W_]*",
    re.IGNORECASE,
)


def weakness(value: str) -> str:
    """Return why a secret is easy to guess, "" if no reason is known."""
    if len(set(value)) <= _FEW:
        return "it has too few different characters"
    if (value + value).find(value, 1) < len(value):
        return "it repeats itself"
    steps = {ord(after) - ord(before) for before, after in pairwise(value)}
    if steps in ({1}, {-1}):
        return "its characters are consecutive"
    # Sixteen or more digits may have been generated.
    if _COMMON.fullmatch(value) and not (value.isdigit() and len(value) >= _DIGITS):
        return "it is a common word or only digits"
    return ""


def wrong_client_secret(value: str, client_id: str | None) -> tuple[str, str] | None:
    """Return what is wrong with the client secret of a GitHub app, and the fix; None if it is valid."""
    if client_id is not None and value == client_id:
        return "is the client ID", "use the client secret, which the app's page shows only once, when it is created"
    if re.search(r"[\s'\"`]|[^ -~]", value):
        return "has spaces, quotes or line breaks in it", "copy it again, and write it on one line after its name"
    if len(value) < CLIENT_SECRET_MIN:
        return (
            f"has {len(value)} characters, but GitHub's have 40",
            "copy all of it, or generate a new one on the app's page",
        )
    return None
