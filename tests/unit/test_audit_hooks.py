"""Logins, starts and stops, and visits: by whom, and why; JupyterHub's own methods do what they did."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from jupyterhub import orm
from jupyterhub.apihandlers.users import SelfAPIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from jupyterhub.user import User
from jupyterhub_ansible.audit import context, events, hooks, refusals, visits
from jupyterhub_ansible.messages.handlers import Inbox
from jupyterhub_ansible.shared_folders import revocation
from jupyterhub_ansible.web.errors import PageError
from sqlalchemy.orm import Session
from tornado.web import HTTPError

Recorded = list[dict[str, Any]]
PASSWORD = "correct-horse-battery"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found: Recorded = []
    monkeypatch.setattr(visits, "SHARED", visits.Visits())
    monkeypatch.setattr(refusals, "SHARED", refusals.Refusals())
    monkeypatch.setattr(events, "sinks", [found.append, visits.SHARED.take])
    return found


class Authenticator:
    """Knows one password, and blocks eve."""

    def check_blocked_users(self, username: str, authentication: Any = None) -> bool:
        return username != "eve"

    async def log_in(self, handler: Any, data: dict[str, str]) -> Any:
        if data["username"] == "down":
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "GitHub does not answer", why="it answered with 502")
        if data["password"] != PASSWORD:
            return None

        # As JupyterHub does: in a task of its own.
        async def checked() -> bool:
            await asyncio.sleep(0)
            return bool(self.check_blocked_users(data["username"]))

        if not await asyncio.create_task(checked()):
            raise PageError(HTTPStatus.FORBIDDEN, "Your account is blocked here.", why="the account eve is blocked")
        return {"name": data["username"]}


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Authenticator:
    made = Authenticator()
    for kind, names in (
        (BaseHandler, ("prepare", "authenticate", "login_user", "refresh_auth", "user_stopped")),
        (LogoutHandler, ("_backend_logout_cleanup",)),
        (User, ("spawn", "stop")),
    ):
        for name in names:
            monkeypatch.setattr(kind, name, getattr(kind, name))

    async def prepare(handler: Any) -> None:
        handler._jupyterhub_user = handler.user

    async def authenticate(handler: Any, data: Any) -> Any:
        return await made.log_in(handler, data)

    async def login_user(handler: Any, data: Any) -> Any:
        found = await BaseHandler.authenticate(handler, data)
        if found and found["name"].startswith("workspace."):
            raise PageError(HTTPStatus.FORBIDDEN, "Nobody can log in as it")
        return SimpleNamespace(**found, admin=found["name"] == "vera") if found else None

    monkeypatch.setattr(hooks, "_prepare", prepare)
    monkeypatch.setattr(hooks, "_authenticate", authenticate)
    monkeypatch.setattr(hooks, "_login_user", login_user)
    hooks.install(made)
    return made


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Session]:
    made: Session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    made.add_all([orm.User(name=name) for name in ("ann", "eve", "vera")])
    made.commit()
    yield made
    made.close()


def request(
    db: Session | None = None, user: str = "", kind: str = "user", handler: type = SimpleNamespace, **about: Any
) -> Any:
    found = SimpleNamespace(name=user, kind=kind) if user else None
    return handler(
        db=db, user=found, current_user=found, request=SimpleNamespace(remote_ip="198.51.100.7"),
        log=logging.getLogger("handler"), **about,
    )  # fmt: skip


def said(recorded: Recorded) -> list[tuple[str, str, str, str]]:
    found = [(each["event"], each["actor"], each["address"], each["result"]) for each in recorded]
    recorded.clear()
    return found


def log_in(db: Session, username: str, password: str = PASSWORD) -> None:
    async def requested() -> None:
        handler = request(db)
        await BaseHandler.prepare(handler)
        with contextlib.suppress(HTTPError):
            await BaseHandler.login_user(handler, {"username": username, "password": password})

    asyncio.run(requested())


def test_logins_and_refusals(db: Session, recorded: Recorded, authenticator: Authenticator) -> None:
    here = "198.51.100.7"
    log_in(db, "ann")
    log_in(db, "vera")
    assert recorded[1]["details"] == {"administrator": True}
    assert said(recorded) == [("login", "ann", here, "ok"), ("login", "vera", here, "ok")]
    log_in(db, "ann", "wrong")
    log_in(db, "eve")
    assert recorded[1]["details"] == {"why": "the account eve is blocked"}
    log_in(db, "down")
    log_in(db, "workspace.lab")
    assert said(recorded) == [
        ("login refused", "ann", here, "refused"),
        ("login refused", "eve", here, "refused"),
        ("login refused", "", here, "failed"),
        ("login refused", "", here, "refused"),
    ]


def test_refusals_of_a_stranger_do_not_fill_the_trail(
    db: Session, recorded: Recorded, authenticator: Authenticator
) -> None:
    for _ in range(50):
        log_in(db, "eve")
    log_in(db, "ann")
    refusals.SHARED.settle(everything=True)
    *listed, logged_in, rest = recorded
    assert [each["event"] for each in listed] == ["login refused"] * refusals.PER_ADDRESS
    assert (logged_in["event"], rest["details"]["more"]) == ("login", 50 - refusals.PER_ADDRESS)


def test_a_password_typed_as_a_name_is_not_recorded(
    db: Session, recorded: Recorded, authenticator: Authenticator
) -> None:
    log_in(db, PASSWORD, "ann")
    assert PASSWORD not in str(recorded)
    assert said(recorded) == [("login refused", "", "198.51.100.7", "refused")]


def test_who_is_behind_a_request(db: Session, recorded: Recorded, authenticator: Authenticator) -> None:
    async def asked(user: str, kind: str) -> None:
        await BaseHandler.prepare(request(db, user, kind))
        events.record("group made")

    async def several() -> None:
        # Each in a task of its own, as tornado does.
        await asyncio.gather(*(asked(*who) for who in (("ann", "user"), ("idle-culler", "service"), ("", "user"))))
        events.record("hub started")

    asyncio.run(several())
    assert [each["actor"] for each in recorded] == ["ann", "service:idle-culler", "", "hub"]


class Spawner(SimpleNamespace):
    """A user's server."""

    ended = ""
    __hash__ = object.__hash__  # type: ignore[assignment]


