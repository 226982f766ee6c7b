"""Secrets: long enough, hard to guess, and each used once.  No message contains a value."""

from __future__ import annotations

import re
from itertools import combinations

from ..problems import Finding
from ..registry import Check, Findings, Rules
from ..secrets import SECRETS, weakness

rule = Rules()

GENERATED = "make another with: openssl rand -hex 32 (or leave it out to have one generated)"
TOKEN_MIN = 32
PASSWORDS = ("hub_user_password", "hub_admin_password")


@rule("hub_user_password")
def user_password(value: str) -> Findings:
    """JupyterHub refuses to start with a shorter one."""
    if len(value) < 8:
        yield Finding(
            "is shorter than the 8 characters that JupyterHub requires",
            "use a longer one, or leave it out to have one generated",
        )


@rule("hub_admin_password")
def admin_password(value: str) -> Findings:
    """JupyterHub refuses to start with a shorter one."""
    if len(value) < 32:
        yield Finding(
            "is shorter than the 32 characters that JupyterHub requires",
            "use a longer one, or leave it out to have one generated",
        )


@rule("hub_admin_password", "hub_user_password")
def passwords_differ(admin: str, user: str) -> Findings:
    """JupyterHub refuses to start with the same password for both."""
    if admin == user:
        yield Finding("is the same as hub_user_password: every user would be an admin", "use two different passwords")


@rule("proxy_token")
def token(value: str) -> Findings:
    """Anyone who has it controls all routes."""
    if len(value) < TOKEN_MIN:
        yield Finding(f"is shorter than {TOKEN_MIN} characters", GENERATED)


@rule("hub_crypt_key")
def crypt_keys(value: str) -> Findings:
    """The first, newest key encrypts; the older ones below it still decrypt."""
    keys = value.split()
    for number, key in enumerate(keys, 1):
        which = f" (key {number} of {len(keys)})" if len(keys) > 1 else ""
        yield from _hex_key(key, which)
        if why := weakness(key):
            yield Finding(f"is easy to guess{which}: {why}", GENERATED)
    if len(set(keys)) < len(keys):
        yield Finding("contains the same key twice", "keep each key once, the newest first")


def _hex_key(value: str, which: str = "") -> Findings:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        yield Finding(
            f"is not 64 hexadecimal digits{which} (it has {len(value)} characters)",
            "make one with: openssl rand -hex 32 (or leave it out to have one generated)",
        )


def _register_tables() -> None:
    """Register rules that are the same for many settings."""

    def hard_to_guess(fix: str) -> Check:
        def check(value: str) -> Findings:
            if why := weakness(value):
                yield Finding(f"is easy to guess: {why}", fix)

        return check

    def differs_from(other: str) -> Check:
        def check(value: str, other_value: str) -> Findings:
            if value.strip() == other_value.strip():
                yield Finding(f"is the same as {other}", "use different secrets: anyone who learns one would have both")

        return check

    rule("hub_cookie_secret")(_hex_key)
    for setting in (*PASSWORDS, "hub_cookie_secret", "proxy_token"):
        rule(setting)(hard_to_guess(GENERATED))
    rule("hub_github_client_secret")(hard_to_guess("generate one on the page of the OAuth app (docs/how-to/github.md)"))
    for one, other in combinations([each.setting for each in SECRETS], 2):
        if {one, other} != set(PASSWORDS):
            rule(other, one)(differs_from(one))


_register_tables()
