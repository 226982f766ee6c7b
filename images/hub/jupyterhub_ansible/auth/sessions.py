"""Logging out revokes a session, so that copies of its cookie become invalid, too.

Upstream's logout only makes the browser delete the Hub's cookie (BaseHandler.clear_login_cookie).  A copy stays valid
for JupyterHub.cookie_max_age_days, and can open new sessions at servers, with a session id of its own choice.  Here the
Hub stores revoked cookies, and revokes what they opened.  Other browsers of the user stay logged in.
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
    """A revoked cookie of the Hub, stored until it would have expired anyway."""

    __tablename__ = "jupyterhub_ansible_ended_sessions"

    digest: Mapped[str] = mapped_column(Unicode(64), primary_key=True)
    expires: Mapped[datetime] = mapped_column(DateTime(timezone=True))


def digest(cookie: str) -> str:
    """Return the digest of a cookie, stored in its place."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def end(db: Session, cookie: str, user_id: int, days: float) -> None:
    """Revoke the session of a cookie, and what it opened.

    Args:
        db: a session of the Hub's database.
        cookie: its value, as the browser sends it.
        user_id: its user.
        days: for which the Hub accepts cookies (JupyterHub.cookie_max_age_days).
    """
    now, ended = datetime.now(UTC), digest(cookie)
    # No synchronization with objects in memory, because SQLite returns times without a time zone.
    expired = delete(EndedSession).where(EndedSession.expires < now)
    db.execute(expired, execution_options={"synchronize_session": False})
    db.merge(EndedSession(digest=ended, expires=now + timedelta(days=days)))
    # One by one, as upstream does, so that a token's scopes are deleted with it.
    for token in db.query(orm.APIToken).filter_by(user_id=user_id, session_id=ended):
        db.delete(token)
    # A pending code could still be exchanged for a token.
    for code in db.query(orm.OAuthCode).filter_by(user_id=user_id, session_id=ended):
        db.delete(code)
    db.commit()


def is_ended(db: Session, cookie: str) -> bool:
    """Whether the session of a cookie was revoked."""
    return db.get(EndedSession, digest(cookie)) is not None


_get_secure_cookie = BaseHandler.get_secure_cookie
_clear_login_cookie = BaseHandler.clear_login_cookie
_add_credentials = OAuthHandler.add_credentials


def set_user_cookie(handler: Any, user: Any, server: Any) -> None:
    """Set a unique cookie for each login: upstream's are equal within a second (BaseHandler._set_user_cookie)."""
    value = f"{user.cookie_id}.{secrets.token_hex(8)}"
    handler._set_cookie(server.cookie_name, value, encrypted=True, path=server.base_url)


def get_secure_cookie(handler: Any, name: str, value: str | None = None, **options: Any) -> bytes | None:
    """Return a cookie's value; None if its session was revoked (RequestHandler.get_signed_cookie)."""
    found: bytes | None = _get_secure_cookie(handler, name, value, **options)
    if name != handler.hub.cookie_name or not found:
        return found
    if is_ended(handler.db, value or handler.get_cookie(name)):
        return None
    return found.partition(b".")[0]


def clear_login_cookie(handler: Any, name: str | None = None) -> None:
    """Revoke the session that logs out (BaseHandler.clear_login_cookie)."""
    # Only valid cookies, or anyone could fill the table.
    user = handler.get_current_user_cookie()
    _clear_login_cookie(handler, name)
    if user:
        end(handler.db, handler.get_cookie(handler.hub.cookie_name), user.id, handler.cookie_max_age_days)


def add_credentials(handler: Any, credentials: Any = None) -> Any:
    """Tie what a session opens to its cookie, not to the id of the browser's choice (OAuthHandler.add_credentials)."""
    found = _add_credentials(handler, credentials)
    if cookie := handler.get_cookie(handler.hub.cookie_name):
        found["session_id"] = digest(cookie)
    return found


def install(db: Session) -> None:
    """Patch all of the Hub's handlers."""
    _Base.metadata.create_all(db.get_bind())
    BaseHandler._set_user_cookie = set_user_cookie
    BaseHandler.get_secure_cookie = get_secure_cookie
    BaseHandler.clear_login_cookie = clear_login_cookie
    OAuthHandler.add_credentials = add_credentials
