"""Tokens in addresses, by HubAuth itself."""

from types import SimpleNamespace
from typing import Any

import pytest
import websocket_tokens
from jupyterhub.services.auth import HubAuth
from tornado.httputil import HTTPHeaders


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> HubAuth:
    # To restore what the patch replaces.
    monkeypatch.setattr(HubAuth, "_get_token_url", HubAuth._get_token_url)
    websocket_tokens.install()
    return HubAuth(api_token="x")


def handler(**headers: str) -> Any:
    """Return the handler of a request with ?token=secret."""
    arguments = {"token": "secret"}
    request = SimpleNamespace(headers=HTTPHeaders({name.replace("_", "-"): value for name, value in headers.items()}))
    return SimpleNamespace(request=request, get_argument=lambda name, default: arguments.get(name, default))


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({"Upgrade": "websocket"}, "secret"),
        ({"Upgrade": "WebSocket", "Authorization": "token other"}, "secret"),
        ({"Upgrade": "websocket", "Sec_Fetch_Mode": "websocket"}, "secret"),
        # A page, a request of a page, and another program's: the address may be a link that somebody else sent.
        ({"Sec_Fetch_Mode": "navigate"}, ""),
        ({"Sec_Fetch_Mode": "cors"}, ""),
        ({}, ""),
        ({"Upgrade": "h2c"}, ""),
        ({"Authorization": "token other"}, "other"),
    ],
    ids=str,
)
def test_token_in_an_address_counts_for_websockets(auth: HubAuth, headers: dict[str, str], found: str) -> None:
    assert (auth.get_token(handler(**headers), in_cookie=False) or "") == found
