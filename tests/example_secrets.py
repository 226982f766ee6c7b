"""Secrets and settings for tests of the Hub's own code."""

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
"""The files, each of which tests give the `secret` of its place here."""

GITHUB: dict[str, Any] = {
    "hub_authenticator": "github",
    "hub_github_client_id": "Ov23liGq0Zb1yTtRkPw7",
    "hub_github_allowed_organizations": ["Example"],
    "hub_github_allowed_teams": ["octo-org:data-science"],
    "hub_github_admin_teams": ["octo-org:admins"],
}
"""On top of the example: login with GitHub."""


def secret(number: int) -> str:
    """64 hexadecimal digits, always the same of a number."""
    return hashlib.sha256(str(number).encode()).hexdigest()
