"""What servers use now: computed as `docker stats` does, asked rarely, and never waited for long."""

import asyncio
import gc
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from docker.errors import NotFound
from jupyterhub_ansible.spawner import usage
from jupyterhub_ansible.spawner.usage import Meter, Usage

MB = 1024**2


class Engine:
    """Containers that keep half a processor busy, by the engine's own clock."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = datetime(2026, 11, 28, tzinfo=UTC)

    def stats(self, container: str) -> dict[str, Any]:
        self.asked.append(container)
        self.now += timedelta(seconds=10)
        return {
            # With nanoseconds, as the engine writes it.
            "read": f"{self.now:%Y-%m-%dT%H:%M:%S}.123456789Z",
            "cpu_stats": {"cpu_usage": {"total_usage": int(self.now.timestamp() * 5e8)}},
            "memory_stats": {"usage": 300 * MB, "limit": 1024 * MB, "stats": {"inactive_file": 100 * MB}},
        }


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PAUSE_S", 0)


HALF = Usage(200 * MB, 1024 * MB, 0.5)


def test_the_engine_is_asked_once_for_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, meter = Engine(), Meter()

    async def scenario() -> None:
        pages = await asyncio.gather(*(meter.usage(["a"], engine.stats) for _ in range(5)))
        assert pages == [{"a": HALF}] * 5
        # Two samples, as there was no earlier one.
        assert engine.asked == ["a", "a"]
        assert await meter.usage(["a"], engine.stats) == {"a": HALF}
        assert engine.asked == ["a", "a"]
        monkeypatch.setattr(usage, "FRESH_S", 0)
        await meter.usage(["a"], engine.stats)
        assert engine.asked == ["a", "a", "a"]

    asyncio.run(scenario())


def test_slow_engine_delays_no_page_and_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PATIENCE_S", 0.05)
    engine, meter, answers = Engine(), Meter(), threading.Event()

    def slow(container: str) -> Any:
        stats = engine.stats(container)
        if container == "slow":
            answers.wait(10)
        return stats

    async def scenario() -> None:
        assert await meter.usage(["slow", "quick"], slow) == {"quick": HALF}
        assert await meter.usage(["slow"], slow) == {}
        assert engine.asked.count("slow") == 1
        answers.set()
        monkeypatch.setattr(usage, "PATIENCE_S", 10)
        assert "slow" in await meter.usage(["slow"], slow)

    asyncio.run(scenario())


def failing(error: Exception) -> Callable[[str], Any]:
    def stats(_: str) -> Any:
        raise error

    return stats


@pytest.mark.parametrize(
    "ask",
    [
        failing(NotFound("gone")),
        failing(requests.ConnectionError("refused")),
        # As of a container that has just ended.
        lambda _: {"read": "0001-01-01T00:00:00Z", "cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}},
        lambda _: {},
    ],
)
def test_server_that_cannot_be_measured_has_no_numbers(ask: Any, caplog: pytest.LogCaptureFixture) -> None:
    meter = Meter()
    assert asyncio.run(meter.usage(["a"], ask)) == {}
    assert not meter._measuring
    # A task's error that nobody looked at is logged when the task goes.
    gc.collect()
    assert not caplog.records


def test_what_is_known_of_ended_servers_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, meter = Engine(), Meter()
    asyncio.run(meter.usage(["a"], engine.stats))
    monkeypatch.setattr(usage, "BASIS_S", 0)
    asyncio.run(meter.usage([], engine.stats))
    assert not meter._known
