"""The way in: who speaks HTTPS, and whom the proxy believes what it says of the client."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...module_utils.rules.addresses import host_of, is_address, is_loopback, wrong_form
from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings, Rules

rule = Rules()

EMAIL = re.compile(r"[^@\s{}]+@[^@\s{}]+\.[^@\s{}]+")
# HTTP, HTTPS, and HTTP/3.
CADDY = ("80/tcp", "443/tcp", "443/udp")
# Smaller ones are networks that somebody has.
WIDEST = {4: 8, 6: 16}
NAME_FIX = "write a name in a domain of yours, such as https://hub.example.org"


def speaks_for_itself(good: Mapping[str, Any]) -> bool:
    """Return whether Caddy gets its certificates by ACME."""
    return good.get("ingress_mode") == "caddy" and "certificate_file" not in (good.get("ingress_caddy") or {})


def published(good: Mapping[str, Any]) -> dict[str, str]:
    """Return the ports of the machine that are to be published, and on which address each; "" is all of them."""
    mode = good.get("ingress_mode") or "none"
    if mode == "caddy":
        return dict.fromkeys(CADDY, "")
    port, address = good.get("jupyterhub_port"), good.get("jupyterhub_address")
    return {f"{port}/tcp": address} if port and address and mode != "coolify" else {}


def warnings(good: Mapping[str, Any]) -> list[str]:
    """Return what the operator should know, though it may be meant."""
    mode = good.get("ingress_mode")
    if good.get("ingress_trusted_proxies") and mode in ("none", "caddy", "coolify"):
        return [f"ingress_trusted_proxies is read with ingress_mode: proxy alone, and that is {mode}"]
    return []


def asked_of_the_machine(good: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the module host_report that follow from these settings."""
    caddy = good.get("ingress_mode") == "caddy"
    return {
        "ports": list(published(good)),
        "host": host_of(good.get("jupyterhub_url") or "") if caddy else "",
        "certificate": dict(good.get("ingress_caddy") or {}) if caddy else {},
    }


@rule("ingress_mode", "jupyterhub_url?")
def where_browsers_find_it(mode: str, url: str | None) -> Findings:
    """Certificates and routes are for a name."""
    if mode != "none" and not url:
        yield Finding(
            f"is not set, and ingress_mode: {mode} needs it",
            "set it to the address that browsers use, such as https://hub.example.org",
            "jupyterhub_url",
        )


@rule("jupyterhub_url", "ingress_mode")
def somebody_speaks_https(url: str, mode: str) -> Findings:
    """Whether it is https, and who speaks that, belong together."""
    if wrong_form(url):
        return
    if mode == "none" and url.startswith("https://"):
        yield Finding(
            "is https, and with ingress_mode: none nobody speaks that",
            "set ingress_mode: caddy, and certificates come by themselves; or proxy or coolify, if one of these is"
            " there (docs/how-to/https.md)",
        )
    elif mode in ("caddy", "coolify") and url.startswith("http://"):
        yield Finding(f"is http, and ingress_mode: {mode} is for https", f"write https://{url.removeprefix('http://')}")


@rule("jupyterhub_url", "ingress_mode", "ingress_caddy")
def a_name_that_certificates_are_for(url: str, mode: str, caddy: Mapping[str, Any]) -> Findings:
    """Authorities look at port 80 or 443 of a name."""
    host = host_of(url)
    if mode not in ("caddy", "coolify") or wrong_form(url) or not url.startswith("https://"):
        return
    if urlsplit(url).port is not None:
        yield Finding(f"has a port, and {mode} speaks HTTPS on 443", f"write https://{host}")
    elif is_address(host):
        # Browsers do not say which address they ask for, so that no certificate could be chosen.
        yield Finding(f"is an address, and {mode} needs a name: {shown(url)}", NAME_FIX)
    elif (is_loopback(host) or "." not in host) and not (mode == "caddy" and "certificate_file" in caddy):
        own = ", or give a certificate of your own (ingress_caddy.certificate_file)" if mode == "caddy" else ""
        yield Finding(f"names no host that a certificate authority could reach: {shown(url)}", NAME_FIX + own)


