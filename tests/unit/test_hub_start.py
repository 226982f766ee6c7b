"""What the Hub does beside JupyterHub's own start."""

import asyncio
import logging
from typing import Any
from unittest.mock import AsyncMock, Mock

import jupyterhub_ansible.hub
import pytest
import requests
from jupyterhub import app
from jupyterhub_ansible import safety
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.hub import JupyterHub, prepared
from jupyterhub_ansible.spawner import UserServerSpawner


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub whose own start does nothing."""
    monkeypatch.setattr(app.JupyterHub, "start", AsyncMock())
    monkeypatch.setattr(jupyterhub_ansible.hub, "LOOK_AGAIN_S", 0)
    hub = JupyterHub(spawner_class=UserServerSpawner)
    hub.http_server, hub.tornado_settings = Mock(), {"log": logging.getLogger("hub")}
    return hub


def started(hub: Any) -> None:
    async def scenario() -> None:
        await hub.start()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(scenario())


def test_left_over_containers_are_looked_for(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = AsyncMock(side_effect=[None, None, asyncio.CancelledError])
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", looked)
    started(hub)
    # Those of archives at the start only.
    assert [call.args for call in looked.await_args_list] == [(hub.users, True), (hub.users, False), (hub.users, False)]


def test_a_subcommand_is_no_hub(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = AsyncMock()
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", looked)
    hub.http_server = None
    started(hub)
    looked.assert_not_awaited()


def test_a_hub_starts_without_docker(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.log = logging.getLogger("hub")
    silent = AsyncMock(side_effect=[requests.ConnectionError("refused"), asyncio.CancelledError])
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", silent)
    started(hub)
    assert "were not looked for: refused" in caplog.text


def test_its_configuration_and_its_log_are_jupyterhub_s() -> None:
    assert JupyterHub.__name__ == app.JupyterHub.__name__


# --- as a Compose application


@pytest.fixture
def keeper(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What keeps things around that Hub."""
    monkeypatch.setattr(jupyterhub_ansible.hub, "KEEP_S", 0)
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", AsyncMock(side_effect=asyncio.CancelledError))
    hub.keeper, hub.log = Mock(), logging.getLogger("hub")
    hub.proxy, hub._service_map = Mock(check_routes=AsyncMock()), {}
    return hub.keeper


def test_a_new_proxy_gets_its_routes_at_once(hub: Any, keeper: Any) -> None:
    keeper.look.side_effect = [False, True, False, asyncio.CancelledError]
    started(hub)
    hub.proxy.check_routes.assert_awaited_once_with(hub.users, hub._service_map)


def test_what_is_around_the_hub_is_looked_at_again_whatever_happened(
    hub: Any, keeper: Any, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.look.side_effect = [OSError("no disk"), True, True, asyncio.CancelledError]
    hub.proxy.check_routes.side_effect = [OSError("no proxy"), None]
    started(hub)
    assert keeper.look.call_count == 4
    assert caplog.text.count("What is around the Hub was not looked at") == 2
    assert "no disk" in caplog.text
    assert "no proxy" in caplog.text


def test_old_images_are_looked_for(
    hub: Any, keeper: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.look.side_effect = asyncio.CancelledError
    silent = requests.ConnectionError("refused")
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", AsyncMock(side_effect=[None, silent, silent]))
    keeper.remove_old_images.side_effect = [silent, None, asyncio.CancelledError]
    started(hub)
    assert keeper.remove_old_images.call_count == 3
    assert "Old images were not looked for: refused" in caplog.text


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The class of keepers, and the spawner's check before a start, put back afterwards."""
    made = Mock()
    monkeypatch.setattr(jupyterhub_ansible.hub, "Keeper", made)
    monkeypatch.setattr(UserServerSpawner, "before_start", None)
    return made


def test_no_server_starts_without_asking_the_keeper(made: Mock) -> None:
    settings, keeper = Mock(), Mock()
    made.return_value = keeper
    assert prepared(settings) == keeper
    assert made.call_args.args[0] is settings
    keeper.prepare.assert_called_once_with()
    assert UserServerSpawner.before_start is keeper.before_start


def test_a_hub_that_ansible_deploys_keeps_nothing_but_looks_out(made: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JupyterHub, "lookout", None)
    assert prepared(Mock(compose=None, hub=Mock(connect_url="http://10.213.0.2:8081"))) is None
    made.assert_not_called()
    assert UserServerSpawner.before_start is safety.before_start
    assert JupyterHub.lookout
    assert JupyterHub.lookout.address == "10.213.0.1"


def test_whether_the_fence_is_in_force_is_looked_at_again_and_again(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(UserServerSpawner, "remove_leftovers", AsyncMock(side_effect=asyncio.CancelledError))
    monkeypatch.setattr(safety, "LOOK_S", 0)
    hub.log = logging.getLogger("hub")
    hub.lookout = Mock(look=Mock(side_effect=[None, "it is not", OSError("no disk"), asyncio.CancelledError]))
    started(hub)
    assert hub.lookout.look.call_count == 4
    assert "it is not" in caplog.text


@pytest.mark.parametrize("where", ["making", "preparing"])
def test_without_docker_a_hub_of_compose_says_so(made: Mock, where: str) -> None:
    failing = made if where == "making" else made.return_value.prepare
    failing.side_effect = requests.ConnectionError("refused")
    with pytest.raises(ComposeError, match="Docker does not answer as it should: refused"):
        prepared(Mock())
    assert UserServerSpawner.before_start is None
