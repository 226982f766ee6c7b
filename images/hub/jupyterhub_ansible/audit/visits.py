"""Who was in whose server last, for the pages of the servers' owners."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import events

OPENED = "server opened"
AGAIN_S = 900
"""A visit of somebody who was not seen for so long is recorded again, though the browser did not log in again."""
SHOWN = timedelta(days=7)
_PER_SERVER = 5


@dataclass(frozen=True)
class Visit:
    """The last time that somebody was seen in another's server."""

    visitor: str
    seen: datetime


class Visits:
    """The last visits to each server."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, datetime]] = {}
        self._changes: dict[str, int] = {}
        self._changed = asyncio.Event()

    def take(self, event: Mapping[str, Any]) -> None:
        """Take an event of the trail; only visits matter."""
        if event["event"] != OPENED:
            return
        server, when = str(event["target"]), datetime.fromisoformat(event["time"])
        visitors = self._seen.setdefault(server, {})
        visitors[str(event["actor"])] = when
        for name in sorted(visitors, key=lambda name: visitors[name])[:-_PER_SERVER]:
            del visitors[name]
        owner = server.partition("/")[0]
        self._changes[owner] = self._changes.get(owner, 0) + 1
        # All pages look, since visits are rare: nothing of a single page stays behind.
        self._changed.set()
        self._changed = asyncio.Event()

    def load(self, old: Iterable[Mapping[str, Any]]) -> None:
        """Take over what the trail has, oldest first."""
        for event in old:
            self.take(event)

    def is_new(self, server: str, visitor: str, now: datetime) -> bool:
        """Note that a visitor is still there; return whether they were not seen for long."""
        visitors = self._seen.get(server, {})
        last = visitors.get(visitor)
        if last is None or now - last >= timedelta(seconds=AGAIN_S):
            return True
        visitors[visitor] = now
        return False

    def of(self, server: str, now: datetime) -> list[Visit]:
        """Return the last visits to a server, newest first."""
        found = [Visit(name, seen) for name, seen in self._seen.get(server, {}).items() if now - seen < SHOWN]
        return sorted(found, key=lambda visit: visit.seen, reverse=True)

    def changes(self, owner: str) -> str:
        """Return a value that changes with each visit to one of the owner's servers."""
        return f"{id(self):x}-{self._changes.get(owner, 0)}"

    async def changed(self, owner: str, known: str, seconds: float) -> str:
        """Return `changes` once it is not the known one any more, or after some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while known == self.changes(owner):
                    await self._changed.wait()
        return self.changes(owner)


SHARED = Visits()
"""The instance of this Hub."""


def opened(visitor: str, owner: str, server: str, **about: Any) -> None:
    """Record that somebody opened another's server."""
    events.record(OPENED, actor=visitor, target=f"{owner}/{server}", **about)
