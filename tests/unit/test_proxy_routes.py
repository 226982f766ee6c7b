"""Routes lead only to servers that exist."""

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
import requests
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub_ansible.proxy.routes import UserProxy
from jupyterhub_ansible.spawner.routing import RoutedSpawner


class Spawner(RoutedSpawner):
    """A spawner, as far as the proxy uses it."""

    def __init__(self, why: str, pending: str | None = None) -> None:
        self._state = SimpleNamespace(pending=pending)
        self.misplaced = AsyncMock(return_value=why)  # type: ignore[method-assign]
        self.looking = AsyncMock()
        self.locate = self.looking  # type: ignore[method-assign]

    pending = property(lambda self: self._state.pending)
    ready = property(lambda self: not self._state.pending)
    proxy_spec = "/user/alice/"
    _log_name = "alice"


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls of JupyterHub's own class."""
    calls = SimpleNamespace(add_user=AsyncMock(), delete_user=AsyncMock(), check_routes=AsyncMock())
    for name, call in vars(calls).items():
        monkeypatch.setattr(ConfigurableHTTPProxy, name, call)
    return calls


def user(mine: Any) -> Any:
    return SimpleNamespace(spawners={"": mine})


def test_running_server_gets_its_route(upstream: Any) -> None:
    asyncio.run(UserProxy().add_user(user(Spawner(""))))
    upstream.add_user.assert_awaited_once()


def test_starting_server_that_is_gone_is_stopped(upstream: Any) -> None:
    with pytest.raises(RuntimeError, match="its container is not running"):
        asyncio.run(UserProxy().add_user(user(Spawner("its container is not running", "spawn"))))
    upstream.add_user.assert_not_awaited()


def test_a_server_that_is_gone_does_not_keep_others_from_their_routes(
    upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.run(UserProxy().add_user(user(Spawner("its container is gone"))))
    upstream.add_user.assert_not_awaited()
    upstream.delete_user.assert_awaited_once()
    assert "alice gets no route: its container is gone" in caplog.text


def test_a_server_that_is_being_stopped_does_not_keep_others_from_their_routes(upstream: Any) -> None:
    asyncio.run(UserProxy().add_user(user(Spawner("its container is not running", "stop"))))
    upstream.add_user.assert_not_awaited()


def test_other_spawner_classes_are_left_to_jupyterhub(upstream: Any) -> None:
    asyncio.run(UserProxy().add_user(user(Mock())))
    upstream.add_user.assert_awaited_once()


def test_a_route_is_deleted_once(upstream: Any) -> None:
    """JupyterHub logs an error if it is gone already."""
    proxy, alice = UserProxy(), user(Spawner(""))

    async def scenario() -> None:
        await proxy.add_user(alice)
        for _ in range(2):
            await proxy.delete_user(alice)
        await proxy.add_user(alice)
        await proxy.delete_user(alice)

    asyncio.run(scenario())
    assert upstream.delete_user.await_count == 2


def test_a_route_that_could_not_be_deleted_is_deleted_the_next_time(upstream: Any) -> None:
    proxy, alice = UserProxy(), user(Spawner(""))
    upstream.delete_user.side_effect = [TimeoutError, None]
    with pytest.raises(TimeoutError):
        asyncio.run(proxy.delete_user(alice))
    asyncio.run(proxy.delete_user(alice))
    assert upstream.delete_user.await_count == 2


def test_route_added_during_its_deletion_can_be_deleted_again(upstream: Any) -> None:
    proxy, alice = UserProxy(), user(Spawner(""))

    async def made(*_: Any) -> None:
        await proxy.add_user(alice)

    upstream.delete_user.side_effect = made

    async def scenario() -> None:
        for _ in range(2):
            await proxy.delete_user(alice)

    asyncio.run(scenario())
    assert upstream.delete_user.await_count == 2


@pytest.mark.parametrize(("why", "change"), [("", "stop"), ("it is gone", "stop"), ("", "gone"), ("it is gone", "new")])
def test_a_server_that_ends_while_the_engine_is_asked_gets_no_route(upstream: Any, why: str, change: str) -> None:
    """JupyterHub's own class raises an exception, which stops a starting Hub."""
    mine = Spawner(why)
    alice = user(mine)

    async def misplaced() -> str:
        if change == "stop":
            mine._state.pending = "stop"
        else:
            alice.spawners = {"": Spawner("")} if change == "new" else {}
        return why

    mine.misplaced = misplaced  # type: ignore[method-assign]
    asyncio.run(UserProxy().add_user(alice))
    upstream.add_user.assert_not_awaited()
    upstream.delete_user.assert_not_awaited()


def test_servers_are_located_before_routes_are_compared(upstream: Any) -> None:
    first, second, starting = Spawner(""), Spawner(""), Spawner("", "spawn")
    users = {"a": user(first), "b": user(second), "c": user(starting)}
    first.looking.side_effect = lambda servers: upstream.check_routes.assert_not_awaited()
    asyncio.run(UserProxy().check_routes(users, {}))
    first.looking.assert_awaited_once_with([first, second])
    upstream.check_routes.assert_awaited_once()


def test_an_engine_that_does_not_answer_takes_no_route_away(upstream: Any, caplog: pytest.LogCaptureFixture) -> None:
    mine = Spawner("")
    mine.looking.side_effect = requests.ConnectionError("refused")
    asyncio.run(UserProxy().check_routes({"a": user(mine)}, {}))
    upstream.check_routes.assert_awaited_once()
    assert "cannot be asked where servers are: refused" in caplog.text


def test_fetch_routes_does_not_query_the_database(upstream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    routes = {"/user/alice/": {"target": "http://10.0.0.1:8888", "data": {"user": "alice", "server_name": ""}}}
    monkeypatch.setattr(ConfigurableHTTPProxy, "get_all_routes", AsyncMock(return_value=routes))
    monkeypatch.setattr(UserProxy, "_reports_activity", Mock(side_effect=AssertionError))
    assert asyncio.run(UserProxy().fetch_routes()) == routes


def test_server_s_route_has_the_name_of_its_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    added = AsyncMock()
    monkeypatch.setattr(ConfigurableHTTPProxy, "add_route", added)
    proxy, data = UserProxy(), {"user": "ann", "server_name": "gpu"}
    spawners = {"": None, "gpu": SimpleNamespace(oauth_client_id="jupyterhub-user-ann--gpu")}
    proxy.app = SimpleNamespace(users={"ann": SimpleNamespace(spawners=spawners)})
    asyncio.run(proxy.add_route("/user/ann/gpu/", "http://10.0.0.1:8888", data))
    asyncio.run(proxy.add_route("/services/mine/", "http://10.0.0.2:80", {"service": "mine"}))
    assert [call.args[2] for call in added.await_args_list] == [
        {**data, "cookie": "jupyterhub-user-ann--gpu"},
        {"service": "mine"},
    ]


def test_route_of_an_older_hub_is_added_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs: dict[str, Any] = {"user": "ann", "server_name": ""}
    data = {"/": {"hub": True}, "/user/ann/": theirs, "/user/ann/gpu/": {**theirs, "cookie": "x"}}
    routes = {spec: {"data": each} for spec, each in data.items()}
    monkeypatch.setattr(UserProxy, "fetch_routes", AsyncMock(return_value=routes))
    monkeypatch.setattr(UserProxy, "_reports_activity", Mock(return_value=True))
    assert set(asyncio.run(UserProxy().get_all_routes())) == {"/", "/user/ann/gpu/"}
