"""Logging out ends a session for copies of its cookies, too.

Upstream's logout has the browser forget the Hub's cookie (BaseHandler.clear_login_cookie).  A copy stays good for
JupyterHub.cookie_max_age_days, and opens new sessions of servers, under a session id of its own choice.  Here the Hub
remembers which cookies were ended, and what a cookie opened ends with it.  Other browsers of the user stay logged in.
"""

import hashlib
import secrets
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
    # Not among those in memory as well, whose times SQLite gave without a zone.
    expired = delete(EndedSession).where(EndedSession.expires < now)
    db.execute(expired, execution_options={"synchronize_session": False})
    db.merge(EndedSession(digest=ended, expires=now + timedelta(days=days)))
    # One by one, as upstream does: a token takes its scopes along.
    for token in db.query(orm.APIToken).filter_by(user_id=user_id, session_id=ended):
        db.delete(token)
    # A code that was not exchanged for a token yet would become one.
    for code in db.query(orm.OAuthCode).filter_by(user_id=user_id, session_id=ended):
        db.delete(code)
    db.commit()


def is_ended(db: Session, cookie: str) -> bool:
    """Whether the session of a cookie was ended."""
    return db.get(EndedSession, digest(cookie)) is not None


_get_secure_cookie = BaseHandler.get_secure_cookie
_clear_login_cookie = BaseHandler.clear_login_cookie
_add_credentials = OAuthHandler.add_credentials


def set_user_cookie(handler: Any, user: Any, server: Any) -> None:
    """Give each login a cookie of its own: upstream's are equal within one second (BaseHandler._set_user_cookie)."""
    value = f"{user.cookie_id}.{secrets.token_hex(8)}"
    handler._set_cookie(server.cookie_name, value, encrypted=True, path=server.base_url)


def get_secure_cookie(handler: Any, name: str, value: str | None = None, **options: Any) -> bytes | None:
    """Return what a cookie says; nothing if its session was ended (RequestHandler.get_signed_cookie)."""
    found: bytes | None = _get_secure_cookie(handler, name, value, **options)
    if name != handler.hub.cookie_name or not found:
        return found
    if is_ended(handler.db, value or handler.get_cookie(name)):
        return None
    return found.partition(b".")[0]


def clear_login_cookie(handler: Any, name: str | None = None) -> None:
    """End the session that is logged out of (BaseHandler.clear_login_cookie)."""
    # Only a good cookie: else anybody could fill the table.
    user = handler.get_current_user_cookie()
    _clear_login_cookie(handler, name)
    if user:
        end(handler.db, handler.get_cookie(handler.hub.cookie_name), user.id, handler.cookie_max_age_days)


def add_credentials(handler: Any, credentials: Any = None) -> Any:
    """Tie what a session opens to its cookie; the browser may choose its id (OAuthHandler.add_credentials)."""
    found = _add_credentials(handler, credentials)
    if cookie := handler.get_cookie(handler.hub.cookie_name):
        found["session_id"] = digest(cookie)
    return found


def install(db: Session) -> None:
    """Have all of the Hub's pages do so."""
    _Base.metadata.create_all(db.get_bind())
    BaseHandler._set_user_cookie = set_user_cookie
    BaseHandler.get_secure_cookie = get_secure_cookie
    BaseHandler.clear_login_cookie = clear_login_cookie
    OAuthHandler.add_credentials = add_credentials
