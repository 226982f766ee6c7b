"""The address on which the port is published, and the one that browsers use."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..addresses import host_of, is_address, is_loopback, is_plain_http_to_another_machine, wrong_form
from ..problems import Finding, shown
from ..registry import Findings, Rules

rule = Rules()

HTTPS_PORT = 443
ANYONE_AS_ANYONE = "with hub_authenticator: shared-password anyone can log in as any user"


def public_url(url: str | None, address: str | None, port: int | None) -> str:
    """Return the address that browsers use; the name of the setting in angle brackets if it cannot be known."""
    if url:
        return url
    if not (address and port and is_loopback(address)):
        return "<jupyterhub_url>"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def warnings(good: Mapping[str, Any]) -> list[str]:
    """Return warnings about settings that may be intended."""
    published, port = (good.get(f"jupyterhub_{name}") or "" for name in ("address", "port"))
    on_all_addresses = is_address(published) and ipaddress.ip_address(published).is_unspecified
    if good.get("ingress_mode") != "proxy" or not on_all_addresses:
        return []
    return [
        f"ingress_mode is proxy, but jupyterhub_address {published} opens port {port} to everyone over plain http. "
        "If the proxy runs on this machine, set jupyterhub_address: 127.0.0.1; otherwise have a firewall in front of "
        "the machine admit only the proxy"
    ]


@rule("jupyterhub_address")
def address(value: str) -> Findings:
    """Docker publishes ports on addresses, not on host names."""
    if not is_address(value):
        yield Finding(f"is not an IP address: {shown(value)}", "use 127.0.0.1, 0.0.0.0 or an address of the machine")


@rule("jupyterhub_url")
def url_form(value: str) -> Findings:
    """The callback URL and links are built from it."""
    if wrong := wrong_form(value):
        yield Finding(f"{wrong[0]}: {shown(value)}", wrong[1])


@rule("jupyterhub_url", "hub_authenticator")
def https_is_needed(value: str, authenticator: str) -> Findings:
    """Otherwise others on the network could read cookies and login codes."""
    if authenticator != "shared-password" and is_plain_http_to_another_machine(value):
        yield Finding(
            f"uses http, so logins could be intercepted: {shown(value)}",
            f"write https://{host_of(value)}, and set ingress_mode: caddy (docs/how-to/https.md)",
        )


@rule("jupyterhub_url", "jupyterhub_address", "jupyterhub_port", "ingress_mode")
def https_is_not_on_the_hubs_port(value: str, published: str, number: int, mode: str) -> Findings:
    """The Hub's own port serves plain HTTP."""
    if mode != "proxy" or not value.startswith("https://") or wrong_form(value) or is_loopback(published):
        return
    if (urlsplit(value).port or HTTPS_PORT) == number:
        yield Finding(
            f"uses https on port {number}, where the Hub itself serves plain http",
            "set jupyterhub_address: 127.0.0.1, and have the HTTPS proxy forward requests to the Hub there",
        )


@rule("jupyterhub_url?", "jupyterhub_address", "hub_authenticator", "ingress_mode")
def url_is_reachable_by_others(url: str | None, published: str, authenticator: str, mode: str) -> Findings:
    """If the port is published for other machines, browsers there need an address that reaches it."""
    if (
        mode in ("caddy", "coolify")
        or authenticator == "shared-password"
        or is_loopback(published)
        or (url and not is_loopback(host_of(url)))
    ):
        return
    fact = f"is {shown(url)}, which for each browser is its own machine" if url else "is not set"
    yield Finding(
        f"{fact}, but jupyterhub_address {published} is for other machines",
        "set it to the address that browsers use, such as https://hub.example.org, or jupyterhub_address: 127.0.0.1",
    )


@rule("jupyterhub_address", "hub_authenticator")
def shared_password_on_loopback_only(value: str, authenticator: str) -> Findings:
    """Anyone who can reach it can log in as any user."""
    if authenticator == "shared-password" and not is_loopback(value):
        yield Finding(
            f"others can reach {shown(value)}, and {ANYONE_AS_ANYONE}",
            "set it to 127.0.0.1, and use an SSH tunnel from elsewhere",
        )


@rule("jupyterhub_url", "hub_authenticator")
def shared_password_has_no_public_url(value: str, authenticator: str) -> Findings:
    """The same, through a proxy in front of the Hub."""
    if authenticator == "shared-password" and host_of(value) and not is_loopback(host_of(value)):
        yield Finding(
            f"others can reach {shown(value)}, and {ANYONE_AS_ANYONE}",
            "remove it, or set hub_authenticator: github",
        )
