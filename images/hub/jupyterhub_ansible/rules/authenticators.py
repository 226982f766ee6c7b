"""Names of authenticators."""

import re

from .words import did_you_mean, shown

# The names that JupyterHub and oauthenticator register, with classes (tests/unit/test_authenticators.py compares).
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
# Whose classes have names, by which rules know them.
UPSTREAM = ("jupyterhub.", "oauthenticator.")


def name_of(path: str) -> str:
    """Return the registered name of a class of JupyterHub's or oauthenticator's, "" if it has none."""
    word = path.rpartition(".")[2]
    own = word.removeprefix("Local")
    names = {each.replace("-", ""): each for each in (*AUTHENTICATORS, *REFUSED)}
    short = own.removesuffix("OAuthenticator").removesuffix("Authenticator").lower()
    name = next((each for each in PROVIDERS if PROVIDERS[each] == own), names.get(short, ""))
    return f"local-{name}" if name and own != word else name


def wrong_authenticator(value: str) -> tuple[str, str] | None:
    """Return why this names no authenticator that can be used, and the fix; None if it does.

    A class of the operator's is tried with the image.
    """
    upstream = value.startswith(UPSTREAM)
    name = name_of(value) if upstream else ""
    if refused := REFUSED.get(name or value):
        return f"{shown(value)} {refused[0]}", refused[1]
    if value.endswith("GitHubOAuthenticator"):
        return f"{shown(value)} would not check memberships again", "write github"
    if upstream:
        # A rule for a name is not evaded by writing its class.
        advice = f"write {name}" if name else f"use one of: {', '.join(AUTHENTICATORS)}"
        return f"{shown(value)} is a class of those that go by a name", advice
    if value not in AUTHENTICATORS and not CLASS_PATH.fullmatch(value):
        word = value.removesuffix("OAuthenticator").removesuffix("Authenticator").lower().replace("_", "-")
        advice = f"use one of: {', '.join(AUTHENTICATORS)}; or a class, as package.module.Class"
        return f"names no authenticator: {shown(value)}", did_you_mean(word, AUTHENTICATORS, advice)
    return None
