"""Rules for the ingress: who terminates HTTPS, and which proxies are trusted with the client's address."""

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
# No one's own network has a shorter prefix.
SHORTEST_PREFIX = {4: 8, 6: 16}
NAME_FIX = "write a name in a domain of yours, such as https://hub.example.org"


def uses_acme(good: Mapping[str, Any]) -> bool:
    """Return whether Caddy obtains its certificates by ACME."""
    return good.get("ingress_mode") == "caddy" and "certificate_file" not in (good.get("ingress_caddy") or {})


def published(good: Mapping[str, Any]) -> dict[str, str]:
    """Return the machine's ports to publish, each with its address; "" means all addresses."""
    mode = good.get("ingress_mode") or "none"
    if mode == "caddy":
        return dict.fromkeys(CADDY, "")
    port, address = good.get("jupyterhub_port"), good.get("jupyterhub_address")
    return {f"{port}/tcp": address} if port and address and mode != "coolify" else {}


def warnings(good: Mapping[str, Any]) -> list[str]:
    """Return warnings about settings that may be intended."""
    mode = good.get("ingress_mode")
    if good.get("ingress_trusted_proxies") and mode in ("none", "caddy", "coolify"):
        return [f"ingress_trusted_proxies only applies with ingress_mode: proxy, but ingress_mode is {mode}"]
    return []