def servers(monkeypatch: pytest.MonkeyPatch, *, fails: bool = False) -> SimpleNamespace:
    user = SimpleNamespace(name="ann", spawners={"": Spawner(user_options={"profile": "base"})})

    async def spawn(user: Any, server_name: str = "", *_: Any, **__: Any) -> None:
        if fails:
            await User.stop(user, server_name)
            raise PageError(HTTPStatus.SERVICE_UNAVAILABLE, "The machine is full.")

    async def stop(user: Any, server_name: str = "") -> None:
        pass

    monkeypatch.setattr(hooks, "_spawn", spawn)
    monkeypatch.setattr(hooks, "_stop", stop)
    return user


def test_starts_and_stops(recorded: Recorded, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    user = servers(monkeypatch)

    async def by(who: str, what: Any, kind: str = "user") -> None:
        async def requested() -> None:
            await BaseHandler.prepare(request(user=who, kind=kind))
            await asyncio.create_task(what(user, ""))

        await asyncio.create_task(requested())

    async def day() -> None:
        await by("ann", User.spawn)
        await by("vera", User.stop)
        await by("ann", User.spawn)
        await by("idle-culler", User.stop, "service")
        with context.because("the user may not be in any more"):
            await User.stop(user, "")

    asyncio.run(day())
    assert recorded[0]["details"] == {"environment": "base"}
    assert {each["target"] for each in recorded} == {"ann/"}
    assert recorded[-1]["details"] == {"by": "the user may not be in any more"}
    assert [each[:2] for each in said(recorded)] == [
        ("server started", "ann"),
        ("server stopped", "vera"),
        ("server started", "ann"),
        ("server stopped", "service:idle-culler"),
        ("server stopped", "hub"),
    ]


def test_a_server_that_ends_by_itself_is_not_stopped_by_whoever_started_it(
    recorded: Recorded, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = servers(monkeypatch)

    async def user_stopped(handler: Any, user: Any, server_name: str) -> None:
        await User.stop(user, server_name)

    monkeypatch.setattr(hooks, "_user_stopped", user_stopped)

    async def requested() -> None:
        # JupyterHub's polls run in the context of the request that started the server.
        await BaseHandler.prepare(request(user="ann"))
        user.spawners[""].ended = "It used more memory than its limit (2 GiB)."
        await BaseHandler.user_stopped(SimpleNamespace(), user, "")
        user.spawners[""].ended = ""
        await BaseHandler.user_stopped(SimpleNamespace(), user, "")

    asyncio.run(requested())
    assert recorded[0]["details"] == {"why": "It used more memory than its limit (2 GiB)."}
    assert said(recorded) == [("server ended", "hub", "", "ok"), ("server stopped", "hub", "", "ok")]


def test_what_the_hub_stops_for_a_reason_did_not_end_by_itself(
    recorded: Recorded, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = servers(monkeypatch)
    user.spawners[""].pending, user.spawners[""].active, user.spawners[""]._log_name = None, True, "ann"
    user.spawners[""].lost_folders = AsyncMock(return_value="the folder Lab may not be used in it any more")
    user.stop = functools.partial(User.stop, user)
    app = SimpleNamespace(db=None, log=logging.getLogger("hub"), proxy=SimpleNamespace(delete_user=AsyncMock()))
    monkeypatch.setattr(revocation, "SharedFolderSpawner", Spawner)
    monkeypatch.setattr(revocation, "NOTICE_S", 0)
    monkeypatch.setattr(revocation, "users_of", lambda db, spawner: {"ann"})
    monkeypatch.setattr(Inbox, "messages", Mock(notify=Mock(return_value=[])), raising=False)
    asyncio.run(revocation.revoke(app, user))
    assert recorded[0]["details"] == {
        "by": "its user lost a shared folder",
        "why": "It was stopped, because the folder Lab may not be used in it any more. Your own files are kept.",
    }
    assert said(recorded) == [("server stopped", "hub", "", "ok")]


def test_a_start_that_fails_is_one_event(
    recorded: Recorded, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = servers(monkeypatch, fails=True)
    with pytest.raises(PageError):
        asyncio.run(User.spawn(user, ""))
    assert recorded[0]["details"] == {"why": "The machine is full."}
    assert said(recorded) == [("server start failed", "hub", "", "failed")]


class WhoAmI(SelfAPIHandler):
    """A server's question whose token this is."""

    def __init__(self, **about: Any) -> None:
        self.__dict__.update(about)

    current_user = None
    request = None
    log = None
    users = None
    _token_authenticated = True

    def get_token(self) -> Any:
        return self.__dict__["token"]

    def get_scope_filter(self, req_scope: str) -> Any:
        assert req_scope == "access:servers"
        return lambda spawner, kind: self.__dict__["may"]


def asks(visitor: str, *, client_of: str = "", address: str = "172.18.0.9", may: bool = True) -> None:
    """A server asks about a token of the visitor: one for the client of somebody's server, or one that they made."""
    of_ann, of_bob = (
        SimpleNamespace(user=SimpleNamespace(name=name), name="", server=SimpleNamespace(ip=f"172.18.0.{number}"))
        for name, number in (("ann", 9), ("workspace.lab", 10))
    )
    spawner = {"ann": of_ann, "workspace.lab": of_bob}.get(client_of)
    token = SimpleNamespace(api_id="a5", oauth_client=SimpleNamespace(spawner=spawner))
    of_ann.orm_spawner, of_bob.orm_spawner = of_ann, of_bob
    users = {each.user.name: SimpleNamespace(spawners={"": each}) for each in (of_ann, of_bob)}
    handler = request(user=visitor, handler=WhoAmI, token=token, users=users, may=may)
    handler.request.remote_ip = address
    asyncio.run(BaseHandler.prepare(handler))


def test_a_browser_or_program_that_comes_back_with_a_token_is_seen(
    recorded: Recorded, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks("ann", client_of="ann")
    asks("ann")
    asks("vera", client_of="ann", may=False)
    assert recorded == [], "a server refuses whom it was shared with before"
    asks("vera", client_of="ann")
    asks("vera", client_of="ann")
    assert [(each["event"], each["actor"], each["target"]) for each in recorded] == [("server opened", "vera", "ann/")]
    assert recorded[0]["details"] == {"again": True, "by": "token a5"}
    recorded.clear()
    # With a token that is not for this server: by the address that the server asks from.
    asks("eve")
    assert [(each["event"], each["actor"], each["target"]) for each in recorded] == [("server opened", "eve", "ann/")]
    recorded.clear()
    asks("eve", address="198.51.100.7")
    assert recorded == [], "a program that asks the Hub itself is in no server"
    # Members' visits to a workspace are recorded as they log in there, and again after a pause.
    monkeypatch.setattr(hooks, "_workspaces_seen", {})
    asks("ann", client_of="workspace.lab")
    assert recorded == []
    monkeypatch.setattr(visits, "AGAIN_S", 0)
    asks("ann", client_of="workspace.lab")
    assert [(each["event"], each["target"]) for each in recorded] == [("workspace opened", "workspace.lab/")]
