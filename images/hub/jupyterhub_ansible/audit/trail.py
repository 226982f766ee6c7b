"""The trail as administrators read it: newest first, searched backwards in steps, never as a whole."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from . import chain

PAGE = 50
"""Events on a page."""
LOOKED_AT = 32 * 1024**2
"""Bytes that one search reads; it can be continued."""
_BLOCK = 256 * 1024
_RECENT = 2 * 1024**2


@dataclass(frozen=True)
class Place:
    """A place between two lines: the number in the name of the file, and bytes from its start; -1 for its end."""

    file: int
    offset: int

    def __str__(self) -> str:
        return f"{self.file}-{self.offset}"


def place(text: str) -> Place | None:
    """Return the place that `str` of one has given; None for anything else."""
    file, _, offset = text.partition("-")
    return Place(int(file), int(offset)) if file.isdecimal() and offset.isdecimal() and len(text) < 40 else None


@dataclass(frozen=True)
class Query:
    """What is looked for; "" for anything."""

    person: str = ""
    """Who did it, or to whom or whose server it was done."""
    event: str = ""
    text: str = ""
    """Anywhere in the line; upper and lower case are the same."""

    def matches(self, line: bytes) -> dict[str, Any] | None:
        """Return the event of a line, if it is one that is looked for."""
        # First, since reading JSON takes ten times as long.
        for word in (self.person, self.event):
            if word and word.encode() not in line:
                return None
        if self.text and self.text.casefold() not in line.decode(errors="replace").casefold():
            return None
        try:
            event: dict[str, Any] = json.loads(line)
            who = {event["actor"], event["target"], event["target"].partition("/")[0]}
            found = (not self.person or self.person in who) and (not self.event or self.event == event["event"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return event if found else None


@dataclass
class Found:
    """Events, newest first, and where to continue."""

    events: list[dict[str, Any]] = field(default_factory=list)
    older: Place | None = None
    """None at the beginning of the trail."""


def search(folder: Path, query: Query, start: Place | None = None) -> Found:
    """Return a page of events, from a place on backwards, or from the end of the trail."""
    found, read = Found(), 0
    for at, line in _backwards(folder, start):
        read += len(line)
        if event := query.matches(line):
            found.events.append(event)
        if len(found.events) == PAGE or read > LOOKED_AT:
            found.older = at
            break
    return found


def _backwards(folder: Path, start: Place | None) -> Iterator[tuple[Place, bytes]]:
    """Yield each line with the place before it."""
    for path in reversed(chain.files(folder)):
        number = int(path.stem)
        if start and number > start.file:
            continue
        end = start.offset if start and number == start.file else -1
        try:
            with path.open("rb") as file:
                for offset, line in _lines(file, end):
                    yield Place(number, offset), line
        except FileNotFoundError:
            # The recorder has just removed the oldest one.
            return


def _lines(file: Any, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the whole lines before a place, last first, with their offsets."""
    size = file.seek(0, os.SEEK_END)
    at, tail, began = size if end < 0 else min(end, size), b"", False
    while at:
        step = min(_BLOCK, at)
        at -= step
        file.seek(at)
        first, *lines = (file.read(step) + tail).split(b"\n")
        if lines and not began:
            # After the last line break there is nothing, or a line that is just being written.
            lines.pop()
            began = True
        offsets = accumulate((len(line) + 1 for line in lines[:-1]), initial=at + len(first) + 1)
        yield from reversed(list(zip(offsets, lines, strict=False)))
        tail = first
    if began:
        yield 0, tail


def recent(folder: Path) -> list[dict[str, Any]]:
    """Return the events at the end of the trail, oldest first."""
    found = []
    for path in chain.files(folder)[-2:]:
        for line in chain.last_lines(path, _RECENT):
            if event := Query().matches(line):
                found.append(event)
    return found
