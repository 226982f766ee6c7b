"""Memory admission: starts wait in order while the machine is full.

The budget is the machine's memory minus the reserve.  A limit is not a reservation: most servers use a small part of
theirs, and a machine on which all limits must fit stays half empty.  So a server counts with its memory use, but at
least with its guarantee (`Spawner.mem_guarantee`, by default a quarter of its limit).  If all limits fit, use is not
queried.  Servers that grow later meet the common ceiling that the deployment sets (limits.cgroup_parent): the kernel
then kills the largest process among them, and Hub and machine go on.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .errors import SpawnError

GUARANTEED_SHARE = 4
"""By default, a server's guarantee is its limit divided by this (`Spawner.mem_guarantee` overrides it)."""


class Claim(NamedTuple):
    """A server's memory in bytes: what it is guaranteed, and its limit."""

    guarantee: int
    limit: int


def claim(limit: int | None, guarantee: int | None, budget: int) -> Claim:
    """Return a server's claim; without a limit, it is the whole budget.

    A guarantee above the limit is lowered to it.
    """
    most = limit or budget
    return Claim(min(guarantee or most // GUARANTEED_SHARE, most), most)


def in_use(stats: Mapping[str, Any]) -> int:
    """Return the memory that a container uses, in bytes, without page cache that the kernel can drop.

    Computed as `docker stats` does, for cgroup v1 and v2.
    """
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    droppable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage", 0)) - int(droppable))


class Others(NamedTuple):
    """The admitted servers: their claims, and a query of their current use (0 if unknown)."""

    claims: Sequence[Claim]
    used: Callable[[], Awaitable[Iterable[int]]]


async def fits(mine: Claim, budget: int, others: Others) -> bool:
    """Whether one more server fits; `used` is in the order of `claims`."""
    if mine.limit + sum(each.limit for each in others.claims) <= budget:
        return True
    if mine.guarantee + sum(each.guarantee for each in others.claims) > budget:
        return False
    used = await others.used()
    return mine.guarantee + sum(map(max, (each.guarantee for each in others.claims), used)) <= budget


def too_large(mine: Claim, budget: int, server: str) -> SpawnError:
    """A server would not fit even alone."""
    return SpawnError(
        f"Your server needs {mine.guarantee // 1024**2} MB of memory, and the machine has"
        f" {max(0, budget) // 1024**2} MB for all servers. Please choose a smaller one, or tell the administrator.",
        reason="too-large",
        log_message=f"{server} is guaranteed {mine.guarantee} bytes; the budget is {budget} (hub_reserve_memory_mb)",
    )


def still_full(seconds: int, server: str) -> SpawnError:
    """No memory became free in time."""
    return SpawnError(
        f"The machine is full: no other server was stopped within {_minutes(seconds)}. Please try again later.",
        reason="full",
        log_message=f"{server} waited {seconds} s for memory in vain (hub_reserve_memory_mb)",
    )


def waiting_message(place: int, length: int) -> str:
    """Progress message for a user whose server waits for memory."""
    position = f" You are number {place} of {length}." if length > 1 else ""
    return f"The machine is full.{position} Your server starts when memory is free."


def too_many(running: int, limit: int, server: str) -> SpawnError:
    """A user has reached the limit of running servers."""
    servers = "1 server" if running == 1 else f"{running} servers"
    return SpawnError(
        f"You have {servers} running, and {limit} may run at once. Please stop one first.",
        reason="running-limit",
        log_message=f"{server}: {running} servers of this user are running, {limit} may (hub_running_servers_limit)",
        status_code=400,
    )


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"
