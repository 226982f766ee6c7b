"""HTTP proxies for the Hub's own requests to the outside: logins, and whether users are still members.

Tornado's client, which oauthenticator uses, knows no proxies.  Libraries that do, such as requests, take them from the
environment, which children of the Hub (its services, users' servers) do not inherit.
"""

import asyncio
import contextlib
import json
import os
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.netutil import ssl_options_to_context
from tornado.simple_httpclient import SimpleAsyncHTTPClient

FILE = "http_proxies"
"""Secret file with `http_proxy`, `https_proxy` and `no_proxy`, as JSON: addresses may contain a password."""
NAMES = ("http_proxy", "https_proxy", "no_proxy")
INTERNAL = ("localhost", "127.0.0.1", "::1", "[::1]", "hub", "proxy", "proxy-api")
SETTINGS = "images_http_proxy, images_https_proxy; in a Compose application HTTP_PROXY, HTTPS_PROXY"
_FAILED = 599
"""Tornado's status of a request without an answer."""


class ProxyError(Exception):
    """An address of a proxy is invalid; `str()` says which, without its value."""


def use(folder: Path) -> None:
    """Send requests to the outside through the proxies in a file of this folder, or in the environment.

    Raises:
        ProxyError: an address is invalid.
    """
    try:
        given: Mapping[str, str] = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        given = {name: os.environ.get(name) or os.environ.get(name.upper(), "") for name in NAMES}
    for name in NAMES[:2]:
        value = given.get(name, "")
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ProxyError(f"{name}: is not an http:// or https:// address ({SETTINGS})")
    if not any(given.get(name) for name in NAMES[:2]):
        return
    bypassed = ",".join([given.get("no_proxy", ""), *INTERNAL]).strip(",")
    if given.get("no_proxy") == "*":
        return
    for name, value in {**given, "no_proxy": bypassed}.items():
        os.environ[name] = os.environ[name.upper()] = value
    AsyncHTTPClient.configure(ProxiedHTTPClient)


def proxy_of(url: str) -> str:
    """Return the proxy for requests to an address, "" if there is none."""
    target = urlsplit(url)
    # All read the environment.
    bypassed = proxy_bypass(target.netloc.rpartition("@")[2]) or _is_in_networks(target.hostname or "")
    return "" if bypassed else getproxies().get(target.scheme, "")


def _is_in_networks(host: str) -> bool:
    """Whether a host is an address of a network in no_proxy, which Python's own functions do not look for."""
    for each in getproxies().get("no", "").split(","):
        with contextlib.suppress(ValueError):
            if ip_address(host) in ip_network(each.strip(), strict=False):
                return True
    return False


class ProxiedHTTPClient(SimpleAsyncHTTPClient):
    """Tornado's client, with the proxies of the environment."""

    def fetch_impl(self, request: Any, callback: Callable[[HTTPResponse], None]) -> None:
        """Fetch by aiohttp if there is a proxy for the address."""
        if not (proxy := proxy_of(request.url)):
            super().fetch_impl(request, callback)
            return
        done = asyncio.ensure_future(_fetched(request, proxy))
        done.add_done_callback(lambda ended: callback(ended.result()))


async def _fetched(request: Any, proxy: str) -> HTTPResponse:
    started, parts = time.monotonic(), urlsplit(proxy)
    # Not in the address, which errors contain.
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    login = aiohttp.encode_basic_auth(unquote(parts.username or ""), unquote(parts.password or ""))
    timeout = aiohttp.ClientTimeout(total=request.request_timeout, connect=request.connect_timeout)
    try:
        # A new session for each request, as these are few.
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=request.decompress_response) as session,
            session.request(
                request.method,
                request.url,
                headers=list(request.headers.get_all()),
                data=request.body,
                allow_redirects=request.follow_redirects,
                max_redirects=request.max_redirects,
                proxy=where.geturl(),
                # aiohttp makes this Proxy-Authorization, in plain HTTP as well as for a tunnel.
                proxy_headers={"Authorization": login} if parts.username else None,
                ssl=_ssl(request),
            ) as answer,
        ):
            body, headers = await answer.read(), HTTPHeaders()
            for name, value in answer.headers.items():
                headers.add(name, value)
            if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                # To a request in plain HTTP.
                raise HTTPError(_FAILED, _refused(where.netloc))
            return HTTPResponse(
                request,
                answer.status,
                headers,
                BytesIO(body),
                effective_url=str(answer.url),
                reason=answer.reason,
                request_time=time.monotonic() - started,
            )
    except aiohttp.ClientHttpProxyError as error:
        asks = error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
        what = _refused(where.netloc) if asks else f"the HTTP proxy {where.netloc} answered {error.status}"
        failed: Exception = HTTPError(_FAILED, what)
    except HTTPError as error:
        failed = error
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        failed = HTTPError(_FAILED, f"by the HTTP proxy {where.netloc}: {type(error).__name__}: {error}")
    return HTTPResponse(request, _FAILED, error=failed, request_time=time.monotonic() - started)


def _refused(proxy: str) -> str:
    return f"the HTTP proxy {proxy} asks for a user and a password, or for others than are in its address ({SETTINGS})"


def _ssl(request: Any) -> ssl.SSLContext:
    """Return the same context that tornado would use."""
    if request.ssl_options is not None:
        return ssl_options_to_context(request.ssl_options, server_side=False)
    context = ssl.create_default_context(cafile=request.ca_certs)
    if not request.validate_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if request.client_cert is not None:
        context.load_cert_chain(request.client_cert, request.client_key)
    return context
