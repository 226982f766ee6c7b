"""Refused logins in the trail: the first ones each, then how many more, so that no stranger fills it.

An address's refusals leave others' alone, as far as all of them together are not too many.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm
from sqlalchemy.orm import Session

from ..auth.throttle import network_of
from . import events

WINDOW_S = 60
PER_ADDRESS, TOTAL = 10, 100
"""Refusals that are recorded in so many seconds: from one address, and from all."""
LONGEST_S = 3600
"""Attempts that are slowed down are one line until none came for WINDOW_S; then, or after so long, how many more."""
SETTLE_S = 10
"""How often the Hub looks which windows are over."""


@dataclass
class _Window:
    began: float
    ends: float
    recorded: int = 0
    more: int = 0


class Refusals:
    """The refusals of the last minute; nothing that a client sends makes it grow without end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, bool], _Window] = {}
        """By network, and whether the attempts were slowed down (auth.throttle)."""
        self._all = _Window(-WINDOW_S, 0)

    def record(self, client: str, *, throttled: bool = False, **about: Any) -> None:
        """Record a refused login, or count it.

        Args:
            client: its address.
            throttled: whether it was not even tried, since too many had failed.
            about: the arguments of `events.event`.
        """
        self.settle()
        now, key = self._clock(), (network_of(client), throttled)
        window = self._windows.get(key)
        if window is None and self._all.recorded < TOTAL:
            window = self._windows[key] = _Window(now, now + WINDOW_S)
        if window is None:
            self._all.more += 1
            return
        if throttled:
            window.ends = min(now + WINDOW_S, window.began + LONGEST_S)
        if window.recorded >= (1 if throttled else PER_ADDRESS):
            window.more += 1
        elif self._all.recorded >= TOTAL:
            self._all.more += 1
        else:
            window.recorded += 1
            self._all.recorded += 1
            events.record("login refused", **about)

    def settle(self, *, everything: bool = False) -> None:
        """Record how many more there were, of windows that are over."""
        now = self._clock()
        for key, window in list(self._windows.items()):
            if window.ends <= now or everything:
                del self._windows[key]
                self._summarize(window, key[0])
        if self._all.ends <= now or everything:
            self._summarize(self._all, "")
            self._all = _Window(now, now + WINDOW_S)

    def _summarize(self, window: _Window, address: str) -> None:
        if window.more:
            seconds = round(self._clock() - window.began)
            why = f"{window.more} more in {seconds} s" + ("" if address else ", from many addresses")
            events.record("login refused", actor="", address=address, result="refused", more=window.more, why=why)


SHARED = Refusals()
"""The instance of this Hub."""


def known(db: Session, name: Any) -> str:
    """Return a name that was typed at a login, if a user has it: people type their passwords there, too."""
    return name if isinstance(name, str) and orm.User.find(db, name.strip().lower()) else ""
