"""Admission: servers wait for memory and for a start slot."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from fake_spawner import GB, FakeDocker, Spawner, events_of, run, same_hub, spawner
from jupyterhub_ansible.spawner import disk_admission, errors, queue
from jupyterhub_ansible.spawner.disk_admission import Disk
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.memory_admission import Claim, waiting_message
from jupyterhub_ansible.spawner.queue import Queue
from jupyterhub_ansible.spawner.spawner import UserServerSpawner


def test_starts_are_limited_and_a_slow_one_does_not_block_others(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserServerSpawner, "_start_slots", asyncio.Semaphore(2))
    # Long enough for all of the first part on a busy machine.
    monkeypatch.setattr("jupyterhub_ansible.spawner.admission._SLOT_S", 3)
    ready: dict[str, asyncio.Event] = {}

    async def wait_until_ready(self: Any, url: str) -> None:
        await ready[self.user.name].wait()

    monkeypatch.setattr(Spawner, "_wait_until_ready", wait_until_ready)

    async def scenario() -> None:
        users = ["slow", "a", "b", "c"]
        ready.update({user: asyncio.Event() for user in users})
        everybody = {user: spawner(user) for user in users}
        loop = asyncio.get_running_loop()

        def begun() -> list[str]:
            return [name.removeprefix("jh-user-") for name in docker.containers if name != "probe"]

        async def become(wanted: list[str]) -> None:
            async with asyncio.timeout(20):
                while begun() != wanted:
                    await asyncio.sleep(0.01)

        starts = [loop.create_task(everybody[each].start()) for each in users[:2]]
        await become(["slow", "a"])
        starts += [loop.create_task(everybody[each].start()) for each in users[2:]]
        while not events_of(everybody["c"]):
            await asyncio.sleep(0.01)
        assert begun() == ["slow", "a"]
        assert events_of(everybody["b"]) == [(60, "Other servers are starting first; yours is waiting its turn")]
        ready["a"].set()
        await become(["slow", "a", "b"])
        # Two slow ones lose their slots after the timeout, each only once.
        await become(users)
        for each in ready.values():
            each.set()
        await asyncio.gather(*starts)
        assert not everybody["slow"]._start_slots.locked()
        assert everybody["slow"]._start_slots._value == 2

    asyncio.run(scenario())


def test_failed_start_releases_its_slot(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_start_slots", asyncio.Semaphore(1))
    monkeypatch.setattr(Spawner, "_wait_until_ready", Mock(side_effect=errors.container_removed("x")))
    for _ in range(2):
        with pytest.raises(SpawnError):
            run(spawner().start)
    assert UserServerSpawner._start_slots._value == 1


def full_machine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, **traits: Any) -> list[Any]:
    """Return spawners on a machine with 8 GB, 6 of them reserved; the first two are running."""
    monkeypatch.setattr(UserServerSpawner, "_memory_queue", Queue())
    members = [spawner(name, reserve_memory_mb=6 * 1024, **traits) for name in ("ann", "ben", "cid")]
    same_hub(*members)
    for each in members[:2]:
        run(each.start)
        each.in_the_database.ip = "127.0.0.1"
    return members


def test_a_start_waits_while_the_machine_is_full(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, _, cid = full_machine(docker, monkeypatch, mem_guarantee="1G")
    monkeypatch.setattr(queue, "_CHECK_S", 0.01)

    async def scenario() -> None:
        starting = asyncio.create_task(cid.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        assert "jh-user-cid" not in docker.containers
        await ann.stop()
        ann.in_the_database.ip = ""
        await asyncio.wait_for(starting, 5)

    asyncio.run(scenario())
    assert (5, waiting_message(1, 1)) in events_of(cid)


def test_a_start_does_not_wait_for_ever(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, cid = full_machine(docker, monkeypatch, mem_guarantee="1G", full_wait_s=1)
    with pytest.raises(SpawnError) as error:
        run(cid.start)
    assert error.value.reason == "full"
    assert "jh-user-cid" not in docker.containers
    assert cid._claim is None


@pytest.mark.parametrize(("used", "fits"), [(0, True), (GB, False)])
def test_limits_are_not_reserved_but_use_counts(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, used: int, fits: bool
) -> None:
    *_, cid = full_machine(docker, monkeypatch, full_wait_s=1)
    docker.used = used
    if fits:
        run(cid.start)
    else:
        with pytest.raises(SpawnError):
            run(cid.start)


def test_memory_use_is_not_queried_too_often(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, cid = full_machine(docker, monkeypatch, full_wait_s=1)
    monkeypatch.setattr(queue, "_CHECK_S", 0.01)
    asked = Mock(return_value={"memory_stats": {"usage": GB}})
    monkeypatch.setattr(docker, "stats", asked)
    with pytest.raises(SpawnError):
        run(cid.start)
    assert asked.call_count == 2, "once for each that runs"


def test_a_server_that_is_too_large_for_the_machine(docker: FakeDocker) -> None:
    with pytest.raises(SpawnError) as error:
        run(spawner(reserve_memory_mb=8000).start)
    assert error.value.reason == "too-large"


def test_claim_survives_a_restart_of_the_hub(docker: FakeDocker) -> None:
    mine = spawner(mem_guarantee="256M")
    run(mine.start)
    successor = spawner()
    successor.load_state(mine.get_state())
    assert successor._claim == Claim(256 * 1024**2, GB)
    run(mine.stop)
    assert mine._claim is None


def test_a_server_that_an_older_hub_started_counts(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben, cid = full_machine(docker, monkeypatch, mem_guarantee="1G", full_wait_s=1)
    for each in (ann, ben):
        each._claim = None
        each.mem_limit = "2G"
    with pytest.raises(SpawnError):
        run(cid.start)


def test_limit_of_running_servers(docker: FakeDocker) -> None:
    first, second = spawner(running_limit=1), spawner(server="second", running_limit=1)
    second.user = first.user
    first.user.spawners.update({"": first, "second": second})
    run(first.start)
    first.in_the_database.ip = "127.0.0.1"
    with pytest.raises(SpawnError) as error:
        run(second.start)
    assert (error.value.reason, error.value.status_code) == ("running-limit", 400)
    assert "You have 1 server running" in error.value.jupyterhub_message
    first.in_the_database.ip = ""
    run(second.start)


def test_two_concurrent_starts_do_not_both_fail(docker: FakeDocker) -> None:
    first, second = spawner(running_limit=1), spawner(server="second", running_limit=1)
    second.user = first.user
    first.user.spawners.update({"": first, "second": second})
    # Both are under way before either is checked.
    for each in (first, second):
        each._spawn_pending, each.in_the_database.ip = True, "127.0.0.1"
    run(first.start)
    with pytest.raises(SpawnError):
        run(second.start)


def test_disk_that_is_nearly_full_starts_servers_only_to_delete_files(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = spawner(reserve_disk_mb=1024)
    monkeypatch.setattr(disk_admission, "look", lambda: Disk(1024**3 - 1, 40 * 1024**3))
    with pytest.raises(SpawnError, match="must stay free") as refused:
        run(mine.start)
    assert "1023 MiB are free on the engine's disk, and 1024 must stay free" in refused.value.log_message
    assert "servers start only to delete files: there is a button" in refused.value.jupyterhub_message
    assert not [name for name in docker.containers if name != "probe"]
    mine.tidying = True
    run(mine.start)
    # For this start only.
    with pytest.raises(SpawnError, match="must stay free"):
        run(mine.start)
    monkeypatch.setattr(disk_admission, "look", lambda: Disk(1024**3, 40 * 1024**3))
    run(spawner("ben", reserve_disk_mb=1024).start)


def test_the_disk_is_that_of_the_hub_s_volume() -> None:
    found = disk_admission.look()
    assert 0 < found.free <= found.size
