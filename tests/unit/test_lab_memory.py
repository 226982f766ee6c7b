"""Kernels that died for memory, and only those, are reported."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_lab import memory


@pytest.mark.parametrize(
    ("name", "text", "count"),
    [
        ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n", 2),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", 1),
        # Before Linux 4.13.
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", 0),
        ("another", "oom_kill 7", 0),
    ],
)
def test_the_counter_of_either_cgroup_version(tmp_path: Path, name: str, text: str, count: int) -> None:
    (tmp_path / name).write_text(text)
    assert memory.kills((tmp_path / "memory.events", tmp_path / "memory.oom_control")) == count


class Server:
    """Jupyter's manager of kernels and its events."""

    def __init__(self) -> None:
        self.kills = 5
        self.status: int | None = None
        self.callbacks: dict[str, list[Callable[[], None]]] = {"restart": [], "dead": []}
        self.said: list[dict[str, Any]] = []
        self.register_event_schema = lambda schema: None
        environ = {"MEM_LIMIT": str(1536 * 1024**2)}
        memory.Watch(self, self, environ, lambda: self.kills).install()

    async def start_kernel(self, kernel_id: str = "k") -> str:
        return kernel_id

    def add_restart_callback(self, kernel_id: str, callback: Callable[[], None], event: str) -> None:
        self.callbacks[event].append(callback)

    def get_kernel(self, kernel_id: str) -> Any:
        return SimpleNamespace(provisioner=SimpleNamespace(process=SimpleNamespace(returncode=self.status)))

    def emit(self, *, schema_id: str, data: dict[str, Any]) -> None:
        assert schema_id == memory.EVENT
        self.said.append(data)

    def dies(self, status: int, kills: int, event: str = "restart") -> list[dict[str, Any]]:
        self.status, self.said = status, []
        self.kills += kills
        for callback in self.callbacks[event]:
            callback()
        return self.said


@pytest.fixture
def server() -> Server:
    server = Server()
    assert asyncio.run(server.start_kernel("k")) == "k"
    return server


def test_a_kernel_that_was_killed_for_memory(server: Server) -> None:
    told = [{"kernel_id": "k", "limit_mb": 1536}]
    assert server.dies(-9, kills=1) == told
    # By its own `exec`ing shell, and for good.
    assert server.dies(137, kills=2, event="dead") == told


@pytest.mark.parametrize(("status", "kills"), [(-9, 0), (-11, 1), (1, 1), (0, 0)])
def test_another_end_is_not_reported(server: Server, status: int, kills: int) -> None:
    assert server.dies(status, kills) == []


def test_an_earlier_kill_does_not_count(server: Server) -> None:
    server.dies(-9, kills=1)
    assert server.dies(-9, kills=0) == []


def test_several_kernels_die_at_once(server: Server) -> None:
    asyncio.run(server.start_kernel("second"))
    # Another session that uses the same kernel.
    asyncio.run(server.start_kernel("k"))
    assert [each["kernel_id"] for each in server.dies(-9, kills=1)] == ["k", "second"]
