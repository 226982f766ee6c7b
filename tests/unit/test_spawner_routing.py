"""Routing: a server's address is verified before its route is used, and repaired."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from docker.errors import NotFound
from fake_spawner import PROXY, FakeDocker, ended_server, run, running_server, same_hub, spawner
from jupyterhub_ansible.audit import context


def test_disconnected_server_is_reconnected(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    # Not at once (except while the Hub starts), because a deployment may be reconnecting it.
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] == {}
    # No route to an address that may be another server's.
    assert PROXY.routes == {}
    # Events may cause another poll immediately.
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] == {}
    mine._missing -= 25
    assert run(mine.poll) is None
    networks = docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]
    assert mine.server.ip == networks["users"]["IPAddress"] == "127.0.0.1"
    assert PROXY.routes == {mine.proxy_spec: "127.0.0.1"}


def test_reconnected_server_gets_another_address_if_its_own_is_taken(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    docker.elsewhere["127.0.0.1"] = "a probe"
    run(mine.poll)
    mine._missing -= 25
    run(mine.poll)
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.2", {mine.proxy_spec: "127.0.0.2"})
    mine.db.commit.assert_called_once()


def test_starting_hub_reconnects_a_server_at_once(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    mine._check_pending = True
    assert run(mine.poll) is None
    assert mine.server.ip == docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"]


def test_a_hub_that_starts_before_the_proxy_waits_for_it(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    mine._check_pending = True
    monkeypatch.setattr("jupyterhub_ansible.spawner.addressing.ROUTE_TIMEOUT_S", 0.1)
    routes, pauses = PROXY.get_all_routes, [0.3]

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(pauses.pop() if pauses else 0)
        return await routes()

    monkeypatch.setattr(PROXY, "get_all_routes", slow)
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] == "127.0.0.1"


def test_changed_address_is_updated(docker: FakeDocker) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.9", {mine.proxy_spec: "127.0.0.9"})
    mine.db.commit.assert_called_once()


def test_missing_proxy_does_not_block_address_updates(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running_server(docker)
    monkeypatch.setattr(PROXY, "add_user", Mock(side_effect=TimeoutError("30 s")))
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert mine.server.ip == "127.0.0.9"
    assert "cannot add its route: TimeoutError" in caplog.text


def test_server_moved_to_another_servers_address_is_moved_away(docker: FakeDocker) -> None:
    mine = running_server(docker)
    mine.addresses.keep("jh-user-bob", "127.0.0.9")
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert mine.server.ip == docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"]
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.1", {mine.proxy_spec: "127.0.0.1"})


def test_a_server_is_not_taken_for_dead_while_the_network_is_gone(
    docker: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    docker.networks = {}
    mine._check_pending = True
    assert run(mine.poll) is None
    assert "cannot be reconnected" in caplog.text
    assert mine.server.ip == "127.0.0.1"
    mine.db.commit.assert_not_called()


def test_reconnecting_server_is_not_taken_for_dead_while_docker_does_not_answer(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    monkeypatch.setattr(docker, "connect_container_to_network", Mock(side_effect=requests.ReadTimeout("60 s")))
    # JupyterHub would stop the server if this raised.
    mine._check_pending = True
    assert run(mine.poll) is None
    assert "cannot be reconnected: 60 s" in caplog.text


def test_route_is_removed_before_the_container(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running_server(docker)
    monkeypatch.setattr(docker, "stop", Mock(side_effect=lambda _: PROXY.routes.setdefault("too late", "")))
    monkeypatch.setattr(docker, "remove_container", Mock())
    run(mine.stop)
    assert PROXY.routes == {"too late": ""}


def test_route_of_an_ended_server_is_removed_first(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = ended_server(docker, ExitCode=0)
    monkeypatch.setattr(docker, "logs", Mock(side_effect=lambda *_, **__: f"routes: {PROXY.routes}".encode()))
    run(mine.poll)
    assert "routes: {}" in caplog.text


def test_server_location_comes_from_the_engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running_server(docker)
    assert run(mine.misplaced) == ""
    mine.server.ip = "127.0.0.9"
    assert "has 127.0.0.1, not 127.0.0.9" in run(mine.misplaced)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=requests.ConnectionError("refused")))
    assert "cannot be asked" in run(mine.misplaced)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=NotFound("no such container")))
    assert "is gone" in run(mine.misplaced)


def test_misplaced_servers_are_polled(docker: FakeDocker) -> None:
    mine = running_server(docker)
    mine.addresses.release("jh-user-alice")
    mine.poll_and_notify = Mock(side_effect=AssertionError)
    run(lambda: mine.locate([mine]))
    # A server that an older Hub started is now in the table.
    assert not mine.addresses.keep("jh-user-bob", "127.0.0.1")
    docker.stop("jh-user-alice")
    looked = []

    async def poll() -> None:
        looked.append("alice")

    mine.poll_and_notify = poll
    run(lambda: mine.locate([mine]))
    assert looked == ["alice"]


def test_ended_server_is_cleaned_up_after_a_failed_route_deletion(docker: FakeDocker) -> None:
    """Upstream drops callbacks before it calls them."""
    mine = ended_server(docker, ExitCode=0)
    stopped = []

    async def stop(server: str) -> None:
        stopped.append(server)
        mine._stop_pending = True

    mine.user.stop = stop
    assert mine._callbacks == []
    run(mine.poll_and_notify)
    assert stopped == [""]


def test_whoever_finds_a_server_ended_did_not_stop_it(docker: FakeDocker) -> None:
    mine = ended_server(docker, ExitCode=137)
    causes: list[tuple[str, str]] = []

    async def stop(_: str) -> None:
        causes.append((context.current().actor, context.current().by))

    mine.user.stop = stop

    async def requested() -> None:
        context.enter(
            SimpleNamespace(
                _jupyterhub_user=SimpleNamespace(name="vera", kind="user"), request=SimpleNamespace(remote_ip="")
            )
        )
        await mine.poll_and_notify()

    run(requested)
    assert causes == [("hub", context.ENDED)]


@pytest.mark.parametrize("when", ["containers", "inspect_container", "logs"])
def test_late_answer_about_an_old_server_does_not_stop_the_new_one(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """JupyterHub has replaced the spawner, and both have the new server, while the old one is still being polled."""
    mine = ended_server(docker, ExitCode=0)
    done: list[str] = []

    async def stop(server: str) -> None:
        done.append(server)

    mine.user.stop = stop
    mine.add_poll_callback(done.append, "told")

    def replaced(method: str, *_: Any, **__: Any) -> Any:
        if method == when:
            successor = spawner()
            mine.user.spawners[""] = successor
            mine.in_the_database = successor.in_the_database = SimpleNamespace(base_url="/user/alice/", ip="127.0.0.9")
            PROXY.routes = {mine.proxy_spec: "127.0.0.9"}
        return call(method, *_, **__)

    call = mine._docker
    mine._docker = replaced
    run(lambda: mine.locate([mine]))
    assert (done, PROXY.routes) == ([], {mine.proxy_spec: "127.0.0.9"})
    assert mine.server.ip == "127.0.0.9"


def test_lost_servers_are_polled_concurrently(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    """A poll that hangs or fails does not block others."""
    members = [spawner(f"user{number}") for number in range(3)]
    same_hub(*members)
    slow, failing, last = members
    hung = asyncio.Event()

    async def unhang() -> None:
        hung.set()

    last.poll_and_notify = unhang
    slow.poll_and_notify, failing.poll_and_notify = hung.wait, Mock(side_effect=ValueError("unforeseen"))
    slow.log = logging.getLogger("spawner")
    run(lambda: asyncio.wait_for(slow.locate(members), 5))
    assert "unforeseen" in caplog.text


def test_route_is_removed_if_a_start_by_the_api_finds_the_server_ended(docker: FakeDocker) -> None:
    mine = ended_server(docker, ExitCode=0)
    # As the API marks it; a start under way also has a future.
    mine._spawn_pending = True
    run(mine.poll)
    assert PROXY.routes == {}


@pytest.mark.parametrize("first", [None, ValueError("unforeseen")])
def test_event_during_a_poll_causes_another_poll(
    docker: FakeDocker, first: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also for concurrent callers: for JupyterHub, None means that it runs, and cannot be started."""
    mine = running_server(docker)
    looks: list[int] = []
    asked: list[asyncio.Task[Any]] = []

    async def poll() -> int | None:
        looks.append(len(looks))
        if len(looks) == 1:
            # An event, from Docker's thread.
            asked.append(asyncio.create_task(mine.poll_and_notify()))
            await asyncio.sleep(0)
            if first:
                raise first
            return None
        return 3

    async def both() -> list[Any]:
        return [await mine.poll_and_notify(), await asked[0], mine._polling]

    mine.poll = poll
    mine._stop_pending = True
    assert run(both) == [3, 3, None]
    assert looks == [0, 1]
    assert ("unforeseen" in caplog.text) == bool(first)


