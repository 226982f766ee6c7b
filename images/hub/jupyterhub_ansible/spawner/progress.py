"""What the page that waits for a server shows: events of the start, and how far a pull is."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

Event = dict[str, Any]

WAITING, PULLING, CREATING, STARTING, ANSWERING = 5, 10, 60, 70, 85
"""Per cent of the bar at which each phase begins; 100 is the Hub's, when the server is in the proxy's table."""


class Progress:
    """The events of one start; several pages may follow it, each from the beginning."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._more = asyncio.Event()

    def say(self, percent: int, message: str) -> None:
        """Tell those that follow; what was said last is not said twice.  Only for the thread of the event loop."""
        event = {"progress": percent, "message": message}
        if self._events[-1:] != [event]:
            self._events.append(event)
            self._more.set()
            self._more = asyncio.Event()

    async def follow(self) -> AsyncIterator[Event]:
        """Yield all events, without an end: the Hub ends it with the start (jupyterhub.utils.iterate_until)."""
        seen = 0
        while True:
            more = self._more
            for event in self._events[seen:]:
                seen += 1
                # The Hub takes keys out of it.
                yield dict(event)
            await more.wait()


class Layer(NamedTuple):
    """Bytes of a layer of an image: how many there are, how many are here, how many are unpacked."""

    total: int
    loaded: int
    unpacked: int


class Pull:
    """How far a pull is, from what Docker tells while it pulls (`POST /images/create`)."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._percent = 0

    def add(self, event: Mapping[str, Any]) -> int:
        """Take in what Docker told, and return how much is done, in per cent; it never falls.

        A layer counts once for its transfer and once for its unpacking.
        """
        name, about = str(event.get("id", "")), event.get("status")
        detail = event.get("progressDetail") or {}
        now = self._layers.get(name, Layer(0, 0, 0))
        total = int(detail.get("total") or now.total)
        if about == "Downloading":
            self._layers[name] = Layer(total, int(detail.get("current", 0)), 0)
        elif about == "Extracting":
            self._layers[name] = Layer(total, total, min(total, int(detail.get("current", 0))))
        elif name in self._layers and about in ("Download complete", "Verifying Checksum"):
            self._layers[name] = Layer(total, total, now.unpacked)
        elif name in self._layers and about == "Pull complete":
            self._layers[name] = Layer(total, total, total)
        if whole := 2 * sum(layer.total for layer in self._layers.values()):
            done = sum(layer.loaded + layer.unpacked for layer in self._layers.values())
            self._percent = max(self._percent, 100 * done // whole)
        return self._percent
