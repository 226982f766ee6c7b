"""Memory admission: never above the budget, first come, first served."""

import asyncio
from collections.abc import Iterable

import pytest
from jupyterhub_ansible.spawner import memory_admission, queue
from jupyterhub_ansible.spawner.memory_admission import Claim, Others, claim, fits, in_use
from jupyterhub_ansible.spawner.queue import Queue

MB = 1024**2


def others(claims: list[Claim], used: Iterable[int] | None = None) -> Others:
    async def answer() -> Iterable[int]:
        assert used is not None, "asked what they use, although all limits fit"
        return used

    return Others(claims, answer)


def room(mine: Claim, budget: int, of: Others) -> bool:
    return asyncio.run(fits(mine, budget, of))


def test_a_server_counts_with_a_quarter_of_its_limit_or_its_guarantee() -> None:
    assert claim(1000, None, 9000) == Claim(250, 1000)
    assert claim(1000, 700, 9000) == Claim(700, 1000)
    assert claim(1000, 2000, 9000) == Claim(1000, 1000), "a guarantee above the limit is none"
    assert claim(None, None, 8000) == Claim(2000, 8000), "without a limit it can take all there is"


def test_use_is_not_queried_if_all_limits_fit() -> None:
    assert room(Claim(25, 100), 300, others([Claim(25, 100)] * 2))


def test_limit_is_not_a_reservation() -> None:
    assert room(Claim(25, 100), 300, others([Claim(25, 100)] * 4, [10] * 4))


def test_a_server_counts_with_what_it_uses() -> None:
    assert room(Claim(25, 100), 300, others([Claim(25, 100)] * 3, [100, 100, 75]))
    assert not room(Claim(25, 100), 300, others([Claim(25, 100)] * 3, [100, 100, 76]))


def test_a_server_counts_with_its_guarantee_however_little_it_uses() -> None:
    assert not room(Claim(100, 100), 250, others([Claim(100, 100)] * 2))
    assert not room(Claim(50, 100), 250, others([Claim(100, 100), Claim(50, 200)], [0, 120]))


@pytest.mark.parametrize(
    ("stats", "bytes_"),
    [
        ({"memory_stats": {"usage": 100, "stats": {"total_inactive_file": 30, "inactive_file": 5}}}, 70),
        ({"memory_stats": {"usage": 100, "stats": {"inactive_file": 30}}}, 70),
        # A stopped container.
        ({"memory_stats": {}}, 0),
        ({}, 0),
    ],
)
def test_memory_use_of_a_container(stats: dict[str, dict[str, int]], bytes_: int) -> None:
    assert in_use(stats) == bytes_


class Machine:
    """Servers with one unit of memory each, and a budget of `size`."""

    def __init__(self, size: int) -> None:
        self.size, self.queue = size, Queue()
        self.running: list[str] = []
        self.order: list[str] = []
        self.told: dict[str, list[tuple[int, int]]] = {}
        self.most = 0

    async def start(self, who: str, seconds: float = 30.0) -> None:
        async def has_room() -> bool:
            # Docker answers slowly.
            await asyncio.sleep(0)
            return len(self.running) < self.size

        def take() -> None:
            self.running.append(who)
            self.order.append(who)
            self.most = max(self.most, len(self.running))

        def tell(place: int, length: int) -> None:
            self.told.setdefault(who, []).append((place, length))

        await self.queue.wait(has_room, take, tell, seconds)


def test_served_in_order_and_never_above_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_CHECK_S", 0.005)

    async def scenario() -> Machine:
        machine = Machine(2)
        names = [f"u{number}" for number in range(12)]
        starts = [asyncio.create_task(machine.start(name)) for name in names]
        while not all(start.done() for start in starts):
            await asyncio.sleep(0.01)
            if len(machine.running) == machine.size:
                machine.running.pop(0)
        await asyncio.gather(*starts)
        assert machine.order == names
        return machine

    machine = asyncio.run(scenario())
    assert machine.most == 2
    assert machine.told["u11"][0] == (10, 10)
    assert (1, 1) in machine.told["u11"]
    assert "u0" not in machine.told, "there was room"


def test_timed_out_start_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_CHECK_S", 0.005)

    async def scenario() -> None:
        machine = Machine(1)
        await machine.start("first")
        with pytest.raises(TimeoutError):
            await machine.start("second", 0.05)
        third = asyncio.create_task(machine.start("third"))
        await asyncio.sleep(0.02)
        machine.running.clear()
        await asyncio.wait_for(third, 5)
        assert machine.order == ["first", "third"]
        assert len(machine.queue) == 0

    asyncio.run(scenario())


def test_cancelled_start_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_CHECK_S", 30)

    async def scenario() -> None:
        machine = Machine(0)
        head = asyncio.create_task(machine.start("head"))
        await asyncio.sleep(0.01)
        machine.size = 1
        next_one = asyncio.create_task(machine.start("next"))
        await asyncio.sleep(0.01)
        head.cancel()
        # At once, not at the next check.
        await asyncio.wait_for(next_one, 5)
        assert machine.order == ["next"]

    asyncio.run(scenario())


def test_progress_messages_while_waiting() -> None:
    assert memory_admission.waiting_message(1, 1) == "The machine is full. Your server starts when memory is free."
    assert "You are number 2 of 3." in memory_admission.waiting_message(2, 3)


def test_messages_when_memory_is_refused() -> None:
    assert (
        "512 MB of memory, and the machine has 100 MB"
        in memory_admission.too_large(Claim(512 * MB, 2048 * MB), 100 * MB, "x").jupyterhub_message
    )
    assert "within 10 minutes" in memory_admission.still_full(600, "x").jupyterhub_message
    assert "within 90 seconds" in memory_admission.still_full(90, "x").jupyterhub_message
    assert "You have 1 server running, and 1 may run" in memory_admission.too_many(1, 1, "x").jupyterhub_message
    assert memory_admission.too_many(1, 1, "x").status_code == 400
