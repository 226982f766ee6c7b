"""Recovery: why a server ended, and what the last Hub left behind."""

import asyncio
import logging
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from docker.errors import APIError
from fake_spawner import PROXY, FakeDocker, ended_server, run, running_server, spawner
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.spawner import errors


def test_a_dead_server_is_logged_and_removed(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=3)
    docker.log = b"x" * 200_000 + b"\n\x1b[2J\x1b]0;owned\x07\nthe last words\n"
    assert "ExitCode=3" in run(mine.poll)
    assert "\n\\x1b[2J\\x1b]0;owned\\x07\nthe last words" in caplog.text
    assert len(caplog.text) < 3_000
    assert not docker.containers


@pytest.mark.parametrize(
    "silence", [requests.ConnectionError("refused"), APIError("500", response=Mock(status_code=500))]
)
def test_a_server_is_not_taken_for_dead_while_docker_is(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, silence: Exception
) -> None:
    mine = running_server(docker)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=silence))
    assert run(mine.poll) is None


def test_a_server_that_was_starting_when_the_hub_ended_is_taken_over(docker: FakeDocker) -> None:
    run(spawner().start)
    docker.containers["jh-user-alice"]["Config"]["Env"] = ["A=B", "JUPYTERHUB_API_TOKEN=t=1"]
    successor = spawner()
    assert run(successor.poll) is None
    assert run(successor.get_url) == "http://127.0.0.1:8888/user/alice/"
    assert successor.api_token == "t=1"
    assert successor.orm_spawner.state["object_id"] == docker.containers["jh-user-alice"]["Id"]


def test_server_removed_during_takeover_does_not_stop_the_hub(docker: FakeDocker) -> None:
    successor = spawner()
    successor.server.url = "http://127.0.0.1:8888/user/alice/"
    assert run(successor.get_url) == successor.server.url


@pytest.mark.parametrize(
    ("at_start", "kinds"), [(True, ["user-server", "homes", "user-probe"]), (False, ["user-server"])]
)
def test_helpers_of_the_last_hub_are_removed_at_the_start(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, at_start: bool, kinds: list[str]
) -> None:
    async def remove(call: Any, project: str, kind: str, known: Any, log: Any) -> list[str]:
        return [kind]

    monkeypatch.setattr("jupyterhub_ansible.spawner.orphans.remove", remove)
    assert run(lambda: spawner().remove_orphans({}, at_start)) == kinds


@pytest.mark.parametrize("what", ["logs", "stop", "remove_container"])
def test_ended_server_is_cleaned_up_even_if_docker_refuses_something(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    mine = ended_server(docker, ExitCode=3)
    monkeypatch.setattr(docker, what, Mock(side_effect=APIError("refused", response=Mock(status_code=500))))
    assert "ExitCode=3" in run(mine.poll)
    assert "cannot be re" in caplog.text
    assert bool(docker.containers) == (what != "logs")


def test_a_container_that_an_administrator_restarts_is_not_removed(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = ended_server(docker, ExitCode=0)
    monkeypatch.setattr("jupyterhub_ansible.spawner.recovery._RESTART_S", 0.3)
    docker.stop("jh-user-alice")

    async def scenario() -> Any:
        looking = asyncio.create_task(mine.poll())
        await asyncio.sleep(0.1)
        # It has no route meanwhile.
        assert PROXY.routes == {}
        docker.start("jh-user-alice")
        return await looking

    assert run(scenario) is None
    assert (mine.ended, PROXY.routes) == ("", {mine.proxy_spec: "127.0.0.1"})


def test_reason_for_the_end_is_kept_until_the_next_start(docker: FakeDocker) -> None:
    mine = ended_server(docker, ExitCode=137, OOMKilled=True)
    run(mine.poll)
    mine.clear_state()
    # JupyterHub creates a new spawner from the stored state.
    successor = spawner()
    successor.load_state(mine.get_state())
    assert successor.ended.startswith("It ran out of memory: its limit is 64 MB. What it held")
    run(successor.start)
    assert successor.ended == ""
    assert "ended" not in successor.get_state()


def test_removed_container_is_the_reason_for_the_end(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.containers.clear()
    assert run(mine.poll) == 0
    assert (mine.ended, PROXY.routes) == (errors.REMOVED, {})


def test_failed_start_records_no_end(docker: FakeDocker) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=1)
    run(mine.poll)
    assert mine.ended == ""


def test_a_container_of_another_hub_is_not_the_one_that_was_started(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.stop("jh-user-alice")
    docker.remove_container("jh-user-alice", v=True)
    # The database was restored from a backup; a later Hub started this container.
    docker.create_container("x/base:1", labels("jh", "user-server", "alice", ""), "jh-user-alice")
    docker.start("jh-user-alice")
    assert run(mine.poll) == 0
    assert docker.containers["jh-user-alice"]["State"]["Running"]
    assert PROXY.routes == {}
