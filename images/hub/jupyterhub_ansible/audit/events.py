"""Events of the trail: what is recorded, in which words, and that no secret is."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from .. import clean
from . import context

KINDS = (
    "login",
    "login refused",
    "logout",
    "server started",
    "server start failed",
    "server stopped",
    "server ended",
    "server opened",
    "workspace opened",
    "share made",
    "share changed",
    "share accepted",
    "share revoked",
    "share ended",
    "share link made",
    "share link revoked",
    "share link ended",
    "token made",
    "token revoked",
    "user created",
    "user deleted",
    "user renamed",
    "admin given",
    "admin taken",
    "group joined",
    "group left",
    "group made",
    "group deleted",
    "role given",
    "role taken",
    "emergency link made",
    "emergency link used",
    "hub started",
    "hub stopped",
    "gap",
)
"""All events, in the order of the page's menu."""
_LONGEST = 300
_SECRET = re.compile(
    r"""((?:code|token|key|secret|password|state|_xsrf|cookie)\w*["']?\s*[=:]\s*["']?)[^\s"'&,;]{6,}""", re.IGNORECASE
)

sinks: list[Callable[[dict[str, Any]], None]] = []
"""Functions that get each event: none but in the Hub itself."""


def now() -> str:
    """Return the time in UTC, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cleaned(value: Any) -> Any:
    """Return a value without control characters, of limited length, and without what looks like a secret."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [cleaned(each) for each in sorted(map(str, value))[:20]]
    return _SECRET.sub(r"\1***", clean.one_line(str(value), _LONGEST))


def event(
    kind: str,
    *,
    actor: str | None = None,
    target: str = "",
    address: str | None = None,
    result: str = "ok",
    **details: Any,
) -> dict[str, Any]:
    """Return an event; who caused it, and from where, are those of the current request unless given.

    Args:
        kind: one of KINDS.
        actor: a user, `service:<name>`, `hub`, or "" if nobody knows.
        target: a user, or a server as `<owner>/<name>`; the default one has no name.
        address: the client's.
        result: `ok`, `refused` or `failed`.
        details: whatever else; None and "" are left out.
    """
    cause = context.current()
    found = {"by": cause.by if actor is None else "", **details}
    return {
        "id": uuid4().hex[:16],
        "time": now(),
        "event": kind,
        "actor": cleaned(cause.actor if actor is None else actor),
        "target": cleaned(target),
        "address": cleaned(cause.address if address is None else address),
        "result": result,
        "details": {name: cleaned(value) for name, value in found.items() if value not in (None, "")},
    }


def record(kind: str, **about: Any) -> None:
    """Record an event that has happened; the arguments are those of `event`."""
    deliver(event(kind, **about))


def deliver(made: dict[str, Any]) -> None:
    """Hand an event over to be written."""
    for sink in sinks:
        sink(made)
