"""The part of the spawner that admits starts: limited per user, by memory and disk, and a few at a time."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from traitlets import Int

from ..engine.errors import DOCKER_ERRORS
from . import disk_admission, limits, memory_admission
from .home_volumes import HomeSpawner
from .progress import CREATING, WAITING
from .queue import Queue

# Memory use is queried from the engine, which is slow, at most this often.
_QUERY_S = 5
# A start is mostly CPU-bound.  If many ran at once, each would take as long as all together; a few at a time, most are
# ready much sooner.  A slow start gives its slot back after so many seconds.
_START_SLOTS = 2 * (os.cpu_count() or 1)
_SLOT_S = 5


class AdmittedSpawner(HomeSpawner):
    """A spawner whose servers wait for free memory."""

    reserve_memory_mb = Int(0, help="Memory of the machine that is not for users' servers, in MiB").tag(config=True)
    reserve_disk_mb = Int(0, help="What must stay free on the engine's disk, in MiB").tag(config=True)
    full_wait_s = Int(600, help="Seconds that a start waits for memory at most").tag(config=True)
    running_limit = Int(0, help="Servers of one user that may run at once; 0 for any number").tag(config=True)

    tidying = False
    """Whether the next start is to delete files."""

    # Shared by all spawners: starts that wait for memory, and slots for those under way.
    _memory_queue: ClassVar = Queue()
    _start_slots: ClassVar = asyncio.Semaphore(_START_SLOTS)

    # The memory claimed for this server, once it is admitted.
    _claim: memory_admission.Claim | None = None
    # Counted among its user's servers that run (`running_limit`): starting, or running.
    _admitted = False
    # Releases its start slot, while it has one.
    _start_slot: asyncio.TimerHandle | None = None

    def _active_spawners(self) -> Iterable["AdmittedSpawner"]:
        """Yield the spawners of all servers that the Hub knows as running, starting or stopping."""
        for user in self.user.settings["users"].values():
            yield from (spawner for spawner in user.spawners.values() if spawner.active)

    def _enforce_running_limit(self) -> None:
        # A concurrent start that is refused, too, must not count.
        others = [each for each in self.user.spawners.values() if each is not self]
        running = sum(each.active and (each.ready or each._admitted) for each in others)
        if self.running_limit and running >= self.running_limit:
            raise memory_admission.too_many(running, self.running_limit, self._log_name)
        self._admitted = True

    def _enforce_room_on_disk(self) -> None:
        tidying, self.tidying = self.tidying, False
        if not tidying and (disk := disk_admission.look()).is_low(self.reserve_disk_mb):
            raise disk_admission.nearly_full(disk, self.reserve_disk_mb, self._log_name)

    async def _wait_for_room(self, budget: int) -> None:
        mine = self._claim_for(budget)
        if mine.guarantee > budget:
            raise memory_admission.too_large(mine, budget, self._log_name)

        # The servers when memory was last found full, and until when their use is not queried again.
        refused: tuple[list[str], float] = [], 0.0

        async def has_room() -> bool:
            nonlocal refused
            others = [each for each in self._active_spawners() if each is not self and not each._is_waiting()]
            names, now = [each.object_name for each in others], asyncio.get_running_loop().time()
            if names == refused[0] and now < refused[1]:
                return False
            claims = [each._claim or each._claim_for(budget) for each in others]

            async def used() -> list[int]:
                return await asyncio.gather(*(each._memory_in_use() for each in others))

            found = await memory_admission.fits(mine, budget, memory_admission.Others(claims, used))
            refused = (names, now + _QUERY_S)
            return found

        def take() -> None:
            self._claim = mine

        def report(place: int, length: int) -> None:
            self._progress.say(WAITING, memory_admission.waiting_message(place, length))

        try:
            await self._memory_queue.wait(has_room, take, report, self.full_wait_s)
        except TimeoutError:
            raise memory_admission.still_full(self.full_wait_s, self._log_name) from None

    def _claim_for(self, budget: int) -> memory_admission.Claim:
        return memory_admission.claim(limits.in_bytes(self.mem_limit), self.mem_guarantee, budget)

    def _is_waiting(self) -> bool:
        # A running server that an older Hub started has no claim either.
        return self._claim is None and self.pending == "spawn"

    async def _memory_in_use(self) -> int:
        # If it does not exist yet, or no longer, its guarantee counts.
        with suppress(*DOCKER_ERRORS):
            if self.object_id:
                return memory_admission.in_use(await self.docker("stats", self.object_id, stream=False, one_shot=True))
        return 0

    def get_state(self) -> dict[str, Any]:
        """Return what the next Hub needs to know of a running server."""
        state: dict[str, Any] = super().get_state()
        return {**state, "claim": list(self._claim)} if self._claim else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a running server."""
        super().load_state(state)
        self._claim = memory_admission.Claim(*state["claim"]) if "claim" in state else None

    def clear_state(self) -> None:
        """Clear the state of a server that is gone."""
        super().clear_state()
        self._claim = None
        self._admitted = False

    # --- start slots

    async def _wait_for_start_slot(self) -> None:
        if self._start_slots.locked():
            self._progress.say(CREATING, "Other servers are starting first; yours is waiting its turn")
        await self._start_slots.acquire()
        self._start_slot = asyncio.get_running_loop().call_later(_SLOT_S, self._release_start_slot)

    def _release_start_slot(self) -> None:
        if self._start_slot:
            self._start_slot.cancel()
            self._start_slot = None
            self._start_slots.release()
