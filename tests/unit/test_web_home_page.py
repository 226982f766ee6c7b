"""The part of the home page that changes: for the user who asks, with what their servers use."""

import asyncio
import re
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from jupyterhub.auth import NullAuthenticator
from jupyterhub.handlers.pages import HomeHandler
from jupyterhub_ansible.app import JupyterHub
from jupyterhub_ansible.spawner.usage import Meter
from jupyterhub_ansible.web import home_page
from jupyterhub_ansible.web.home_page import OwnServersHandler


def handler_of(path: str) -> Any:
    hub = JupyterHub()
    hub.authenticator = NullAuthenticator()
    hub.init_handlers()
    return next(rule[1] for rule in hub.handlers if re.fullmatch(rule[0], path))


def test_the_home_page_is_still_jupyterhubs() -> None:
    assert handler_of("/hub/home/servers") is OwnServersHandler
    assert handler_of("/hub/home") is HomeHandler


def server(name: str, *, ready: bool, asked: list[str]) -> Any:
    def stats(container: str, stream: bool, one_shot: bool) -> dict[str, Any]:
        assert (stream, one_shot) == (False, True)
        asked.append(container)
        return {}

    return SimpleNamespace(object_id=f"id-of-{name}" if ready else "", ready=ready, client=SimpleNamespace(stats=stats))


@pytest.mark.parametrize("ready", [False, True])
def test_only_the_users_own_running_servers_are_measured(ready: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    mine = {name: server(name, ready=ready and name == "x", asked=asked) for name in ("", "x")}
    upstream = AsyncMock(return_value="html")
    monkeypatch.setattr(HomeHandler, "render_template", upstream)
    monkeypatch.setattr(home_page, "_METER", Meter())
    handler: Any = OwnServersHandler.__new__(OwnServersHandler)
    handler._jupyterhub_user = SimpleNamespace(spawners=mine)
    assert asyncio.run(handler.render_template("home.html", url="/user/ann/")) == "html"
    assert asked == (["id-of-x"] if ready else [])
    # The engine's answer is useless here: the page comes without numbers.
    upstream.assert_awaited_once_with("servers.html", url="/user/ann/", usage={})


def test_an_error_page_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterHub renders it at once (BaseHandler.write_error)."""
    upstream = Mock(return_value="html")
    monkeypatch.setattr(HomeHandler, "render_template", upstream)
    handler: Any = OwnServersHandler.__new__(OwnServersHandler)
    assert handler.render_template("error.html", sync=True, status_code=500) == "html"
    upstream.assert_called_once_with("error.html", sync=True, status_code=500)
