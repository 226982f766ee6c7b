"""Authenticators that hub_traits configures: traits that are missing, wrong, or of another provider's class."""

from collections.abc import Iterator, Mapping
from typing import Any

from .addresses import callback_url
from .authenticators import PROVIDERS
from .formatting import shown
from .placeholders import is_placeholder

# Common parent classes, on which traits may be set as well.
COMMON = ("OAuthenticator", "Authenticator")
NEEDED = ("client_id", "client_secret")
# Needed by generic-oauth; the other classes know their provider's.
ADDRESSES = ("authorize_url", "token_url", "userdata_url")
DOCS = "docs/how-to/other-logins.md"

Found = Iterator[tuple[tuple[str, ...], str, str]]
"""Class and trait, what is wrong, and the fix."""


def traits_of(classes: Mapping[str, Any], own: str) -> Iterator[tuple[str, str, Any]]:
    """Yield class, trait and value for all that applies to a provider's class; the last value of a trait counts."""
    for name in (*COMMON, own):
        traits = classes.get(name)
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            yield name, trait, value


def missing(classes: Mapping[str, Any], authenticator: str) -> Found:
    """Yield traits that the provider needs but that are not set: otherwise the first login would fail."""
    if not (own := PROVIDERS.get(authenticator)):
        return
    given = {trait: value for _, trait, value in traits_of(classes, own)}
    needed = NEEDED + (ADDRESSES if authenticator == "generic-oauth" else ())
    if given.get("userdata_from_id_token"):
        needed = tuple(each for each in needed if each != "userdata_url")
    for trait in needed:
        if not given.get(trait):
            what = f"is not set, and hub_authenticator: {authenticator} needs it"
            yield (own, trait), what, f"write {{{own}: {{{trait}: ...}}}}, with the value from your provider ({DOCS})"


def placeholders(classes: Mapping[str, Any], authenticator: str) -> Found:
    """Yield traits that still have a placeholder from the examples."""
    for name, trait, value in traits_of(classes, PROVIDERS.get(authenticator, "")):
        secret = trait.endswith("secret")
        if isinstance(value, str) and is_placeholder(value, secret=secret):
            what = "is still a placeholder" + ("" if secret else f": {shown(value)}")
            yield (name, trait), what, f"write the value from your provider ({DOCS})"


def wrong_callback(classes: Mapping[str, Any], authenticator: str, url: str) -> Found:
    """Yield a callback URL that is not the Hub's.

    Args:
        classes: hub_traits.
        authenticator: hub_authenticator.
        url: the Hub's public URL.
    """
    wanted = callback_url(url)
    for name, trait, value in traits_of(classes, PROVIDERS.get(authenticator, "GitHubOAuthenticator")):
        if trait == "oauth_callback_url" and value != wanted:
            what = f"is {shown(value)}, but the Hub's callback URL is {wanted}"
            yield (name, trait), what, "remove it: it follows from jupyterhub_url"


def unused_classes(classes: Mapping[str, Any], authenticator: str) -> Found:
    """Yield classes of other providers, whose traits would have no effect."""
    own = PROVIDERS.get(authenticator)
    for name, other in PROVIDERS.items():
        if own and other != own and other in classes:
            what = f"belongs to hub_authenticator: {name}, but hub_authenticator is {authenticator}"
            yield (other,), what, f"write {own}, or set hub_authenticator: {name}"


def hosted_domain(classes: Mapping[str, Any], authenticator: str) -> str | None:
    """Return the single domain that GoogleOAuthenticator strips from user names, if there is one."""
    given = {trait: value for _, trait, value in traits_of(classes, PROVIDERS["google"])}
    domains = given.get("hosted_domain")
    if authenticator != "google" or not isinstance(domains, list) or len(domains) != 1:
        return None
    return str(domains[0])


def allows_anyone(classes: Mapping[str, Any], authenticator: str, *prefixes: str) -> bool:
    """Return whether any trait with one of these prefixes is set; GitHub's are all settings here."""
    if authenticator == "github":
        return False
    traits = [trait for each in classes.values() if isinstance(each, Mapping) for trait, value in each.items() if value]
    return any(str(trait).startswith(prefixes) for trait in traits)
