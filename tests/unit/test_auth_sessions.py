"""Logging out revokes a session, copies of its cookie and what it opened; other sessions continue."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from jupyterhub import orm, roles
from jupyterhub.apihandlers.auth import OAuthHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub_ansible.auth import sessions
from sqlalchemy.orm import Session
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application

HUB = SimpleNamespace(cookie_name="jupyterhub-hub-login", base_url="/hub/")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Session]:
    """A Hub's database with our table; JupyterHub's handlers are restored afterwards."""
    made: Session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_set_user_cookie", "get_secure_cookie", "clear_login_cookie"):
            patch.setattr(BaseHandler, name, getattr(BaseHandler, name))
        patch.setattr(OAuthHandler, "add_credentials", OAuthHandler.add_credentials)
        sessions.install(made)
        yield made


@pytest.fixture
def alice(db: Session) -> orm.User:
    user = orm.User(name="alice")
    db.add_all([user, orm.OAuthClient(identifier="jupyterhub")])
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    roles.assign_default_roles(db, entity=user)
    db.commit()
    return user


class Handler(OAuthHandler, BaseHandler):
    """A request with these cookies."""

    log = logging.getLogger("handler")

    def __init__(self, db: Session, **cookies: str) -> None:
        sent = "; ".join(f"{name.replace('_', '-')}={value}" for name, value in cookies.items())
        request = HTTPServerRequest(
            start_line=RequestStartLine("GET", "/hub/home", "HTTP/1.1"),
            headers=HTTPHeaders({"Host": "hub.test", "Cookie": sent}),
            connection=Mock(),
        )
        settings: dict[str, Any] = {"db": db, "hub": HUB, "cookie_max_age_days": 14, "base_url": "/"}
        super().__init__(Application(cookie_secret="c" * 32, **settings), request)

    def _user_from_orm(self, user: Any) -> Any:
        return user

    def _record_activity(self, *_: Any) -> bool:
        return False

    def new_cookie(self) -> str:
        return str(self._new_cookie[HUB.cookie_name].value)


def log_in(db: Session, user: orm.User) -> str:
    handler = Handler(db)
    handler.set_hub_cookie(user)
    return handler.new_cookie()


def who(db: Session, cookie: str) -> str | None:
    user = Handler(db, jupyterhub_hub_login=cookie).get_current_user_cookie()
    return str(user.name) if user else None


def opened(db: Session, user: orm.User, cookie: str, session_id: str) -> orm.APIToken:
    """Return the token that a server gets for a session."""
    handler = Handler(db, jupyterhub_hub_login=cookie, jupyterhub_session_id=session_id)
    handler._jupyterhub_user = user
    found = handler.add_credentials()
    token = user.new_api_token(session_id=found["session_id"])
    return orm.APIToken.find(db, token)


def test_copied_cookie_is_revoked_with_the_session(db: Session, alice: orm.User) -> None:
    cookie = log_in(db, alice)
    assert who(db, cookie) == "alice"
    Handler(db, jupyterhub_hub_login=cookie, jupyterhub_session_id="s").clear_login_cookie()
    assert who(db, cookie) is None


def test_revoked_even_without_the_session_id(db: Session, alice: orm.User) -> None:
    cookie = log_in(db, alice)
    Handler(db, jupyterhub_hub_login=cookie).clear_login_cookie()
    assert who(db, cookie) is None


def test_another_browser_stays(db: Session, alice: orm.User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that logged in within the same second."""
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    one, other = log_in(db, alice), log_in(db, alice)
    kept = opened(db, alice, other, "t")
    Handler(db, jupyterhub_hub_login=one, jupyterhub_session_id="s").clear_login_cookie()
    assert (who(db, one), who(db, other)) == (None, "alice")
    assert db.get(orm.APIToken, kept.id)


def test_session_opened_by_a_copy_with_another_id_is_revoked(db: Session, alice: orm.User) -> None:
    cookie = log_in(db, alice)
    tokens = [opened(db, alice, cookie, session_id).id for session_id in ("the-browser-s", "a-thief-s")]
    Handler(db, jupyterhub_hub_login=cookie, jupyterhub_session_id="the-browser-s").clear_login_cookie()
    assert [db.get(orm.APIToken, token) for token in tokens] == [None, None]


def test_pending_code_is_revoked(db: Session, alice: orm.User) -> None:
    """For five minutes, it could be exchanged for a token of the ended session."""
    cookie, other = log_in(db, alice), log_in(db, alice)
    for code, session in (("gone", cookie), ("kept", other)):
        expires = int(orm.OAuthCode.now() + 300)
        db.add(orm.OAuthCode(code=code, expires_at=expires, session_id=sessions.digest(session), user=alice))
    Handler(db, jupyterhub_hub_login=cookie).clear_login_cookie()
    assert [each.code for each in db.query(orm.OAuthCode)] == ["kept"]


def test_sessions_that_ended_in_the_same_hub(db: Session, alice: orm.User) -> None:
    """SQLite returns their times without a time zone."""
    sessions.end(db, "one", alice.id, days=14)
    [kept] = db.query(sessions.EndedSession).all()
    assert kept.expires
    sessions.end(db, "two", alice.id, days=14)
    assert sessions.is_ended(db, "one")


def test_an_api_token_stays(db: Session, alice: orm.User) -> None:
    cookie, token = log_in(db, alice), alice.new_api_token()
    Handler(db, jupyterhub_hub_login=cookie).clear_login_cookie()
    assert orm.APIToken.find(db, token)


def test_older_cookie_stays_valid(db: Session, alice: orm.User) -> None:
    """An upgrade to this version logs nobody out."""
    handler = Handler(db)
    handler._set_cookie(HUB.cookie_name, alice.cookie_id, encrypted=True, path="/hub/")
    assert who(db, handler.new_cookie()) == "alice"


def test_invalid_cookies_do_not_fill_the_table(db: Session, alice: orm.User) -> None:
    """Invalid cookies are not stored; expired ones are removed."""
    Handler(db, jupyterhub_hub_login="made-up").clear_login_cookie()
    assert db.query(sessions.EndedSession).count() == 0
    sessions.end(db, "old", alice.id, days=-1)
    sessions.end(db, "new", alice.id, days=14)
    assert [each.digest for each in db.query(sessions.EndedSession)] == [sessions.digest("new")]
    assert sessions.is_ended(db, "new")
    [left] = db.query(sessions.EndedSession)
    assert left.expires.replace(tzinfo=UTC) - datetime.now(UTC) > timedelta(days=13)
