"""Host names, IP addresses and URLs."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

EXAMPLE = "write one such as https://hub.example.org"
HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*", re.IGNORECASE)
CALLBACK_PATH = "/hub/oauth_callback"


def is_address(host: str) -> bool:
    """Return whether a host is given as an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Return whether an address or name is a loopback one."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


def is_private(host: str) -> bool:
    """Return whether a host is in a private network or is this machine."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return is_loopback(host)


def host_of(url: str) -> str:
    """Return the host of a URL, "" if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_plain_http_to_another_machine(url: str) -> bool:
    """Return whether others on the network could read the traffic."""
    host = host_of(url)
    return url.startswith("http://") and bool(host) and not is_loopback(host)


def callback_url(url: str) -> str:
    """Return the URL that an OAuth provider redirects browsers to after the login."""
    return f"{url}{CALLBACK_PATH}"


def wrong_form(url: str) -> tuple[str, str] | None:
    """Return what is wrong with a URL that must be a scheme and a host only, and the fix; None if it is valid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "has an invalid host or port", "use a port from 1 to 65535, or leave it out"
    bare = _bare(parts)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        advice = f"did you mean https://{url}?" if HOST_NAME.fullmatch(url) and "." in url else EXAMPLE
        return "is not an http:// or https:// address", advice
    if "@" in parts.netloc:
        return "contains a user name", f"leave it out: {bare}"
    if port == 0 or not (HOST_NAME.fullmatch(parts.hostname or "") or is_address(parts.hostname or "")):
        return "has an invalid host or port", EXAMPLE
    if parts.path or parts.query or parts.fragment or url != bare:
        return "must be a scheme and a host only", f"did you mean {bare}?"
    return None


def _bare(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
