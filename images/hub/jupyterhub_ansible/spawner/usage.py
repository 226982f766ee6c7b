"""What users' servers use now, for pages: the engine is asked rarely, and nobody waits for it for long."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..engine import calls
from ..engine.errors import DOCKER_ERRORS
from .memory_admission import in_use

FRESH_S = 5
"""An answer is given again for so many seconds."""
BASIS_S = 300
"""An older sample says nothing about the processors' use now."""
PAUSE_S = 1.0
"""Between two samples, if there is no earlier one."""
PATIENCE_S = 3.0
"""A page comes without the numbers if they take longer."""

Ask = Callable[[str], Mapping[str, Any]]
"""Returns the engine's statistics of a container; blocks."""


@dataclass(frozen=True)
class Usage:
    """Memory in bytes, as `docker stats` counts it, and its limit; processors in use, None if not known yet."""

    memory: int
    memory_limit: int
    cpus: float | None


@dataclass(frozen=True)
class _Sample:
    taken: datetime
    """By the engine's clock."""
    cpu_ns: int
    """Processor time since the container's start."""


@dataclass(frozen=True)
class _Known:
    at: float
    sample: _Sample
    usage: Usage


def _cpus(before: _Sample | None, now: _Sample) -> float | None:
    if before is None or not timedelta() < now.taken - before.taken < timedelta(seconds=BASIS_S):
        return None
    return max(0.0, (now.cpu_ns - before.cpu_ns) / 1e9 / (now.taken - before.taken).total_seconds())


class Meter:
    """Measures containers; all pages share one, so that the engine is asked once however many pages are open."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._measuring: dict[str, asyncio.Task[None]] = {}

    async def usage(self, containers: Iterable[str], ask: Ask) -> dict[str, Usage]:
        """Return what these containers use, by id; without those about which the engine did not answer in time."""
        now, wanted = asyncio.get_running_loop().time(), list(containers)
        self._known = {each: known for each, known in self._known.items() if now - known.at < BASIS_S}
        for each in wanted:
            is_fresh = each in self._known and now - self._known[each].at < FRESH_S
            if not is_fresh and each not in self._measuring:
                self._measuring[each] = asyncio.create_task(self._measure(each, ask))
        if tasks := [self._measuring[each] for each in wanted if each in self._measuring]:
            # Those that take longer go on, for the next page.
            await asyncio.wait(tasks, timeout=PATIENCE_S)
        found = {each: known for each in wanted if (known := self._known.get(each)) and known.at > now - FRESH_S}
        return {each: known.usage for each, known in found.items()}

    async def _measure(self, container: str, ask: Ask) -> None:
        try:
            known = self._known.get(container)
            before = known.sample if known else None
            if before is None:
                before, _ = await self._sample(container, ask)
                await asyncio.sleep(PAUSE_S)
            sample, stats = await self._sample(container, ask)
            limit = int(stats["memory_stats"]["limit"])
            usage = Usage(in_use(stats), limit, _cpus(before, sample))
            self._known[container] = _Known(asyncio.get_running_loop().time(), sample, usage)
        except (*DOCKER_ERRORS, KeyError, TypeError, ValueError):
            # The container may just have ended, or the engine be busy: a page can do without.
            self._known.pop(container, None)
        finally:
            del self._measuring[container]

    @staticmethod
    async def _sample(container: str, ask: Ask) -> tuple[_Sample, Mapping[str, Any]]:
        stats = await asyncio.wrap_future(calls.USAGE.submit(ask, container))
        sample = _Sample(datetime.fromisoformat(stats["read"]), int(stats["cpu_stats"]["cpu_usage"]["total_usage"]))
        return sample, stats