def report_options(good: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the module host_report that follow from these settings."""
    caddy = good.get("ingress_mode") == "caddy"
    return {
        "ports": list(published(good)),
        "host": host_of(good.get("jupyterhub_url") or "") if caddy else "",
        "certificate": dict(good.get("ingress_caddy") or {}) if caddy else {},
    }


@rule("ingress_mode", "jupyterhub_url?")
def url_is_set(mode: str, url: str | None) -> Findings:
    """Certificates and routes need a host name."""
    if mode != "none" and not url:
        yield Finding(
            f"is not set, and ingress_mode: {mode} needs it",
            "set it to the address that browsers use, such as https://hub.example.org",
            "jupyterhub_url",
        )


@rule("jupyterhub_url", "ingress_mode")
def https_is_terminated(url: str, mode: str) -> Findings:
    """The URL's scheme must match the ingress."""
    if wrong_form(url):
        return
    if mode == "none" and url.startswith("https://"):
        yield Finding(
            "uses https, but with ingress_mode: none nothing terminates TLS",
            "set ingress_mode: caddy for automatic certificates; or proxy or coolify, if you have one of these"
            " (docs/how-to/https.md)",
        )
    elif mode in ("caddy", "coolify") and url.startswith("http://"):
        yield Finding(
            f"uses http, but ingress_mode: {mode} is for https", f"write https://{url.removeprefix('http://')}"
        )


@rule("jupyterhub_url", "ingress_mode", "ingress_caddy")
def host_can_get_a_certificate(url: str, mode: str, caddy: Mapping[str, Any]) -> Findings:
    """Authorities connect to port 80 or 443 of a host name."""
    host = host_of(url)
    if mode not in ("caddy", "coolify") or wrong_form(url) or not url.startswith("https://"):
        return
    options = caddy if mode == "caddy" else {}
    own = ", or use your own certificate (ingress_caddy.certificate_file)" if mode == "caddy" else ""
    if urlsplit(url).port is not None:
        yield Finding(f"has a port, but {mode} serves HTTPS on 443", f"write https://{host}")
    elif is_address(host):
        # Browsers send no SNI for an IP address, so no certificate could be chosen.
        yield Finding(f"is an IP address, but {mode} needs a host name: {shown(url)}", NAME_FIX)
    elif "certificate_file" in options:
        return
    elif is_loopback(host) or "." not in host:
        yield Finding(f"is not a host that a certificate authority could reach: {shown(url)}", NAME_FIX + own)
    elif "_" in host and "directory_url" not in options:
        # Not a host name by RFC 1123, which public authorities insist on.
        yield Finding(
            f"contains an underscore, and no public authority issues a certificate for such a name: {shown(url)}",
            f"use another name, such as https://{host.replace('_', '-')}{own}",
        )


@rule("ingress_caddy", "ingress_mode", "hub_traits")
def wildcards_need_a_certificate(caddy: Mapping[str, Any], mode: str, traits: Mapping[str, Any]) -> Findings:
    """ACME issues them only through changes of the DNS, which this deployment cannot make."""
    if mode == "caddy" and "certificate_file" not in caddy and (traits.get("JupyterHub") or {}).get("subdomain_host"):
        yield Finding(
            "hub_traits gives each user a subdomain, which needs a wildcard certificate, but Caddy cannot get one here",
            "get one by a DNS challenge (certbot, lego), and name its files in certificate_file and key_file;"
            " or remove JupyterHub.subdomain_host",
        )


@rule("ingress_caddy")
def caddy_options(caddy: Mapping[str, Any]) -> Findings:
    """Some options require, and some exclude, each other."""
    own = {"certificate_file", "key_file"} & set(caddy)
    if len(own) == 1:
        lacking = ({"certificate_file", "key_file"} - own).pop()
        yield Finding(f"has {min(own)} without {lacking}", f"add {lacking}")
    acme = sorted({"directory_url", "staging", "ca_file", "email"} & set(caddy))
    if own and acme:
        yield Finding(f"has your own certificate, but also {acme[0]}, which is for obtaining one", f"remove {acme[0]}")
    if "ca_file" in caddy and "directory_url" not in caddy and not own:
        advice = "add the directory_url of that authority, or remove ca_file"
        yield Finding("has ca_file, the root certificate of your own authority, without directory_url", advice)
    if caddy.get("staging") and "directory_url" in caddy:
        yield Finding("has both staging and directory_url, which name different authorities", "remove one of them")
    url = caddy.get("directory_url")
    if url is not None and not re.fullmatch(r"https://[^\s{}\"]+", url):
        yield Finding(
            "is not an https:// address",
            "write the URL of your authority's ACME directory",
            "ingress_caddy.directory_url",
        )
    if "email" in caddy and not EMAIL.fullmatch(caddy["email"]):
        yield Finding(
            f"is not an e-mail address: {shown(caddy['email'])}", "correct it, or remove it", "ingress_caddy.email"
        )


@rule("ingress_trusted_proxies")
def trusted_addresses(proxies: list[str]) -> Findings:
    """A trusted proxy can claim any client address."""
    for index, text in enumerate(proxies):
        about = f"ingress_trusted_proxies[{index}]"
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            advice = "write an address such as 192.0.2.7, or a network such as 10.0.0.0/24, without host bits"
            yield Finding(f"is neither an address nor a network: {shown(text)}", advice, about)
            continue
        if network.prefixlen < SHORTEST_PREFIX[network.version]:
            yield Finding(
                f"{text} covers too many addresses, each of which could forge the client's address",
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
    """Docker forwards IPv6 connections from an address of its own."""
    if mode == "proxy" and ":" in address and not is_loopback(address):
        yield Finding(
            f"is an IPv6 address, where Docker hides the address of your proxy: {shown(address)}",
            "use an IPv4 address of the machine that your proxy can reach",
        )


@rule("ingress_trusted_proxies", "ingress_mode", "jupyterhub_address")
def a_proxy_is_trusted(proxies: list[str], mode: str, address: str) -> Findings:
    """Otherwise the Hub would take https requests for http, and set cookies accordingly."""
    if mode == "proxy" and not proxies and not is_loopback(address):
        yield Finding(
            f"is empty, but jupyterhub_address {address} is for proxies on other machines",
            "name their addresses, or set jupyterhub_address: 127.0.0.1 for a proxy on this machine",
        )


@rule("hub_authenticator", "ingress_mode", "jupyterhub_url?")
def shared_password_has_no_ingress(authenticator: str, mode: str, url: str | None) -> Findings:
    """Others could come in through the ingress even if the URL is a loopback one, and log in as any user."""
    if authenticator == "shared-password" and mode != "none" and url and is_loopback(host_of(url)):
        yield Finding(
            f"is shared-password, with which anyone can log in as any user, but ingress_mode: {mode} is for others",
            "set hub_authenticator: github, or ingress_mode: none",
        )
