"""What the Hub does beside JupyterHub's own start."""

import asyncio
import logging
from typing import Any
from unittest.mock import AsyncMock, Mock

import jupyterhub_ansible.hub
import pytest
import requests
from jupyterhub import app
from jupyterhub_ansible.hub import JupyterHub
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
