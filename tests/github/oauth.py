"""OAuth apps, and what users have granted them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

CODE_VALID_S = 10 * 60
TOKENS_OF_A_KIND = 10
"""For each user, app and set of scopes: one more revokes the oldest."""


@dataclass
class OAuthApp:
    """An OAuth app, as its owner registered it."""

    client_id: str
    client_secret: str = field(repr=False)
    callback_url: str
    name: str


@dataclass
class Grant:
    """A user's authorization of an app; tokens are issued for it without asking again."""

    user_id: int
    client_id: str
    scopes: frozenset[str]


@dataclass
class Request:
    """What an app requests when it sends somebody to the authorize page."""

    client_id: str
    redirect_uri: str | None
    scopes: frozenset[str]
    challenge: str | None = None
    """Of PKCE with the method S256."""


@dataclass
class Code:
    """What an app receives through the browser, to be exchanged once for a token."""

    user_id: int
    request: Request
    scopes: frozenset[str]
    expires_at: float


@dataclass
class Token:
    """What an app calls the API with."""

    user_id: int
    client_id: str
    scopes: frozenset[str]


@dataclass
class Session:
    """A browser in which somebody is signed in."""

    user_id: int
    authenticity_token: str = field(repr=False)


@dataclass
class OAuthError(Exception):
    """An error from the token endpoint or to the callback, worded as GitHub documents it."""

    error: str
    description: str
    page: str

    def answer(self) -> dict[str, str]:
        """Return the error as GitHub reports it."""
        uri = f"https://docs.github.com/apps/managing-oauth-apps/{self.page}/#{self.error.replace('_', '-')}"
        return {"error": self.error, "error_description": self.description, "error_uri": uri}


_AUTHORIZING = "troubleshooting-authorization-request-errors"
_EXCHANGING = "troubleshooting-oauth-app-access-token-request-errors"
_MISMATCH = "The redirect_uri MUST match the registered callback URL for this application."


def access_denied() -> OAuthError:
    """The user pressed Cancel."""
    return OAuthError("access_denied", "The user has denied your application access.", _AUTHORIZING)


def wrong_redirect(exchanging: bool = False) -> OAuthError:
    """The redirect URI is not the registered one, or differs from that of the first request."""
    return OAuthError("redirect_uri_mismatch", _MISMATCH, _EXCHANGING if exchanging else _AUTHORIZING)


def wrong_challenge() -> OAuthError:
    """PKCE with another method than S256."""
    return OAuthError("invalid_request", "The code_challenge_method must be S256.", _AUTHORIZING)


def wrong_client() -> OAuthError:
    """Client id or secret are wrong."""
    description = "The client_id and/or client_secret passed are incorrect."
    return OAuthError("incorrect_client_credentials", description, _EXCHANGING)


def wrong_code() -> OAuthError:
    """The code is unknown, used, expired or another app's, or PKCE's verifier does not match the challenge."""
    return OAuthError("bad_verification_code", "The code passed is incorrect or expired.", _EXCHANGING)


def wrong_grant_type() -> OAuthError:
    """Another grant type than that of web applications."""
    return OAuthError("unsupported_grant_type", "The grant type is not supported.", _EXCHANGING)


def redirects_to(callback_url: str, redirect_uri: str) -> bool:
    """Whether a redirect URI is allowed: on the callback's host or a subdomain, at its path or below.

    Any port is allowed if the callback is a loopback IP address, as for desktop applications.
    """
    registered, asked = urlsplit(callback_url), urlsplit(redirect_uri)
    host, asked_host = registered.hostname or "", asked.hostname or ""
    if asked.scheme != registered.scheme or asked.username is not None or asked.fragment:
        return False
    if asked_host != host and not (asked_host.endswith(f".{host}") and not _address(host)):
        return False
    if _port(asked) != _port(registered) and not ((address := _address(host)) and address.is_loopback):
        return False
    path = registered.path.rstrip("/")
    return (asked.path == registered.path or asked.path.startswith(f"{path}/")) and "/.." not in asked.path


def _port(url: SplitResult) -> int:
    return url.port or {"https": 443}.get(url.scheme, 80)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_challenge(challenge: str) -> bool:
    """Whether this has the form of a SHA-256 challenge of PKCE."""
    return re.fullmatch(r"[A-Za-z0-9_-]{43}", challenge) is not None


def proves(verifier: str | None, challenge: str | None) -> bool:
    """Whether PKCE's verifier matches the challenge; both may be missing, but not one of them (RFC 9700)."""
    if verifier is None or challenge is None:
        return verifier is challenge
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), challenge.encode())
