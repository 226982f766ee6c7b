"""Addresses of hosts and pages."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

EXAMPLE = "write one such as https://hub.example.org"
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE)
CALLBACK_PATH = "/hub/oauth_callback"


def is_address(host: str) -> bool:
    """Return whether a host is named by its IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Return whether an address or name reaches this machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


def is_near(host: str) -> bool:
    """Return whether a host is in a private network, or this machine."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return is_loopback(host)


def host_of(url: str) -> str:
    """Return the host of a URL, "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_readable_on_the_way(url: str) -> bool:
    """Return whether a URL is plain http to another machine."""
    host = host_of(url)
    return url.startswith("http://") and bool(host) and not is_loopback(host)


def callback_url(url: str) -> str:
    """Return where a provider sends browsers back to."""
    return f"{url}{CALLBACK_PATH}"


def wrong_form(url: str) -> tuple[str, str] | None:
    """Return what keeps a URL from being scheme and host alone, and the fix; None if it is that."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has a port or a host that cannot be", "use a port of 1 to 65535, or leave it out"
    bare = _bare(parts)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        advice = f"did you mean https://{url}?" if HOST_NAME.fullmatch(url) and "." in url else EXAMPLE
        return "is not an http:// or https:// address", advice
    if "@" in parts.netloc:
        return "names a user", f"leave that out: {bare}"
    if port == 0 or not (HOST_NAME.fullmatch(parts.hostname or "") or is_address(parts.hostname or "")):
        return "has a port or a host that cannot be", EXAMPLE
    if parts.path or parts.query or parts.fragment or url != bare:
        return "is more than https:// and a host", f"did you mean {bare}?"
    return None


def _bare(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
