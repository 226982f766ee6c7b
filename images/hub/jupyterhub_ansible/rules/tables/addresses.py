"""The address that the port is published on, and the one that browsers use."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..addresses import host_of, is_address, is_loopback, is_readable_on_the_way, wrong_form
from ..problems import Finding, shown
from ..registry import Findings, Rules

rule = Rules()

HTTPS_PORT = 443


def public_url(url: str | None, address: str | None, port: int | None) -> str:
    """Return the address that browsers use, as `jupyterhub_url` describes it; in words where it cannot be known."""
    if url:
        return url
    if not (address and port and is_loopback(address)):
        return "<jupyterhub_url>"
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def warnings(good: Mapping[str, Any]) -> list[str]:
    """Return what the operator should know, though it may be meant."""
    published, port = (good.get(f"jupyterhub_{name}") or "" for name in ("address", "port"))
    to_everybody = is_address(published) and ipaddress.ip_address(published).is_unspecified
    if good.get("ingress_mode") != "proxy" or not to_everybody:
        return []
    return [
        f"ingress_mode is proxy, but jupyterhub_address {published} opens port {port} to everybody, in plain http. "
        "If the proxy runs on this machine, set jupyterhub_address: 127.0.0.1; else let a firewall in front of the "
        "machine pass only that one"
    ]


@rule("jupyterhub_address")
def address(value: str) -> Findings:
    """Docker publishes ports on addresses, not on host names."""
    if not is_address(value):
        yield Finding(f"is not an IP address: {shown(value)}", "use 127.0.0.1, 0.0.0.0 or an address of the machine")


@rule("jupyterhub_url")
def url_form(value: str) -> Findings:
    """Callback and links are made from it."""
    if wrong := wrong_form(value):
        yield Finding(f"{wrong[0]}: {shown(value)}", wrong[1])


@rule("jupyterhub_url", "hub_authenticator")
def https_is_needed(value: str, authenticator: str) -> Findings:
    """Cookies and codes of a login would be read on the way."""
    if authenticator != "shared-password" and is_readable_on_the_way(value):
        yield Finding(
            f"is http, so that logins could be read on the way: {shown(value)}",
            f"write https://{host_of(value)}, and set ingress_mode: caddy (docs/how-to/https.md)",
        )


@rule("jupyterhub_url", "jupyterhub_address", "jupyterhub_port", "ingress_mode")
def https_is_spoken_elsewhere(value: str, published: str, number: int, mode: str) -> Findings:
    """The Hub's own port speaks plain HTTP."""
    if mode != "proxy" or not value.startswith("https://") or wrong_form(value) or is_loopback(published):
        return
    if (urlsplit(value).port or HTTPS_PORT) == number:
        yield Finding(
            f"is https on port {number}, where the Hub itself speaks plain http",
            "set jupyterhub_address: 127.0.0.1, and let what speaks HTTPS pass requests on to the Hub there",
        )


@rule("jupyterhub_url?", "jupyterhub_address", "hub_authenticator", "ingress_mode")
def others_find_it(url: str | None, published: str, authenticator: str, mode: str) -> Findings:
    """Where it is published for others, the address of browsers must lead there."""
    if (
        mode in ("caddy", "coolify")
        or authenticator == "shared-password"
        or is_loopback(published)
        or (url and not is_loopback(host_of(url)))
    ):
        return
    fact = f"is {shown(url)}, which every browser takes for its own machine" if url else "is not set"
    yield Finding(
        f"{fact}, but jupyterhub_address {published} is for others",
        "set it to the address that browsers use, such as https://hub.example.org, or jupyterhub_address: 127.0.0.1",
    )


@rule("jupyterhub_address", "hub_authenticator")
def shared_password_stays_at_home(value: str, authenticator: str) -> Findings:
    """Whoever reaches it can pose as any user."""
    if authenticator == "shared-password" and not is_loopback(value):
        yield Finding(
            f"others reach {shown(value)}, and with hub_authenticator: shared-password anybody logs in as anybody",
            "set it to 127.0.0.1 (an SSH tunnel reaches it from elsewhere)",
        )


@rule("jupyterhub_url", "hub_authenticator")
def shared_password_has_no_public_url(value: str, authenticator: str) -> Findings:
    """The same, by whatever stands in front of the Hub."""
    if authenticator == "shared-password" and host_of(value) and not is_loopback(host_of(value)):
        yield Finding(
            f"others reach {shown(value)}, and with hub_authenticator: shared-password anybody logs in as anybody",
            "remove it, or set hub_authenticator: github",
        )