def test_poll_goes_on_if_its_caller_is_cancelled(docker: FakeDocker) -> None:
    mine = ended_server(docker, ExitCode=3)
    mine._stop_pending = True

    async def scenario() -> Any:
        leaving = asyncio.create_task(mine.poll_and_notify())
        await asyncio.sleep(0)
        leaving.cancel()
        return await mine.poll_and_notify()

    assert "ExitCode=3" in run(scenario)


def test_hubs_own_removal_is_not_the_reason_for_the_end(docker: FakeDocker) -> None:
    mine = ended_server(docker, ExitCode=0)
    mine.remove = False
    run(mine.poll)
    docker.containers.clear()
    assert run(mine.poll) == 0
    assert "was shut down" in mine.ended


@pytest.mark.parametrize("traits", [{"use_internal_ip": False}, {"use_internal_hostname": True}])
def test_servers_that_are_reached_by_a_port_or_a_name_only_have_to_run(
    docker: FakeDocker, traits: dict[str, bool]
) -> None:
    mine = running_server(docker)
    mine.set_trait("use_internal_ip", traits.get("use_internal_ip", True))
    mine.set_trait("use_internal_hostname", traits.get("use_internal_hostname", False))
    mine.server.ip = "elsewhere"
    assert run(mine.misplaced) == ""
    docker.stop("jh-user-alice")
    assert "is not running" in run(mine.misplaced)
