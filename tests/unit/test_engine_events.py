"""Docker's events, from a stand-in: which concern a user's server, and how a broken connection is handled."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from jupyterhub_ansible.engine.events import Events, container_of
from jupyterhub_ansible.engine.labels import labels

SERVER = {
    "Type": "container",
    "Action": "die",
    "Actor": {"ID": "1", "Attributes": labels("jh", "user-server", "a", "")},
}


@pytest.mark.parametrize(
    ("event", "container"),
    [
        (SERVER, "1"),
        (
            {"Type": "network", "Action": "disconnect", "Actor": {"Attributes": {"name": "users", "container": "2"}}},
            "2",
        ),
        ({"Type": "network", "Action": "connect", "Actor": {"Attributes": {"name": "other", "container": "2"}}}, ""),
        ({**SERVER, "Actor": {"ID": "1", "Attributes": labels("other", "user-server", "a", "")}}, ""),
        ({**SERVER, "Actor": {"ID": "1", "Attributes": labels("jh", "probe", "", "")}}, ""),
        ({"Type": "container"}, ""),
    ],
)
def test_container_of_an_event(event: dict[str, Any], container: str) -> None:
    assert container_of(event, "jh", "users") == container


class Engine:
    """A client with the given streams of events, after which the thread ends."""

    def __init__(self, *streams: list[Any] | Exception) -> None:
        self.streams = list(streams)
        self.asked: list[Any] = []
        self.closed = 0

    def events(self, **options: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(options)
        stream = self.streams.pop(0)
        if isinstance(stream, Exception):
            raise stream
        return self._told(stream)

    def _told(self, stream: list[Any]) -> Iterator[dict[str, Any]]:
        for event in stream:
            if isinstance(event, Exception):
                raise event
            yield event

    def close(self) -> None:
        self.closed += 1


def followed(engine: Engine) -> tuple[list[str | None], list[float]]:
    """Return the notifications, and the delays before each new connection."""
    told: list[str | None] = []
    waited: list[float] = []

    def tell(container: str | None) -> None:
        told.append(container)

    events = Events(lambda: engine, "jh", "users", tell, logging.getLogger("events"))

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if not engine.streams:
            raise SystemExit

    events._wait = wait
    with pytest.raises(SystemExit):
        events.run()
    return told, waited


def test_all_servers_are_checked_after_each_connection() -> None:
    engine = Engine([SERVER, {"Type": "container"}], [requests.ConnectionError("gone")], [SERVER])
    told, _ = followed(engine)
    assert told == [None, "1", None, None, "1"]
    assert engine.closed == 3


def test_retries_back_off(caplog: pytest.LogCaptureFixture) -> None:
    refused = [requests.ConnectionError("refused")] * 8
    told, waited = followed(Engine(*refused, [SERVER], []))
    assert waited[:9] == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5]
    assert told == [None, "1", None]
    assert "cannot be followed: refused" in caplog.text


def test_unexpected_error_does_not_end_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    told, _ = followed(Engine([ValueError("not JSON")], [SERVER]))
    assert told == [None, None, "1"]
    assert "not JSON" in caplog.text