@rule("ingress_caddy", "ingress_mode", "hub_traits")
def wildcards_need_a_certificate(caddy: Mapping[str, Any], mode: str, traits: Mapping[str, Any]) -> Findings:
    """By ACME they come by changes of the DNS only, which is nobody's business here."""
    if mode == "caddy" and "certificate_file" not in caddy and (traits.get("JupyterHub") or {}).get("subdomain_host"):
        yield Finding(
            "hub_traits gives each user a subdomain, which needs a wildcard certificate, and Caddy cannot get one here",
            "get one by a DNS challenge (certbot, lego), and name its files in certificate_file and key_file;"
            " or remove JupyterHub.subdomain_host",
        )


@rule("ingress_caddy")
def caddy_options(caddy: Mapping[str, Any]) -> Findings:
    """What goes together, and what does not."""
    own = {"certificate_file", "key_file"} & set(caddy)
    if len(own) == 1:
        lacking = ({"certificate_file", "key_file"} - own).pop()
        yield Finding(f"has {min(own)} without {lacking}", f"add {lacking}")
    acme = sorted({"directory_url", "staging", "ca_file", "email"} & set(caddy))
    if own and acme:
        yield Finding(f"has a certificate of its own, and {acme[0]}, which is for getting one", f"remove {acme[0]}")
    if "ca_file" in caddy and "directory_url" not in caddy and not own:
        advice = "add its directory_url, or remove ca_file"
        yield Finding("has ca_file, which is the root of an authority of yours", advice)
    if caddy.get("staging") and "directory_url" in caddy:
        yield Finding("has staging and directory_url, which name two authorities", "remove one of them")
    url = caddy.get("directory_url")
    if url is not None and not re.fullmatch(r"https://[^\s{}\"]+", url):
        yield Finding(
            "is no https:// address",
            "write the ACME directory that your authority names",
            "ingress_caddy.directory_url",
        )
    if "email" in caddy and not EMAIL.fullmatch(caddy["email"]):
        yield Finding(
            f"is no e-mail address: {shown(caddy['email'])}", "correct it, or remove it", "ingress_caddy.email"
        )


@rule("ingress_trusted_proxies")
def trusted_addresses(proxies: list[str]) -> Findings:
    """Who is believed can pose as anybody's address."""
    for index, text in enumerate(proxies):
        about = f"ingress_trusted_proxies[{index}]"
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            advice = "write an address such as 192.0.2.7, or a network such as 10.0.0.0/24, without bits after it"
            yield Finding(f"is neither an address nor a network: {shown(text)}", advice, about)
            continue
        if network.prefixlen < WIDEST[network.version]:
            yield Finding(
                f"{text} is half the world, and whoever is in it could forge where a request comes from",
                "name the addresses of your proxies",
                about,
            )
        elif network.is_loopback:
            yield Finding(
                f"{text} is the machine itself, which needs no entry",
                "remove it: with jupyterhub_address: 127.0.0.1 a proxy on the machine is trusted",
                about,
            )


@rule("jupyterhub_address", "ingress_mode")
def proxies_are_known_by_ipv4(address: str, mode: str) -> Findings:
    """Docker passes on what comes by IPv6 under an address of its own."""
    if mode == "proxy" and ":" in address and not is_loopback(address):
        yield Finding(
            f"is of IPv6, by which no proxy's own address arrives: {shown(address)}",
            "use an IPv4 address of the machine for the proxy to reach",
        )


@rule("ingress_trusted_proxies", "ingress_mode", "jupyterhub_address")
def somebody_is_trusted(proxies: list[str], mode: str, address: str) -> Findings:
    """Otherwise logins would come by https, and cookies go by http."""
    if mode == "proxy" and not proxies and not is_loopback(address):
        yield Finding(
            f"is empty, and jupyterhub_address {address} is for proxies on other machines",
            "name their addresses, or set jupyterhub_address: 127.0.0.1 for a proxy on this machine",
        )


@rule("hub_authenticator", "ingress_mode", "jupyterhub_url?")
def shared_password_has_no_way_in(authenticator: str, mode: str, url: str | None) -> Findings:
    """Whoever comes in can pose as any user, also where the address says that nobody else does."""
    if authenticator == "shared-password" and mode != "none" and url and is_loopback(host_of(url)):
        yield Finding(
            f"is shared-password, by which anybody logs in as anybody, and ingress_mode: {mode} is for others",
            "set hub_authenticator: github, or ingress_mode: none",
        )
