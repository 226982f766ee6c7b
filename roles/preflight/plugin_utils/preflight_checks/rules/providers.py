"""Ways in that are set up by hub_traits: a provider's class, and what it cannot do without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..problems import Finding, shown
from ..registry import Findings, Rules
from .addresses import callback_url, public_url
from .authenticator import PROVIDERS
from .missing import is_placeholder

rule = Rules()

# Classes that all of them have in common, which options may be set on as well.
COMMON = ("OAuthenticator", "Authenticator")
NEEDED = ("client_id", "client_secret")
# The others know where theirs are.
ADDRESSES = ("authorize_url", "token_url", "userdata_url")
DOCS = "docs/how-to/other-logins.md"


def options(classes: Mapping[str, Any], own: str) -> Iterator[tuple[str, str, Any]]:
    """Yield what is set for a provider: class, trait and value; the last one of a trait counts."""
    for name in (*COMMON, own):
        traits = classes.get(name)
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            yield name, trait, value


@rule("hub_traits", "hub_authenticator")
def complete(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """What is missing would be told at somebody's first login."""
    if not (own := PROVIDERS.get(authenticator)):
        return
    given = {trait: value for _, trait, value in options(classes, own)}
    needed = NEEDED + (ADDRESSES if authenticator == "generic-oauth" else ())
    if given.get("userdata_from_id_token"):
        needed = tuple(each for each in needed if each != "userdata_url")
    for trait in needed:
        if not given.get(trait):
            yield Finding(
                f"is not set, and hub_authenticator: {authenticator} needs it",
                f"set it as {{{own}: {{{trait}: ...}}}}, as the provider has it ({DOCS})",
                f"hub_traits.{own}.{trait}",
            )


@rule("hub_traits", "hub_authenticator")
def no_placeholder(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """What the examples have is nobody's."""
    for name, trait, value in options(classes, PROVIDERS.get(authenticator, "")):
        secret = trait.endswith("secret")
        if isinstance(value, str) and is_placeholder(value, secret=secret):
            yield Finding(
                "is still a placeholder" + ("" if secret else f": {shown(value)}"),
                f"write it as the provider has it ({DOCS})",
                f"hub_traits.{name}.{trait}",
            )


@rule("hub_traits", "hub_authenticator", "jupyterhub_url??", "jupyterhub_address??", "jupyterhub_port??")
def callback(
    classes: Mapping[str, Any], authenticator: str, url: str | None, address: str | None, port: int | None
) -> Findings:
    """The Hub tells the class where it is called back; another address would not be the Hub's."""
    wanted = callback_url(public_url(url, address, port))
    for name, trait, value in options(classes, PROVIDERS.get(authenticator, "GitHubOAuthenticator")):
        if trait == "oauth_callback_url" and value != wanted:
            yield Finding(
                f"is {shown(value)}, and the Hub is called back at {wanted}",
                "remove it: it follows from jupyterhub_url",
                f"hub_traits.{name}.{trait}",
            )


@rule("hub_traits", "hub_authenticator")
def of_another(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """The options of a class that is not in use count for nothing."""
    own = PROVIDERS.get(authenticator)
    for way, other in PROVIDERS.items():
        if own and other != own and other in classes:
            yield Finding(
                f"is the class of hub_authenticator: {way}, and that is {authenticator}",
                f"write {own}, or set hub_authenticator: {way}",
                f"hub_traits.{other}",
            )


@rule("hub_admin_users", "hub_allowed_users", "hub_blocked_users", "hub_traits", "hub_authenticator")
def names_without_their_domain(
    admins: list[str], allowed: list[str], blocked: list[str], classes: Mapping[str, Any], authenticator: str
) -> Findings:
    """With a single hosted domain GoogleOAuthenticator takes it off the names."""
    given = {trait: value for _, trait, value in options(classes, PROVIDERS["google"])}
    domains = given.get("hosted_domain")
    if authenticator != "google" or not isinstance(domains, list) or len(domains) != 1:
        return
    for setting, names in (("hub_admin_users", admins), ("hub_allowed_users", allowed), ("hub_blocked_users", blocked)):
        for index, name in enumerate(names):
            if name.casefold().endswith(f"@{domains[0]}".casefold()):
                yield Finding(
                    f"is no name here: with one hosted_domain, names are without it: {shown(name)}",
                    f"write {name.partition('@')[0]}",
                    f"{setting}[{index}]",
                )
