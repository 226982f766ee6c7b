"""Containers and images of users' servers: only a user's own are touched, and slow calls block no others."""

import asyncio
import threading
from typing import Any

import pytest
from fake_spawner import FOREIGN_LABELS, FakeDocker, events_of, foreign_container, run, spawner
from jupyterhub_ansible.spawner.errors import SpawnError


@pytest.mark.parametrize("found", FOREIGN_LABELS)
def test_foreign_container_is_left_alone(docker: FakeDocker, found: dict[str, str] | None) -> None:
    theirs = foreign_container(docker, "jh-user-alice", found)
    mine = spawner()
    with pytest.raises(SpawnError) as error:
        run(mine.start)
    assert error.value.reason == "name-taken"
    assert "Please tell the administrator" in error.value.jupyterhub_message
    # As JupyterHub does after a failed start.
    assert run(mine.poll) == 0
    assert mine.object_id == ""
    assert docker.containers["jh-user-alice"]["Id"] == theirs
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_a_container_that_took_the_name_of_a_running_server_is_not_stopped(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    del docker.containers["jh-user-alice"]
    foreign_container(docker, "jh-user-alice", {})
    assert run(mine.poll) == 0
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_a_running_container_that_the_hub_forgot_is_replaced(docker: FakeDocker) -> None:
    run(spawner().start)
    forgotten = docker.containers["jh-user-alice"]["Id"]
    run(spawner().start)
    assert docker.containers["jh-user-alice"]["Id"] != forgotten


def test_missing_image(docker: FakeDocker) -> None:
    docker.images.clear()
    with pytest.raises(SpawnError) as error:
        run(spawner().start)
    assert error.value.reason == "image"
    assert not docker.containers


def test_hung_stops_and_pulls_do_not_block_other_users(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    unblock = threading.Event()
    monkeypatch.setattr(docker, "stop", lambda name_or_id: unblock.wait(20))
    monkeypatch.setattr(docker, "pull", lambda *args, **kwargs: iter([{"wait": unblock.wait(20)}]))

    async def scenario() -> None:
        # More than there are threads for quick calls.
        hung = [spawner(f"bob{number}") for number in range(20)]
        for each in hung:
            await each.start()
        slow = [asyncio.ensure_future(each.stop_object()) for each in hung]
        slow += [asyncio.ensure_future(hung[0].docker("pull", "x/large", "1")) for _ in range(20)]
        try:
            await asyncio.wait_for(spawner("alice").start(), timeout=5)
            assert not any(each.done() for each in slow)
        finally:
            unblock.set()
            await asyncio.gather(*slow)

    asyncio.run(scenario())


def test_pull_is_reported_in_percent(docker: FakeDocker) -> None:
    docker.images.clear()
    layer = {"id": "a", "status": "Downloading", "progressDetail": {"current": 1, "total": 4}}
    docker.pulled = [layer, layer, {"id": "a", "status": "Pull complete"}]
    mine = spawner(pull_policy="ifnotpresent")
    run(mine.start)
    assert events_of(mine)[:2] == [(16, "Fetching the environment: 12 %"), (60, "Fetching the environment: 100 %")]


def test_pull_that_fails_halfway(docker: FakeDocker) -> None:
    docker.images.clear()
    docker.pulled = [{"status": "Pulling"}, {"error": "unexpected EOF", "errorDetail": {}}]
    with pytest.raises(SpawnError) as error:
        run(spawner(pull_policy="ifnotpresent").start)
    assert "could not be fetched" in error.value.jupyterhub_message
    assert "unexpected EOF" in error.value.log_message
    assert not docker.containers


@pytest.mark.parametrize(
    "reference", ["ghcr.io/x/lab@sha256:" + "0" * 64, "ghcr.io:443/x/lab:1@sha256:" + "0" * 64], ids=["bare", "tagged"]
)
def test_a_pull_by_digest(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(docker, "pull", lambda *args, **_: iter(asked.append(args) or []))  # type: ignore[func-returns-value]
    docker.images.clear()
    run(lambda: spawner(pull_policy="ifnotpresent").pull_image(reference))
    name = reference.partition("@")[0].removesuffix(":1")
    assert asked == [(name, "sha256:" + "0" * 64)]


def test_a_pull_that_takes_too_long(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    unblock = threading.Event()
    monkeypatch.setattr(docker, "pull", lambda *args, **kwargs: iter([{"wait": unblock.wait(5)}]))
    monkeypatch.setattr("jupyterhub_ansible.spawner.containers.PULL_TIMEOUT_S", 0.1)
    docker.images.clear()
    try:
        with pytest.raises(SpawnError, match="pulling x/large:1 was given up"):
            run(lambda: spawner(pull_policy="ifnotpresent").pull_image("x/large:1"))
    finally:
        unblock.set()
