"""Starts that wait in line for memory or for an address."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

# Seconds between checks: nothing signals that a server ended.
_CHECK_S = 1.0


class Queue:
    """A first-come, first-served queue: a small server does not overtake a large one."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Event] = deque()
        # Whether the last check for the first in line found no room.
        self._full = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(
        self,
        has_room: Callable[[], Awaitable[bool]],
        take: Callable[[], None],
        report: Callable[[int, int], None],
        seconds: float,
    ) -> None:
        """Wait for a turn and for room, then take it.

        Args:
            has_room: checks for room.
            take: takes the room; called immediately afterwards, before the next check of any other.
            report: called with the position in the queue, from 1, and its length.
            seconds: time limit.

        Raises:
            TimeoutError: there was no room in time.
        """
        me = asyncio.Event()
        self._waiting.append(me)
        try:
            async with asyncio.timeout(seconds):
                while not await self._is_my_turn(me, has_room):
                    if self._full:
                        report(self._waiting.index(me) + 1, len(self._waiting))
                    me.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(me.wait(), _CHECK_S)
            take()
        finally:
            self._waiting.remove(me)
            if self._waiting:
                self._waiting[0].set()

    async def _is_my_turn(self, me: asyncio.Event, has_room: Callable[[], Awaitable[bool]]) -> bool:
        if self._waiting[0] is not me:
            return False
        self._full = not await has_room()
        return not self._full
