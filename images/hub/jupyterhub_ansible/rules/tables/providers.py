"""Authenticators that hub_traits configures: the traits of a provider's class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import providers
from ..problems import Finding, shown
from ..registry import Findings, Rules
from .addresses import public_url

rule = Rules()


def _findings(found: providers.Found) -> Findings:
    for path, what, fix in found:
        yield Finding(what, fix, ".".join(("hub_traits", *path)))


@rule("hub_traits", "hub_authenticator")
def complete(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """Otherwise the first login would fail."""
    yield from _findings(providers.missing(classes, authenticator))


@rule("hub_traits", "hub_authenticator")
def no_placeholder(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """The examples' values do not belong to anyone."""
    yield from _findings(providers.placeholders(classes, authenticator))


@rule("hub_traits", "hub_authenticator", "jupyterhub_url??", "jupyterhub_address??", "jupyterhub_port??")
def callback(
    classes: Mapping[str, Any], authenticator: str, url: str | None, address: str | None, port: int | None
) -> Findings:
    """The Hub sets the callback URL; with another one the provider would redirect browsers elsewhere."""
    yield from _findings(providers.wrong_callback(classes, authenticator, public_url(url, address, port)))


@rule("hub_traits", "hub_authenticator")
def unused_classes(classes: Mapping[str, Any], authenticator: str) -> Findings:
    """The traits of a class that is not in use have no effect."""
    yield from _findings(providers.unused_classes(classes, authenticator))


@rule("hub_admin_users", "hub_allowed_users", "hub_blocked_users", "hub_traits", "hub_authenticator")
def names_without_their_domain(
    admins: list[str], allowed: list[str], blocked: list[str], classes: Mapping[str, Any], authenticator: str
) -> Findings:
    """With a single hosted domain, GoogleOAuthenticator strips it from user names."""
    if not (domain := providers.hosted_domain(classes, authenticator)):
        return
    for setting, names in (("hub_admin_users", admins), ("hub_allowed_users", allowed), ("hub_blocked_users", blocked)):
        for index, name in enumerate(names):
            if name.casefold().endswith(f"@{domain}".casefold()):
                yield Finding(
                    f"includes the domain, which is stripped from names when there is one hosted_domain: {shown(name)}",
                    f"write {name.partition('@')[0]}",
                    f"{setting}[{index}]",
                )
