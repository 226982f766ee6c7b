"""No server starts while the network is unsafe, and the Hub is unhealthy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyterhub_ansible.rules import users_network
from jupyterhub_ansible.spawner import fence_check
from jupyterhub_ansible.spawner.errors import SpawnError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fence_check, "CLOSED", tmp_path / "closed")
    monkeypatch.setattr(fence_check, "UNSAFE", tmp_path / "unsafe")
    return tmp_path


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(fence_check, "_PORT", server.getsockname()[1])
        monkeypatch.setattr(fence_check, "_TIMEOUT_S", 0.2)
        yield server


@pytest.mark.parametrize("subnet", ["10.213.0.0/20", "192.168.7.0/24"])
def test_the_gateway_is_that_of_the_plan(subnet: str) -> None:
    plan = users_network.plan(subnet)
    assert fence_check.gateway(f"http://{plan.hub}:8081") == plan.gateway


def test_accepted_and_refused_connections_are_answers(listener: socket.socket) -> None:
    assert fence_check.answers("127.0.0.1")
    listener.close()
    assert fence_check.answers("127.0.0.1")


def test_timeout_is_not_an_answer(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    assert not fence_check.answers("127.0.0.1")


def test_lost_and_restored_fence_is_noticed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "unsafe").touch()
    fence_monitor = fence_check.FenceMonitor("10.213.0.1")
    assert not (folder / "unsafe").exists(), "what the Hub of before saw"
    found = {"open": False}
    monkeypatch.setattr(fence_check, "answers", lambda address: found["open"])
    assert fence_monitor.check() is None
    fence_check.check_before_start("an image")
    found["open"] = True
    said = fence_monitor.check()
    assert said
    assert "make deploy" in said
    assert (folder / "unsafe").exists(), "the health check asks for it"
    assert fence_monitor.check() is None, "said once"
    with pytest.raises(SpawnError) as error:
        fence_check.check_before_start("an image")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    found["open"] = False
    assert fence_monitor.check() == "The fence around the users' network is in force again"
    fence_check.check_before_start("an image")


def test_open_fence_found_by_a_proof_blocks_starts(folder: Path) -> None:
    (folder / "closed").write_text("another server could be reached; deploy again\n")
    with pytest.raises(SpawnError, match="deploy again"):
        fence_check.check_before_start("an image")
    (folder / "closed").unlink()
    fence_check.check_before_start("an image")


def test_images_health_check_tests_for_the_file() -> None:
    dockerfile = Path(__file__).parents[2] / "images/hub/Dockerfile"
    # A list, because a run executes it by `docker exec` (container_healthy).
    assert (
        'CMD ["sh", "-c", "healthcheck 8081 /hub/health && test ! -e /srv/jupyterhub/unsafe"]' in dockerfile.read_text()
    )
