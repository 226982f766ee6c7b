"""Who causes what happens just now: the request that is being answered, or a cause without a request.

JupyterHub has one database session for everything, so that a change itself does not show who made it.  Each request is
handled in a task of its own, whose context variables its further tasks (a server's start) inherit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

HUB = "hub"
"""The actor of what no request causes."""
HOST = "host"
"""The actor, and the source, of what is done by a command on the machine."""
ENDED = "it had ended"
"""Why the Hub cleans up after a server that nobody stopped."""


@dataclass(frozen=True)
class Cause:
    """Who does something, from which address, and by what: a token's id, or why the Hub does it."""

    actor: str = HUB
    address: str = ""
    by: str = ""
    handlers: frozenset[str] = frozenset()
    """Names of the handler's classes: JupyterHub's, and those of ours that extend it."""


_HUB = Cause()


@dataclass
class Login:
    """A login under way, and who it is, once that is known."""

    name: str = ""


_login: ContextVar[Login | None] = ContextVar("login", default=None)
_cause: ContextVar[Cause] = ContextVar("cause", default=_HUB)
_starting: ContextVar[bool] = ContextVar("starting", default=False)


def current() -> Cause:
    """Return the current cause."""
    return _cause.get()


def enter(handler: Any) -> None:
    """Note the request that is answered from now on, in this task; call it again once its user is known."""
    user: Any = getattr(handler, "_jupyterhub_user", None)
    actor = "" if user is None else f"service:{user.name}" if user.kind == "service" else str(user.name)
    token = handler.get_token() if user is not None and getattr(handler, "_token_authenticated", False) else None
    _cause.set(
        Cause(
            actor,
            str(handler.request.remote_ip or ""),
            f"token {token.api_id}" if token is not None and user.kind == "user" else "",
            frozenset(each.__name__ for each in type(handler).__mro__),
        )
    )


def act_as(name: str) -> None:
    """Note that the current request acts as this user, who has just logged in."""
    _cause.set(replace(_cause.get(), actor=name))


@contextmanager
def login() -> Iterator[Login]:
    """A login, whose user `note_login` tells: an authenticator may run in a task of its own."""
    before = _login.set(found := Login())
    try:
        yield found
    finally:
        _login.reset(before)


def note_login(name: str) -> None:
    """Note whose login is under way."""
    if found := _login.get():
        found.name = name


@contextmanager
def because(by: str, *, address: str = "") -> Iterator[None]:
    """What happens in here is not caused by a request, even if one started the task."""
    before, starting = _cause.set(Cause(by=by, address=address)), _starting.set(False)
    try:
        yield
    finally:
        _cause.reset(before)
        _starting.reset(starting)


@contextmanager
def starting_server() -> Iterator[None]:
    """What is stopped in here never ran."""
    before = _starting.set(True)
    try:
        yield
    finally:
        _starting.reset(before)


def is_cleaning_up() -> bool:
    """Return whether nobody stops what is stopped: neither a request, nor the Hub for a reason of its own."""
    cause = _cause.get()
    return cause.actor == HUB and cause.by in ("", ENDED)


def is_starting_server() -> bool:
    """Return whether a server is being started by this task."""
    return _starting.get()
