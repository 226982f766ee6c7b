"""Ways in that are set up by options of a provider's class: what it cannot do without, and what is another's."""

from collections.abc import Iterator, Mapping
from typing import Any

from .addresses import callback_url
from .authenticators import PROVIDERS
from .placeholders import is_placeholder
from .words import shown

# Classes that all of them have in common, which options may be set on as well.
COMMON = ("OAuthenticator", "Authenticator")
NEEDED = ("client_id", "client_secret")
# The others know where theirs are.
ADDRESSES = ("authorize_url", "token_url", "userdata_url")
DOCS = "docs/how-to/other-logins.md"

Found = Iterator[tuple[tuple[str, ...], str, str]]
"""Class and trait, what is wrong, and the fix."""


def options(classes: Mapping[str, Any], own: str) -> Iterator[tuple[str, str, Any]]:
    """Yield what is set for a provider: class, trait and value; the last one of a trait counts."""
    for name in (*COMMON, own):
        traits = classes.get(name)
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            yield name, trait, value


def missing(classes: Mapping[str, Any], authenticator: str, word: str) -> Found:
    """Yield what a provider needs and has not: it would be told at somebody's first login.

    `word` is what the choice of the authenticator is called.
    """
    if not (own := PROVIDERS.get(authenticator)):
        return
    given = {trait: value for _, trait, value in options(classes, own)}
    needed = NEEDED + (ADDRESSES if authenticator == "generic-oauth" else ())
    if given.get("userdata_from_id_token"):
        needed = tuple(each for each in needed if each != "userdata_url")
    for trait in needed:
        if not given.get(trait):
            what = f"is not set, and {word}: {authenticator} needs it"
            yield (own, trait), what, f"set it as {{{own}: {{{trait}: ...}}}}, as the provider has it ({DOCS})"


def placeholders(classes: Mapping[str, Any], authenticator: str) -> Found:
    """Yield what the examples have, which is nobody's."""
    for name, trait, value in options(classes, PROVIDERS.get(authenticator, "")):
        secret = trait.endswith("secret")
        if isinstance(value, str) and is_placeholder(value, secret=secret):
            what = "is still a placeholder" + ("" if secret else f": {shown(value)}")
            yield (name, trait), what, f"write it as the provider has it ({DOCS})"


def wrong_callback(classes: Mapping[str, Any], authenticator: str, url: str, word: str) -> Found:
    """Yield another address than that by which the Hub is called back; `word` is what its public URL is called."""
    wanted = callback_url(url)
    for name, trait, value in options(classes, PROVIDERS.get(authenticator, "GitHubOAuthenticator")):
        if trait == "oauth_callback_url" and value != wanted:
            what = f"is {shown(value)}, and the Hub is called back at {wanted}"
            yield (name, trait), what, f"remove it: it follows from {word}"


def of_another(classes: Mapping[str, Any], authenticator: str, word: str) -> Found:
    """Yield classes that are not in use: their options count for nothing."""
    own = PROVIDERS.get(authenticator)
    for way, other in PROVIDERS.items():
        if own and other != own and other in classes:
            what = f"is the class of {word}: {way}, and that is {authenticator}"
            yield (other,), what, f"write {own}, or set {word}: {way}"


def hosted_domain(classes: Mapping[str, Any], authenticator: str) -> str | None:
    """Return the single domain that GoogleOAuthenticator takes off the names, if there is one."""
    given = {trait: value for _, trait, value in options(classes, PROVIDERS["google"])}
    domains = given.get("hosted_domain")
    if authenticator != "google" or not isinstance(domains, list) or len(domains) != 1:
        return None
    return str(domains[0])


def lets_in(classes: Mapping[str, Any], authenticator: str, *prefixes: str) -> bool:
    """Return whether an authenticator's own options let somebody in; GitHub's are all settings here."""
    if authenticator == "github":
        return False
    traits = [trait for each in classes.values() if isinstance(each, Mapping) for trait, value in each.items() if value]
    return any(str(trait).startswith(prefixes) for trait in traits)
