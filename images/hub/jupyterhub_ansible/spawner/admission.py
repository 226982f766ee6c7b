"""The part of the spawner that lets servers start: as many as a user may, as memory is there, and in turn."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, ClassVar

from traitlets import Int

from . import limits, memory
from .failures import DOCKER_ERRORS
from .home_volumes import HomeSpawner
from .progress import CREATING, WAITING
from .queue import Queue

# What all servers use is asked of the engine, which takes some of its time, this often at most.
_ASK_AGAIN_S = 5
# A start is mostly computing.  Where many start at once, each would take as long as all of them: so they start in turn,
# and most can work much sooner.  One that is slow keeps nobody waiting for longer than this, in seconds.
_TURNS = 2 * (os.cpu_count() or 1)
_TURN_S = 5


class AdmittedSpawner(HomeSpawner):
    """A spawner whose servers wait until there is room for them."""

    reserve_memory_mb = Int(0, help="Memory of the machine that is not for users' servers, in MiB").tag(config=True)
    full_wait_s = Int(600, help="Seconds that a start waits for memory at most").tag(config=True)
    running_limit = Int(0, help="Servers of one user that may run at once; 0 for any number").tag(config=True)

    # Of all spawners: starts that wait for memory, and those whose turn it is.
    _queue: ClassVar = Queue()
    _turns: ClassVar = asyncio.Semaphore(_TURNS)

    # What this server counts with, once it has its room.
    _claim: memory.Claim | None = None
    # Counted among its user's servers that run (`running_limit`): starting, or running.
    _admitted = False
    # Ends its turn to start, if it has it.
    _turn: asyncio.TimerHandle | None = None

    def _everybody(self) -> Iterable["AdmittedSpawner"]:
        """Yield the spawners of all servers that the Hub knows as running, starting or stopping."""
        for user in self.user.settings["users"].values():
            yield from (spawner for spawner in user.spawners.values() if spawner.active)

    def _refuse_too_many(self) -> None:
        # One that was asked for at the same moment, and is refused as well, does not count.
        others = [each for each in self.user.spawners.values() if each is not self]
        running = sum(each.active and (each.ready or each._admitted) for each in others)
        if self.running_limit and running >= self.running_limit:
            raise memory.too_many(running, self.running_limit, self._log_name)
        self._admitted = True

    async def _wait_for_room(self, budget: int) -> None:
        mine = self._claim_on(budget)
        if mine.guarantee > budget:
            raise memory.too_large(mine, budget, self._log_name)

        # Who was there when there was no room, and until when nobody asks again what they use.
        refused: tuple[list[str], float] = [], 0.0

        async def has_room() -> bool:
            nonlocal refused
            others = [each for each in self._everybody() if each is not self and not each._waits()]
            names, now = [each.object_name for each in others], asyncio.get_running_loop().time()
            if names == refused[0] and now < refused[1]:
                return False
            claims = [each._claim or each._claim_on(budget) for each in others]

            async def used() -> list[int]:
                return await asyncio.gather(*(each._memory_in_use() for each in others))

            found = await memory.fits(mine, budget, memory.Others(claims, used))
            refused = (names, now + _ASK_AGAIN_S)
            return found

        def take() -> None:
            self._claim = mine

        def tell(place: int, length: int) -> None:
            self._progress.say(WAITING, memory.waiting_message(place, length))

        try:
            await self._queue.wait(has_room, take, tell, self.full_wait_s)
        except TimeoutError:
            raise memory.still_full(self.full_wait_s, self._log_name) from None

    def _claim_on(self, budget: int) -> memory.Claim:
        return memory.claim(limits.in_bytes(self.mem_limit), self.mem_guarantee, budget)

    def _waits(self) -> bool:
        # A server that ran before the Hub was started has none either, if an older Hub started it.
        return self._claim is None and self.pending == "spawn"

    async def _memory_in_use(self) -> int:
        # Not yet created, or gone meanwhile: it counts with its guarantee.
        with suppress(*DOCKER_ERRORS):
            if self.object_id:
                return memory.in_use(await self.docker("stats", self.object_id, stream=False, one_shot=True))
        return 0

    def get_state(self) -> dict[str, Any]:
        """What the next Hub has to know of a server that runs."""
        state: dict[str, Any] = super().get_state()
        return {**state, "claim": list(self._claim)} if self._claim else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a server that runs."""
        super().load_state(state)
        self._claim = memory.Claim(*state["claim"]) if "claim" in state else None

    def clear_state(self) -> None:
        """Forget a server that is gone."""
        super().clear_state()
        self._claim = None
        self._admitted = False

    # --- turns

    async def _wait_for_turn(self) -> None:
        if self._turns.locked():
            self._progress.say(CREATING, "Other servers are starting first; yours is waiting its turn")
        await self._turns.acquire()
        self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._end_turn)

    def _end_turn(self) -> None:
        if self._turn:
            self._turn.cancel()
            self._turn = None
            self._turns.release()
