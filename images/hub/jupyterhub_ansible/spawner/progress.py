"""Progress of a start for JupyterHub's pending page: its events, and how far a pull is."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

Event = dict[str, Any]

WAITING, PULLING, CREATING, STARTING, ANSWERING = 5, 10, 60, 70, 85
"""Percentage at which each phase begins; the Hub itself reports 100 when the route exists."""


class Progress:
    """The events of one start; any number of pages can follow it, each from the beginning."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._more = asyncio.Event()

    def say(self, percent: int, message: str) -> None:
        """Add an event, unless it repeats the last one.  Only for the event loop's thread."""
        event = {"progress": percent, "message": message}
        if self._events[-1:] != [event]:
            self._events.append(event)
            self._more.set()
            self._more = asyncio.Event()

    async def follow(self) -> AsyncIterator[Event]:
        """Yield all events; endless, the Hub stops it when the start is over (jupyterhub.utils.iterate_until)."""
        seen = 0
        while True:
            more = self._more
            for event in self._events[seen:]:
                seen += 1
                # A copy, because the Hub removes keys.
                yield dict(event)
            await more.wait()


class Layer(NamedTuple):
    """Bytes of an image layer: in total, downloaded, and extracted."""

    total: int
    loaded: int
    unpacked: int


class Pull:
    """How far a pull is, from Docker's event stream (`POST /images/create`)."""

    def __init__(self) -> None:
        self._layers: dict[str, Layer] = {}
        self._percent = 0

    def add(self, event: Mapping[str, Any]) -> int:
        """Process an event, and return the percentage done, which never decreases.

        Download and extraction of a layer count equally.
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
