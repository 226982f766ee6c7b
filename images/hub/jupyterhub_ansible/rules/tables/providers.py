"""Ways in that are set up by hub_traits: a provider's class, and what it cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import providers
from ..problems import Finding, shown
from ..registry import Findings, Rules
from .addresses import public_url

rule = Rules()

WAY = "hub_authenticator"


def _findings(found: providers.Found) -> Findings:
    for path, what, fix in found:
        yield Finding(what, fix, ".".join(("hub_traits", *path)))


@rule("hub_traits", "hub_authenticator")
def complete(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """What is missing would be told at somebody's first login."""
    yield from _findings(providers.missing(classes, authenticator, WAY))


@rule("hub_traits", "hub_authenticator")
def no_placeholder(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """What the examples have is nobody's."""
    yield from _findings(providers.placeholders(classes, authenticator))


@rule("hub_traits", "hub_authenticator", "jupyterhub_url??", "jupyterhub_address??", "jupyterhub_port??")
def callback(
    classes: Mapping[str, Any], authenticator: str, url: str | None, address: str | None, port: int | None
) -> Findings:
    """The Hub tells the class where it is called back; another address would not be the Hub's."""
    yield from _findings(
        providers.wrong_callback(classes, authenticator, public_url(url, address, port), "jupyterhub_url")
    )


@rule("hub_traits", "hub_authenticator")
def of_another(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """The options of a class that is not in use count for nothing."""
    yield from _findings(providers.of_another(classes, authenticator, WAY))


@rule("hub_admin_users", "hub_allowed_users", "hub_blocked_users", "hub_traits", "hub_authenticator")
def names_without_their_domain(
    admins: list[str], allowed: list[str], blocked: list[str], classes: Mapping[str, Any], authenticator: str
) -> Findings:
    """With a single hosted domain GoogleOAuthenticator takes it off the names."""
    if not (domain := providers.hosted_domain(classes, authenticator)):
        return
    for setting, names in (("hub_admin_users", admins), ("hub_allowed_users", allowed), ("hub_blocked_users", blocked)):
        for index, name in enumerate(names):
            if name.casefold().endswith(f"@{domain}".casefold()):
                yield Finding(
                    f"is no name here: with one hosted_domain, names are without it: {shown(name)}",
                    f"write {name.partition('@')[0]}",
                    f"{setting}[{index}]",
                )
