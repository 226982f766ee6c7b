"""Open websockets of a workspace's server: real tornado websockets, a Hub that lets users in or does not."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import jupyterhub_guests
import pytest
from jupyterhub.services.auth import check_scopes
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, HTTPError
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

ACCESS = {"access:servers!server=workspace.lab/"}


class Auth:
    """HubOAuth, as far as it is used: the Hub's answer by token; None if it does not answer."""

    access_scopes = ACCESS

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}

    def get_token(self, handler: Any, in_cookie: bool = True) -> str:
        return str(handler.get_cookie("token", "")) if in_cookie else str(handler.request.headers.get("X-Token", ""))

    def get_session_id(self, handler: Any) -> str:
        return ""

    def check_scopes(self, required: Any, user: Any) -> Any:
        return check_scopes(required, set(user["scopes"]))

    async def user_for_token(self, token: str, session_id: str, sync: bool) -> Any:
        if (answer := self.answers[token]) is None:
            raise HTTPError(502)
        return answer or None


class Echo(WebSocketHandler):
    """A page's connection."""

    def prepare(self) -> None:
        self._token_authenticated = "X-Token" in self.request.headers

    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(WebSocketHandler, "get_websocket_protocol", WebSocketHandler.get_websocket_protocol)
    return jupyterhub_guests.follow()


def still_open(opened: Any, auth: Auth, *tokens: str) -> list[bool]:
    """Open a websocket for each token (`+`: in a header), check once, and see which ones still echo."""

    async def scenario() -> list[bool]:
        listener, port = bind_unused_port()
        server = HTTPServer(Application([("/", Echo)]))
        server.add_socket(listener)
        pages = []
        for token in tokens:
            headers = {"X-Token": token[1:]} if token.startswith("+") else {"Cookie": f"token={token}"}
            pages.append(await websocket_connect(HTTPRequest(f"ws://127.0.0.1:{port}/", headers=headers)))
        await jupyterhub_guests.close_refused(auth, [each for each in opened if each.ws_connection])
        seen = []
        for page in pages:
            with contextlib.suppress(WebSocketClosedError):
                await page.write_message("x")
            answer = await asyncio.wait_for(page.read_message(), 5)
            seen.append(answer == "x")
            assert answer == "x" or page.close_code == 1008
        server.stop()
        return seen

    return asyncio.run(scenario())


def test_only_former_members_are_cut_off(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    auth = Auth()
    auth.answers = {
        "member": {"name": "ann", "scopes": [*ACCESS]},
        # Still a user of the Hub, but not of this workspace.
        "left-the-team": {"name": "lee", "scopes": ["access:servers!server=lee/"]},
        # Logged out, blocked, or not in the organisation any more.
        "left": False,
        # The Hub does not answer.
        "unknown": None,
    }
    kept = still_open(opened, auth, "member", "left-the-team", "left", "unknown", "", "+member", "+left")
    assert kept == [True, False, False, True, True, True, False]
    assert caplog.text.count("Closing a websocket of") == 3


def test_a_user_s_own_server_checks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_GUESTS", raising=False)
    jupyterhub_guests._load_jupyter_server_extension(SimpleNamespace())


def test_workspace_checks_regularly(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_GUESTS", "1")
    monkeypatch.setattr(jupyterhub_guests, "CHECK_S", 0)
    checked: list[Any] = []

    async def close_refused(auth: Any, handlers: Any) -> None:
        checked.append(auth)
        if len(checked) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(jupyterhub_guests, "close_refused", close_refused)
    loops: list[Any] = []
    server = SimpleNamespace(
        identity_provider=SimpleNamespace(hub_auth="auth"),
        io_loop=SimpleNamespace(add_callback=loops.append),
        web_app=SimpleNamespace(settings={}),
    )
    jupyterhub_guests._load_jupyter_server_extension(server)
    assert server.web_app.settings == {"page_config_data": {"hubSharing": "true"}}
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(loops[0]())
    assert checked == ["auth"] * 3
