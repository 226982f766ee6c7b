"""The audit trail's part in the Hub: what is watched, and where events go."""

import asyncio
import logging
from typing import Any

from sqlalchemy.orm import Session

from . import chain, context, database, events, hooks, outbox, refusals, trail, visits

FLUSH_S = 3
"""How long a Hub that stops waits for the recorder; what it does not confirm is delivered by the next Hub."""


class Audit:
    """Watches the Hub, and delivers its events to the recorder."""

    def __init__(self, log: logging.Logger, session: Session) -> None:
        self._outbox = outbox.Outbox(chain.SOCKET, outbox.SPOOL, log)
        self._log, self._session = log, session
        self._changes = database.Changes(session, log)
        events.sinks[:] = [self._outbox.put, visits.SHARED.take]
        self._outbox.start()
        events.record("hub started")

    def roles_are_loaded(self, authenticator: Any) -> None:
        """Watch logins, starts and stops of servers and visits as well, now that all else has its hooks."""
        self._changes.roles_are_loaded(self._session)
        hooks.install(authenticator)

    async def load_visits(self) -> None:
        """Take over visits that earlier Hubs recorded."""
        try:
            visits.SHARED.load(await asyncio.to_thread(trail.recent, chain.FOLDER))
        except OSError as error:
            self._log.warning("The audit trail cannot be read: %s", error)

    async def settle(self) -> None:
        """Record how many more logins were refused; called again and again."""
        refusals.SHARED.settle()

    def stop(self) -> None:
        """End, once the recorder has everything or does not answer."""
        refusals.SHARED.settle(everything=True)
        events.record("hub stopped", actor=context.HUB, address="")
        events.sinks.clear()
        if not self._outbox.close(FLUSH_S):
            self._log.warning("The audit trail's recorder does not answer: the next Hub delivers what is left")
