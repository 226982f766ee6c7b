"""Starts that wait in line: for memory, and for an address."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

# Seconds; in between, a server that ended makes room unnoticed.
_LOOK_AGAIN = 1.0


class Queue:
    """Starts that wait for room, first come, first served: a small one does not overtake a large one."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Event] = deque()
        # Whether there was no room when the first one asked last.
        self._full = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(
        self,
        has_room: Callable[[], Awaitable[bool]],
        take: Callable[[], None],
        tell: Callable[[int, int], None],
        seconds: float,
    ) -> None:
        """Wait until it is this one's turn and there is room, then take it.

        Args:
            has_room: whether there is.
            take: takes the room; called at once after that, before anybody else is asked.
            tell: gets the place in the queue, from 1, and the queue's length.
            seconds: to wait at most.

        Raises:
            TimeoutError: there was none in time.
        """
        me = asyncio.Event()
        self._waiting.append(me)
        try:
            async with asyncio.timeout(seconds):
                while not await self._is_my_turn(me, has_room):
                    if self._full:
                        tell(self._waiting.index(me) + 1, len(self._waiting))
                    me.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(me.wait(), _LOOK_AGAIN)
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
