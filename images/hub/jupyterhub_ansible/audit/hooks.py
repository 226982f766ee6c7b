"""Events from what JupyterHub does, where its database does not show it: logins, servers, visits.

Upstream's methods are wrapped, once, at the Hub's start; what they do and return stays the same.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from jupyterhub.apihandlers.users import SelfAPIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LogoutHandler
from jupyterhub.user import User
from tornado.web import HTTPError

from ..auth.throttle import TooManyAttemptsError
from ..workspaces.accounts import is_account
from . import context, events, refusals, visits

_SERVER_ERROR = 500

_prepare = BaseHandler.prepare
_authenticate = BaseHandler.authenticate
_login_user = BaseHandler.login_user
_user_stopped = BaseHandler.user_stopped
_logout_cleanup = LogoutHandler._backend_logout_cleanup
_spawn = User.spawn
_stop = User.stop

_workspaces_seen: dict[tuple[str, str], datetime] = {}


async def prepare(handler: Any) -> None:
    """Note the request and its user (BaseHandler.prepare)."""
    context.enter(handler)
    await _prepare(handler)
    context.enter(handler)
    if isinstance(handler, SelfAPIHandler) and getattr(handler, "_token_authenticated", False):
        with _harmless(handler.log):
            note_visit(handler)


@contextmanager
def _harmless(log: logging.Logger) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("Something could not be described for the audit trail")


def note_visit(handler: Any) -> None:
    """A server asks whose token it got: that user is at this server, maybe with a token from before."""
    token, visitor = handler.get_token(), handler.current_user
    if token is None or visitor is None or visitor.kind != "user":
        return
    spawner = token.oauth_client.spawner if token.oauth_client else None
    if spawner is None:
        # A token that the user made: the server shows by the address that it asks from.
        spawner = _server_at(handler)
    if spawner is None or spawner.user.name == visitor.name:
        return
    if not handler.get_scope_filter("access:servers")(spawner, kind="server"):
        # The server refuses what this token may not do any more.
        return
    owner, now = spawner.user.name, datetime.now(UTC)
    about = {"address": "", "by": f"token {token.api_id}"}
    if is_account(owner):
        key = (owner, visitor.name)
        last = _workspaces_seen.get(key)
        _workspaces_seen[key] = now
        if last is None:
            # The login at the workspace is recorded by itself; this Hub may be newer than it.
            return
        if (now - last).total_seconds() >= visits.AGAIN_S:
            events.record("workspace opened", actor=visitor.name, target=f"{owner}/{spawner.name}", again=True, **about)
    elif visits.SHARED.is_new(f"{owner}/{spawner.name}", visitor.name, now):
        visits.opened(visitor.name, owner, spawner.name, again=True, **about)


def _server_at(handler: Any) -> Any:
    """Return the server that a request comes from, if it comes from one."""
    for user in list(handler.users.values()):
        for spawner in user.spawners.values():
            if spawner.server and spawner.server.ip and spawner.server.ip == handler.request.remote_ip:
                return spawner.orm_spawner
    return None


# --- logins


def _refused(handler: Any, name: str, error: HTTPError | None) -> None:
    is_down = error is not None and error.status_code >= _SERVER_ERROR
    why = (
        getattr(error, "why", "") or getattr(error, "jupyterhub_message", "") or getattr(error, "log_message", "") or ""
    )
    handler._audit_refused = True
    result = "failed" if is_down else "refused"
    refusals.SHARED.record(str(handler.request.remote_ip or ""), actor=name, result=result, why=why)


async def authenticate(handler: Any, data: Any) -> Any:
    """Record a login that is refused (BaseHandler.authenticate)."""
    typed = refusals.known(handler.db, data.get("username")) if isinstance(data, dict) else ""
    with context.login() as login:
        try:
            found = await _authenticate(handler, data)
        except HTTPError as error:
            _refused(handler, login.name or typed, error)
            raise
    if found:
        # What else this request does, it does as this user: it may be one for a token, with a password in it.
        context.act_as(found if isinstance(found, str) else found["name"])
    else:
        _refused(handler, login.name or typed, None)
    return found


async def login_user(handler: Any, data: Any = None) -> Any:
    """Record a login (BaseHandler.login_user)."""
    try:
        user = await _login_user(handler, data)
    except HTTPError as error:
        # One that was slowed down is recorded already (auth.login_limits).
        if not getattr(handler, "_audit_refused", False) and not isinstance(error, TooManyAttemptsError):
            _refused(handler, "", error)
        raise
    if user:
        events.record("login", actor=user.name, administrator=bool(user.admin) or None)
    return user


def logout_cleanup(handler: Any, name: str) -> None:
    """Record a logout (LogoutHandler._backend_logout_cleanup)."""
    _logout_cleanup(handler, name)
    events.record("logout", actor=name)


# --- servers


async def spawn(user: Any, server_name: str = "", *arguments: Any, **options: Any) -> Any:
    """Record a start (User.spawn)."""
    target = f"{user.name}/{server_name}"
    try:
        with context.starting_server():
            done = await _spawn(user, server_name, *arguments, **options)
    except Exception as error:
        why = getattr(error, "jupyterhub_message", "") or getattr(error, "reason", "") or type(error).__name__
        events.record("server start failed", target=target, result="failed", why=why)
        raise
    profile = (getattr(user.spawners[server_name], "user_options", None) or {}).get("profile")
    events.record("server started", target=target, environment=profile)
    return done


async def stop(user: Any, server_name: str = "") -> Any:
    """Record a stop, or that a server ended by itself (User.stop)."""
    # Also what the Hub itself stops for a reason may tell it to its user (auth.stopping).
    why, failed = getattr(user.spawners[server_name], "ended", ""), True
    ended = bool(why) and context.is_cleaning_up()
    try:
        done = await _stop(user, server_name)
        failed = False
    finally:
        # What is removed because its start failed has an event of its own.
        if not context.is_starting_server():
            events.record(
                "server ended" if ended else "server stopped",
                target=f"{user.name}/{server_name}",
                result="failed" if failed else "ok",
                why=why,
                **({"actor": context.HUB} if ended else {}),
            )
    return done


async def user_stopped(handler: Any, user: Any, server_name: str) -> None:
    """Clean up after a server that ended (BaseHandler.user_stopped), in the task of the request that started it."""
    with context.because(context.ENDED):
        await _user_stopped(handler, user, server_name)


def install(authenticator: Any) -> None:
    """Wrap upstream's methods, and those of workspaces.members, which must be there already."""
    refresh_auth, check_blocked_users = BaseHandler.refresh_auth, authenticator.check_blocked_users

    async def refreshed(handler: Any, user: Any, force: bool = False) -> Any:
        """Check a user's membership (BaseHandler.refresh_auth): what it changes, nobody's request asked for."""
        with context.because("a check of membership"):
            return await refresh_auth(handler, user, force)

    def checked(username: str, authentication: Any = None) -> Any:
        """Note who logs in: the authenticator has identified them, but may refuse them (Authenticator)."""
        context.note_login(username)
        return check_blocked_users(username, authentication)

    BaseHandler.prepare = prepare
    BaseHandler.authenticate = authenticate
    BaseHandler.login_user = login_user
    BaseHandler.refresh_auth = refreshed
    BaseHandler.user_stopped = user_stopped
    LogoutHandler._backend_logout_cleanup = logout_cleanup
    User.spawn = spawn
    User.stop = stop
    authenticator.check_blocked_users = checked
