"""Requests of open pages that are answered when something changes, or after a while."""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import asyncio
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Any, ClassVar

from jupyterhub.handlers.base import BaseHandler

WAIT_S = 25
"""For so long; programs in between close connections that are idle for a minute."""
MOST = 6
"""Waiting requests of a user.  Each holds a connection of the Hub, and pages may not notice that theirs is lost."""
PAUSE_S = 10
"""A page that made room for another one asks again after so long (`Retry-After`), or the two would never rest."""


class WaitingHandler(BaseHandler):
    """A handler that waits for a change; a page that is closed leaves nothing behind."""

    _waiting: ClassVar[dict[str, list[asyncio.Future[Any]]]] = {}
    """What waits, by user, oldest first."""
    _change: asyncio.Future[Any] | None = None
    _is_closed = False

    def _record_activity(self, obj: Any, timestamp: Any = None) -> bool:
        # An open page is not a user at work.
        return False

    def _log(self) -> None:
        # Every open page asks again and again.
        if self.get_status() >= HTTPStatus.BAD_REQUEST and self.get_status() != HTTPStatus.TOO_MANY_REQUESTS:
            super()._log()

    async def wait(self, changed: Awaitable[Any]) -> bool:
        """Wait for a change, or until too many others wait; return whether it is still to be answered."""
        self._change = mine = asyncio.ensure_future(changed)
        user = self.current_user.name
        waiting = self._waiting.setdefault(user, [])
        waiting.append(mine)
        if len(waiting) > MOST:
            waiting[0].cancel()
        try:
            await asyncio.wait([mine])
        finally:
            mine.cancel()
            waiting.remove(mine)
            if not waiting:
                self._waiting.pop(user, None)
        if self._is_closed:
            return False
        if mine.cancelled():
            # With an error, pages that were opened before this release wait as well.
            self.set_status(HTTPStatus.TOO_MANY_REQUESTS)
            self.set_header("Retry-After", PAUSE_S)
            self.finish({})
            return False
        mine.result()
        return True

    def on_connection_close(self) -> None:
        """Stop waiting: the page is closed."""
        self._is_closed = True
        if self._change:
            self._change.cancel()
