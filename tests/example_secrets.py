"""Example secrets and settings for tests of the Hub's code."""

import hashlib
from typing import Any

SECRET_NAMES = (
    "cookie_secret",
    "crypt_key",
    "proxy_token",
    "user_password",
    "admin_password",
    "github_client_secret",
)
"""The files of secrets; tests write `secret(n)` to the n-th."""

GITHUB: dict[str, Any] = {
    "hub_authenticator": "github",
    "hub_github_client_id": "Ov23liGq0Zb1yTtRkPw7",
    "hub_github_allowed_organizations": ["Example"],
    "hub_github_allowed_teams": ["octo-org:data-science"],
    "hub_github_admin_teams": ["octo-org:admins"],
}
"""In addition to the example settings: login with GitHub."""


def secret(number: int) -> str:
    """Return 64 hexadecimal digits, the same for the same number."""
    return hashlib.sha256(str(number).encode()).hexdigest()
