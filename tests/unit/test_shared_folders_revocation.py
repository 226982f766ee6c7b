"""Running servers whose users lost a folder: stopped at a check, a login, the Hub's start; with notice and reason."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from fake_spawner import spawner
from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from jupyterhub_ansible.messages.handlers import Inbox
from jupyterhub_ansible.shared_folders import revocation
from sqlalchemy.exc import OperationalError

WHY = "the shared folder The Lab may not be used in it any more"


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[str], str]]:
    """No time passes between a notice and the stop; return the notices."""
    found: list[tuple[set[str], str]] = []
    monkeypatch.setattr(revocation, "NOTICE_S", 0)
    monkeypatch.setattr(revocation, "users_of", lambda db, spawner: {spawner.user.name})

    def notify(names: set[str], text: str, lasts_s: int) -> list[int]:
        found.append((names, text))
        return [3, 4]

    removed = Mock()
    monkeypatch.setattr(Inbox, "messages", SimpleNamespace(notify=notify, remove=removed), raising=False)
    return found


class Hub:
    """The parts of JupyterHub that are used, and a user with servers."""

    def __init__(self, **lost: str) -> None:
        self.log, self.db = logging.getLogger("hub"), None
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


def test_only_servers_that_have_it_are_stopped(
    caplog: pytest.LogCaptureFixture, told: list[tuple[set[str], str]]
) -> None:
    hub = Hub(has=WHY, other="")
    asyncio.run(revocation.revoke_all(hub))
    [(names, notice)] = told
    assert names == {hub.user.spawners["has"].user.name}
    assert notice == f"{hub.user.name}'s server has stops in 0 seconds, because {WHY}. Save your work."
    assert hub.stopped == ["has"]
    hub.proxy.delete_user.assert_awaited_once_with(hub.user, "has")
    assert hub.user.spawners["has"].ended == f"It was stopped, because {WHY}. Your own files are kept."
    assert WHY in caplog.text


@pytest.mark.parametrize("then", ["has it again", "stopped it"])
def test_what_changes_during_the_notice_counts(then: str) -> None:
    hub = Hub(has=WHY)
    spawner = hub.user.spawners["has"]
    spawner.lost_folders.side_effect = [WHY, "" if then == "has it again" else WHY]

    async def checked_twice() -> None:
        one, two = (asyncio.create_task(revocation.revoke(hub, hub.user)) for _ in range(2))
        await asyncio.sleep(0)
        if then == "stopped it":
            spawner.in_the_database.ip = ""
        await asyncio.gather(one, two)

    asyncio.run(checked_twice())
    assert hub.stopped == []
    # And the next check looks again.
    assert spawner not in revocation._ending


def test_notice_goes_and_one_that_cannot_be_stored_keeps_nothing_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub = Hub(has=WHY)
    asyncio.run(revocation.revoke(hub, hub.user))
    Inbox.messages.remove.assert_called_once_with(3, 4)  # type: ignore[attr-defined]
    full = OperationalError("INSERT", {}, Exception("database or disk is full"))
    monkeypatch.setattr(Inbox.messages, "notify", Mock(side_effect=full))
    hub = Hub(has=WHY)
    asyncio.run(revocation.revoke(hub, hub.user))
    assert hub.stopped == ["has"]
    assert "its users cannot be told" in caplog.text


def test_two_checks_stop_it_once(told: list[tuple[set[str], str]]) -> None:
    hub = Hub(has=WHY)

    async def checked_twice() -> None:
        await asyncio.gather(*(revocation.revoke(hub, hub.user) for _ in range(2)))

    asyncio.run(checked_twice())
    assert (hub.stopped, len(told)) == (["has"], 1)


def test_a_failure_keeps_no_other_server(caplog: pytest.LogCaptureFixture) -> None:
    hub = Hub(fails=WHY, has=WHY)
    hub.user.spawners["fails"].lost_folders.side_effect = OSError("the engine does not answer")
    asyncio.run(revocation.revoke(hub, hub.user))
    assert hub.stopped == ["has"]
    assert "its shared folders cannot be checked" in caplog.text


def test_silent_engine_is_asked_again_at_the_hubs_start(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, pauses = Hub(has=WHY, other=""), []
    silent = OSError("the engine does not answer")
    hub.user.spawners["has"].lost_folders.side_effect = [*[silent] * 8, WHY, WHY]

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(revocation, "NOTICE_S", 15)
    asyncio.run(revocation.revoke_all(hub))
    assert hub.stopped == ["has"]
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 15]


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


def test_notice_is_for_all_who_may_use_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.undo()
    db = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    ann, ben, eve, lab = (orm.User(name=name) for name in ("ann", "ben", "eve", "workspace.lab"))
    db.add_all((ann, ben, eve, lab, orm.Group(name="data", users=[eve])))
    for owner in (ann, lab):
        owner._orm_spawners.append(orm.Spawner(name="", user=owner))
    db.commit()
    orm.Share.grant(db, ann.orm_spawners[""], ben)
    role = orm.Role(name="workspace.lab", scopes=[], users=[ann], groups=[orm.Group.find(db, "data")])
    db.add(role)
    db.commit()
    found = [
        revocation.users_of(db, SimpleNamespace(user=owner, orm_spawner=owner.orm_spawners[""])) for owner in (ann, lab)
    ]
    db.close()
    assert found == [{"ann", "ben"}, {"workspace.lab", "ann", "eve"}]
