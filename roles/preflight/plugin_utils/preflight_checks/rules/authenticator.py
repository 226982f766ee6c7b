"""The way in: one that there is."""

from __future__ import annotations

import re

from ..problems import Finding, did_you_mean, shown
from ..registry import Findings, Rules

rule = Rules()

# The names that JupyterHub and oauthenticator register (tests/unit/test_authenticators.py compares).
AUTHENTICATORS = (
    *("github", "shared-password", "google", "gitlab", "generic-oauth", "azuread", "auth0", "bitbucket", "cilogon"),
    *("globus", "mediawiki", "openshift"),
)
# Registered as well, and of no use here.
REFUSED = {
    "dummy": ("lets anybody in under any name", "shared-password does that, with a password and on loopback only"),
    "null": ("lets nobody in", f"choose one of: {', '.join(AUTHENTICATORS)}"),
    **dict.fromkeys(
        ("default", "pam"),
        ("asks for accounts of the Hub's container, which has none", f"choose one of: {', '.join(AUTHENTICATORS)}"),
    ),
    **{
        f"local-{name}": ("makes accounts in the Hub's container, where no server runs", f"write {name}")
        for name in AUTHENTICATORS
        if name not in ("shared-password", "mediawiki")
    },
}
CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*")


@rule("hub_authenticator")
def authenticator(value: str) -> Findings:
    """One that exists; a class of the operator's is tried with the image."""
    if value in REFUSED:
        yield Finding(f"{shown(value)} {REFUSED[value][0]}", REFUSED[value][1])
    elif value.endswith("GitHubOAuthenticator"):
        yield Finding(f"{shown(value)} would not check memberships again", "write github")
    elif value not in AUTHENTICATORS and not CLASS_PATH.fullmatch(value):
        word = value.removesuffix("OAuthenticator").removesuffix("Authenticator").lower().replace("_", "-")
        advice = f"use one of: {', '.join(AUTHENTICATORS)}; or a class, as package.module.Class"
        yield Finding(f"names no authenticator: {shown(value)}", did_you_mean(word, AUTHENTICATORS, advice))
