"""Logging out ends a session for copies of its cookies, too.

Upstream's logout has the browser forget the Hub's cookie (BaseHandler.clear_login_cookie).  A copy stays good for
JupyterHub.cookie_max_age_days, and opens new sessions of servers, under a session id of its own choice.  Here the Hub
remembers which cookies were ended, and what a cookie opened ends with it.  Other browsers of the user stay logged in.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.auth import OAuthHandler
from jupyterhub.handlers.base import BaseHandler
from sqlalchemy import DateTime, Unicode, delete
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class _Base(DeclarativeBase):
    pass


class EndedSession(_Base):
    """A cookie of the Hub's that counts no more, until it would have expired anyway."""

    __tablename__ = "jupyterhub_ansible_ended_sessions"

    digest: Mapped[str] = mapped_column(Unicode(64), primary_key=True)
    expires: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def digest(cookie: str) -> str:
    """Return what the database knows a cookie by; the cookie does not follow from it."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def end(db: Session, cookie: str, user_id: int, days: float) -> None:
    """End the session of a cookie, and what it opened.

    Args:
        db: a session of the Hub's database.
        cookie: its value, as the browser sends it.
        user_id: of the user whose it is.
        days: for which the Hub takes cookies (JupyterHub.cookie_max_age_days).
    """
    now, ended = datetime.now(UTC), digest(cookie)
    db.execute(delete(EndedSession).where(EndedSession.expires < now))
    db.merge(EndedSession(digest=ended, expires=now + timedelta(days=days)))
    # One by one, as upstream does: a token takes its scopes along.
    for token in db.query(orm.APIToken).filter_by(user_id=user_id, session_id=ended):
        db.delete(token)
    db.commit()


def is_ended(db: Session, cookie: str) -> bool:
    """Whether the session of a cookie was ended."""
    return db.get(EndedSession, digest(cookie)) is not None


def resume(db: Session, cookie: str) -> None:
    """Take back the end of a session: within one second, a new login's cookie is equal to the last one's."""
    db.execute(delete(EndedSession).where(EndedSession.digest == digest(cookie)))
    db.commit()


_user_for_cookie = BaseHandler._user_for_cookie
_clear_login_cookie = BaseHandler.clear_login_cookie
_set_hub_cookie = BaseHandler.set_hub_cookie
_add_credentials = OAuthHandler.add_credentials


def user_for_cookie(handler: Any, cookie_name: str, cookie_value: str | None = None) -> Any:
    """Return the user of a cookie; nobody if its session was ended (BaseHandler._user_for_cookie)."""
    cookie = cookie_value or handler.get_cookie(cookie_name)
    if cookie and is_ended(handler.db, cookie):
        handler.clear_cookie(cookie_name, path=handler.hub.base_url)
        return None
    return _user_for_cookie(handler, cookie_name, cookie_value)


def clear_login_cookie(handler: Any, name: str | None = None) -> None:
    """End the session that is logged out of (BaseHandler.clear_login_cookie)."""
    # Only a good cookie: else anybody could fill the table.
    if user := handler.get_current_user_cookie():
        end(handler.db, handler.get_cookie(handler.hub.cookie_name), user.id, handler.cookie_max_age_days)
        handler.log.debug("Ended a session of %s", user.name)
    _clear_login_cookie(handler, name)


def set_hub_cookie(handler: Any, user: Any) -> None:
    """Log in (BaseHandler.set_hub_cookie)."""
    _set_hub_cookie(handler, user)
    resume(handler.db, handler._new_cookie[handler.hub.cookie_name].value)


def add_credentials(handler: Any, credentials: Any = None) -> Any:
    """Tie what a session opens to its cookie; the browser may choose its id (OAuthHandler.add_credentials)."""
    found = _add_credentials(handler, credentials)
    if cookie := handler.get_cookie(handler.hub.cookie_name):
        found["session_id"] = digest(cookie)
    return found


def install(db: Session) -> None:
    """Have all of the Hub's pages do so."""
    _Base.metadata.create_all(db.get_bind())
    BaseHandler._user_for_cookie = user_for_cookie
    BaseHandler.clear_login_cookie = clear_login_cookie
    BaseHandler.set_hub_cookie = set_hub_cookie
    OAuthHandler.add_credentials = add_credentials
