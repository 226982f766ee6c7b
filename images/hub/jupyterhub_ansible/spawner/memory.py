"""Room for a server: starts wait in order while the machine is full.

The budget is the machine's memory without the reserve.  A limit is no reservation: most servers use a small part of
theirs, and a machine on which all limits must fit stands half empty.  So a server counts with what it uses, and at
least with what it is guaranteed (`Spawner.mem_guarantee`, by default a quarter of its limit).  Where all limits fit,
nobody is asked what he uses.  Servers that grow later meet the ceiling that the deployment gives all of them together
(limits.cgroup_parent): the kernel then ends the largest process among them, and Hub and machine go on.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .failures import ServerError

GUARANTEED_SHARE = 4
"""A server is guaranteed its limit divided by this, unless `Spawner.mem_guarantee` says something else."""


class Claim(NamedTuple):
    """Memory that a server counts with, in bytes: what it is guaranteed, and the most that it can take."""

    guarantee: int
    limit: int


def claim(limit: int | None, guarantee: int | None, budget: int) -> Claim:
    """Return what a server counts with; one without a limit can take all there is.

    A guarantee above the limit is none.
    """
    most = limit or budget
    return Claim(min(guarantee or most // GUARANTEED_SHARE, most), most)


def in_use(stats: Mapping[str, Any]) -> int:
    """Memory that a container uses, from Docker's statistics, without files that the kernel can drop (bytes).

    As `docker stats` counts it; the names are those of cgroup v1 and v2.
    """
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    droppable = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage", 0)) - int(droppable))


class Others(NamedTuple):
    """Servers that have their room: what they count with, and what each uses at this moment (0: not known)."""

    claims: Sequence[Claim]
    used: Callable[[], Awaitable[Iterable[int]]]


async def fits(mine: Claim, budget: int, others: Others) -> bool:
    """Whether there is room for one more; `used` is in the order of `claims`."""
    if mine.limit + sum(each.limit for each in others.claims) <= budget:
        return True
    if mine.guarantee + sum(each.guarantee for each in others.claims) > budget:
        return False
    used = await others.used()
    return mine.guarantee + sum(map(max, (each.guarantee for each in others.claims), used)) <= budget


def too_large(mine: Claim, budget: int, who: str) -> ServerError:
    """A server that would not fit if it were the only one."""
    return ServerError(
        f"Your server needs {mine.guarantee // 1024**2} MB of memory, and the machine has"
        f" {max(0, budget) // 1024**2} MB for all servers. Please choose a smaller one, or tell the administrator.",
        reason="too-large",
        log_message=f"{who} is guaranteed {mine.guarantee} bytes, and the budget is {budget} (hub_reserve_memory_mb)",
    )


def still_full(seconds: int, who: str) -> ServerError:
    """No room within the time."""
    return ServerError(
        f"The machine is full: no other server was stopped within {_minutes(seconds)}. Please try again later.",
        reason="full",
        log_message=f"{who} waited {seconds} s for memory in vain (hub_reserve_memory_mb)",
    )


def waiting_message(place: int, length: int) -> str:
    """What a user who waits is told."""
    others = (
        f"{length} servers are waiting, and yours is number {place}" if length > 1 else "1 server is waiting, yours"
    )
    return f"The machine is full: {others}. It starts by itself as soon as another one is stopped."


def too_many(running: int, limit: int, who: str) -> ServerError:
    """A user whose servers that run are as many as may."""
    servers = "1 server" if running == 1 else f"{running} servers"
    return ServerError(
        f"You have {servers} running, and {limit} may run at once. Please stop one first.",
        reason="running-limit",
        log_message=f"{who}: {running} servers of this user run, {limit} may (hub_running_servers_limit)",
        status_code=400,
    )


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"
