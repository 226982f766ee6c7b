"""Addresses that the Hub gives to servers."""

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from fake_spawner import PROXY, FakeDocker, events_of, run, running_server, same_hub, spawner
from jupyterhub_ansible.spawner import address_pool, errors, queue
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.queue import Queue
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from sqlalchemy.exc import OperationalError


def addresses_of(docker: FakeDocker) -> list[str]:
    return [each["NetworkSettings"]["Networks"]["users"]["IPAddress"] for each in docker.containers.values()]


def test_a_burst_of_starts_gives_each_an_address_of_its_own(docker: FakeDocker) -> None:
    members = [spawner(f"user{number}") for number in range(50)]
    same_hub(*members)

    async def all_at_once() -> Any:
        return await asyncio.gather(*(each.start() for each in members))

    started = [ip for ip, _ in run(all_at_once)]
    assert len(set(started)) == 50
    assert sorted(started) == sorted(addresses_of(docker))


def test_the_next_server_does_not_get_the_address_of_one_that_just_ended(docker: FakeDocker) -> None:
    alice, bob = spawner(), spawner("bob")
    same_hub(alice, bob)
    was, _ = run(alice.start)
    # As by `docker stop`, without the Hub.
    docker.stop("jh-user-alice")
    docker.remove_container("jh-user-alice", v=True)
    assert run(bob.start)[0] != was


def test_address_with_a_route_is_not_given(docker: FakeDocker) -> None:
    PROXY.routes = {"/user/gone/": "127.0.0.1", "/user/alice/": "127.0.0.2"}
    # Not in the table, for example after restoring an older database.
    assert run(spawner().start)[0] == "127.0.0.2"


def test_address_of_another_spawner_is_not_given(docker: FakeDocker) -> None:
    alice, bob = spawner(), spawner("bob")
    same_hub(alice, bob)
    alice.in_the_database.ip = "127.0.0.1"
    assert run(bob.start)[0] == "127.0.0.2"


def test_locked_database_does_not_block_a_stop(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running_server(docker)
    locked = OperationalError("UPDATE", {}, Exception("database is locked"))
    monkeypatch.setattr(mine.addresses, "release", Mock(side_effect=locked))
    mine.clear_state()
    assert "database is locked" in caplog.text


def test_address_that_docker_gave_away_is_replaced(docker: FakeDocker) -> None:
    docker.elsewhere.update({"127.0.0.1": "a probe", "127.0.0.2": "a probe"})
    assert run(spawner().start) == ("127.0.0.3", 8888)
    assert addresses_of(docker) == ["127.0.0.3"]


def test_a_start_waits_while_all_addresses_are_held(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_address_queue", Queue())
    monkeypatch.setattr(queue, "_CHECK_S", 0.01)
    docker.addresses = "127.0.0.0/30"
    ann, ben, cid = members = [spawner(name) for name in ("ann", "ben", "cid")]
    same_hub(*members)
    now = [1000.0]
    monkeypatch.setattr(ann.addresses, "_clock", lambda: now[0])

    async def scenario() -> None:
        for each in (ann, ben):
            await each.start()
        starting = asyncio.create_task(cid.start())
        await ben.stop()
        await asyncio.sleep(0.1)
        assert not starting.done()
        now[0] += address_pool.HOLD_S
        assert (await asyncio.wait_for(starting, 5))[0] == "127.0.0.2"

    asyncio.run(scenario())
    assert (60, errors.waiting_for_address(1, 1)) in events_of(cid)


def test_a_start_does_not_wait_for_an_address_for_ever(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_address_queue", Queue())
    docker.addresses = "127.0.0.0/30"
    docker.elsewhere.update({"127.0.0.1": "a probe", "127.0.0.2": "a probe"})
    with pytest.raises(SpawnError, match="for an address in vain") as error:
        run(spawner(full_wait_s=1).start)
    assert error.value.reason == "no-address"


def test_proxy_does_not_answer(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROXY, "get_all_routes", Mock(side_effect=TimeoutError("30 s")))
    with pytest.raises(SpawnError) as error:
        run(spawner().start)
    assert error.value.reason == "proxy"
    assert not docker.containers


def test_hanging_proxy_does_not_delay_starts_one_after_another(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [spawner(f"user{number}") for number in range(4)]
    same_hub(*members)
    monkeypatch.setattr(UserServerSpawner, "_address_queue", Queue())
    monkeypatch.setattr("jupyterhub_ansible.spawner.addressing.ROUTE_TIMEOUT_S", 0.05)
    routes = PROXY.get_all_routes

    async def hang() -> dict[str, Any]:
        # As JupyterHub's own class does before it gives up.
        await asyncio.sleep(1)
        return await routes()

    monkeypatch.setattr(PROXY, "get_all_routes", hang)

    async def all_at_once() -> list[Any]:
        async with asyncio.timeout(3):
            return await asyncio.gather(*(each.start() for each in members), return_exceptions=True)

    assert [getattr(each, "reason", each) for each in run(all_at_once)] == ["proxy"] * 4


def test_start_does_not_query_the_database_for_each_route(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the targets of routes are needed (UserProxy.fetch_routes)."""
    monkeypatch.setattr(PROXY, "fetch_routes", PROXY.get_all_routes, raising=False)
    monkeypatch.setattr(PROXY, "get_all_routes", Mock(side_effect=AssertionError))
    PROXY.routes = {"/user/gone/": "127.0.0.1"}
    assert run(spawner().start)[0] == "127.0.0.2"


def test_network_without_chosen_addresses(docker: FakeDocker) -> None:
    docker.networks["bridge"] = "127.0.0.0/8"
    mine = spawner(network_name="bridge")
    run(lambda: mine.create_object())
    # Docker chooses the address.
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAMConfig"] is None
