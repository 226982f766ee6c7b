"""Running servers whose users lost a folder: stopped at a check, a login, the Hub's start; with a reason to read."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from fake_spawner import spawner
from jupyterhub.handlers.base import BaseHandler
from jupyterhub_ansible.shared_folders import revocation

WHY = "the shared folder The Lab may not be used in it any more"


class Hub:
    """The parts of JupyterHub that are used, and a user with servers."""

    def __init__(self, **lost: str) -> None:
        self.log = logging.getLogger("hub")
        self.proxy = SimpleNamespace(delete_user=AsyncMock())
        self.stopped: list[str] = []
        self.user = SimpleNamespace(name="ann", active=True, spawners={}, stop=self._stop)
        self.users = {1: self.user}
        for name, what in lost.items():
            made = spawner(server=name)
            made.in_the_database.ip = "127.0.0.2"
            made.lost_folders = AsyncMock(return_value=what)
            self.user.spawners[name] = made

    async def _stop(self, name: str) -> None:
        self.stopped.append(name)
        self.user.spawners[name].in_the_database.ip = ""


def test_only_servers_that_have_it_are_stopped(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(has=WHY, other="")
    asyncio.run(revocation.revoke_all(hub))
    assert hub.stopped == ["has"]
    hub.proxy.delete_user.assert_awaited_once_with(hub.user, "has")
    assert hub.user.spawners["has"].ended == f"It was stopped, because {WHY}. Your own files are kept."
    assert WHY in caplog.text


def test_a_failure_keeps_no_other_server(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(fails=WHY, has=WHY)
    hub.user.spawners["fails"].lost_folders.side_effect = OSError("the engine does not answer")
    asyncio.run(revocation.revoke(hub, hub.user))
    assert hub.stopped == ["has"]
    assert "its shared folders cannot be checked" in caplog.text


def test_silent_engine_is_asked_again_at_the_hubs_start(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, pauses = Hub(has=WHY, other=""), []
    silent = OSError("the engine does not answer")
    hub.user.spawners["has"].lost_folders.side_effect = [*[silent] * 8, WHY]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(revocation.revoke_all(hub))
    assert hub.stopped == ["has"]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]


def test_another_spawner_is_left_alone() -> None:
    hub = Hub()
    hub.user.spawners[""] = SimpleNamespace(active=True)
    assert asyncio.run(revocation.revoke(hub, hub.user))
    assert hub.stopped == []


def test_each_login_and_check_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def stored(handler: Any, authenticated: Any, user: Any = None) -> Any:
        return hub.user

    hub = Hub(has=WHY)
    monkeypatch.setattr(BaseHandler, "auth_to_user", stored)
    revocation.follow_logins(hub)

    async def log_in() -> Any:
        found = await BaseHandler.auth_to_user(SimpleNamespace(), {"name": "ann"})
        assert hub.stopped == [], "the page does not wait"
        await asyncio.gather(*(each for each in asyncio.all_tasks() if each is not asyncio.current_task()))
        return found

    assert asyncio.run(log_in()) is hub.user
    assert hub.stopped == ["has"]
