"""Background tasks that go on after an error."""

import asyncio
from collections.abc import Awaitable, Callable
from logging import Logger


async def repeat(step: Callable[[], Awaitable[object]], pause_s: float, log: Logger, failed: str) -> None:
    """Do something again and again, with pauses; an error is logged with these words, and does not end it."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("%s; retrying in %d s", failed, pause_s)
        await asyncio.sleep(pause_s)
