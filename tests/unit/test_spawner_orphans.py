"""Orphans: containers without a server of the Hub."""

import asyncio
import logging
from typing import Any
from unittest.mock import Mock

import pytest
from docker.errors import APIError
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.spawner import orphans

LOG = logging.getLogger("leftovers")


class FakeDocker:
    """Answers like docker.APIClient, as awaitables."""

    def __init__(self, **servers: tuple[str, str]) -> None:
        self.servers = servers
        self.calls: list[tuple[str, Any]] = []
        self.wanted: Any = None

    async def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        if method == "containers":
            self.wanted = options
            return [
                {"Id": name, "Names": [f"/{name}"], "Labels": labels("jh", "user-server", *who), "Status": "Up"}
                for name, who in self.servers.items()
            ]
        self.calls.append((method, arguments[0]))
        if arguments[0] == "stuck":
            raise APIError("500", response=Mock(status_code=500))
        return None


def test_orphans_are_removed(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker(known=("alice", ""), other=("alice", "second"), ghost=("ghost", ""))
    removed = asyncio.run(orphans.remove(docker, "jh", "user-server", lambda: {("alice", "")}, LOG))
    assert removed == ["other", "ghost"]
    assert docker.calls == [(call, name) for name in ("other", "ghost") for call in ("stop", "remove_container")]
    # Only of this Hub, including stopped ones.
    label = ["jupyterhub-ansible.project=jh", "jupyterhub-ansible.kind=user-server"]
    assert docker.wanted == {"all": True, "filters": {"label": label}}
    assert "Removing the container ghost" in caplog.text


def test_server_started_meanwhile_stays() -> None:
    docker = FakeDocker(first=("ann", ""), second=("ben", ""))
    answers = iter([set(), {("ben", "")}])
    assert asyncio.run(orphans.remove(docker, "jh", "user-server", lambda: next(answers), LOG)) == ["first"]


def test_failed_removal_does_not_stop_others(caplog: pytest.LogCaptureFixture) -> None:
    docker = FakeDocker(stuck=("ann", ""), free=("ben", ""))
    assert asyncio.run(orphans.remove(docker, "jh", "user-server", set, LOG)) == ["free"]
    assert "stuck cannot be removed" in caplog.text
