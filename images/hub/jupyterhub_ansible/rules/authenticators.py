"""Which authenticators may be chosen, by registered name or by class."""

import re

from .formatting import did_you_mean, shown

# The names that oauthenticator registers, with their classes (tests/unit/test_authenticators.py compares).
PROVIDERS = {
    "google": "GoogleOAuthenticator",
    "gitlab": "GitLabOAuthenticator",
    "generic-oauth": "GenericOAuthenticator",
    "azuread": "AzureAdOAuthenticator",
    "auth0": "Auth0OAuthenticator",
    "bitbucket": "BitbucketOAuthenticator",
    "cilogon": "CILogonOAuthenticator",
    "globus": "GlobusOAuthenticator",
    "mediawiki": "MWOAuthenticator",
    "openshift": "OpenShiftOAuthenticator",
}
AUTHENTICATORS = ("github", "shared-password", *PROVIDERS)
# Registered as well, but not usable here.
REFUSED = {
    "dummy": ("lets anyone in under any name", "use shared-password, which asks for a password, on loopback only"),
    "null": ("lets nobody in", f"choose one of: {', '.join(AUTHENTICATORS)}"),
    **dict.fromkeys(
        ("default", "pam"),
        ("needs accounts in the Hub's container, which has none", f"choose one of: {', '.join(AUTHENTICATORS)}"),
    ),
    **{
        f"local-{name}": ("creates accounts in the Hub's container, where no server runs", f"write {name}")
        for name in AUTHENTICATORS
        if name not in ("shared-password", "mediawiki")
    },
}
CLASS_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\.[A-Z]\w*")
# Their classes have registered names, which other rules go by.
UPSTREAM = ("jupyterhub.", "oauthenticator.")


def name_of(path: str) -> str:
    """Return the registered name of a class from JupyterHub or oauthenticator, "" if it has none."""
    cls = path.rpartition(".")[2]
    own = cls.removeprefix("Local")
    names = {each.replace("-", ""): each for each in (*AUTHENTICATORS, *REFUSED)}
    short = own.removesuffix("OAuthenticator").removesuffix("Authenticator").lower()
    name = next((each for each in PROVIDERS if PROVIDERS[each] == own), names.get(short, ""))
    return f"local-{name}" if name and own != cls else name


def wrong_authenticator(value: str) -> tuple[str, str] | None:
    """Return why this authenticator cannot be used, and the fix; None if it can.

    The operator's own class is tested with the image.
    """
    upstream = value.startswith(UPSTREAM)
    name = name_of(value) if upstream else ""
    if refused := REFUSED.get(name or value):
        return f"{shown(value)} {refused[0]}", refused[1]
    if value.endswith("GitHubOAuthenticator"):
        return f"{shown(value)} would not re-check memberships", "write github"
    if upstream:
        # Writing the class must not bypass the rules for its name.
        advice = f"write {name}" if name else f"use one of: {', '.join(AUTHENTICATORS)}"
        return f"{shown(value)} is a class that has to be chosen by its registered name", advice
    if value not in AUTHENTICATORS and not CLASS_PATH.fullmatch(value):
        short = value.removesuffix("OAuthenticator").removesuffix("Authenticator").lower().replace("_", "-")
        advice = f"use one of: {', '.join(AUTHENTICATORS)}; or a class, as package.module.Class"
        return f"is not a known authenticator: {shown(value)}", did_you_mean(short, AUTHENTICATORS, advice)
    return None
