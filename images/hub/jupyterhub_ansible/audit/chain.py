"""The trail's files: lines of JSON, each with its number and the hash of the line before.

A file is named after the number of its first line, so nothing is renamed when a new one begins.  Only the standard
library is used: the recorder imports this, and should stay small.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path("/srv/audit")
SOCKET = FOLDER / "recorder.sock"
FILES = 8
"""How many files are kept; when a new one begins, the oldest is removed."""
_NO_LINE = "0" * 64


@dataclass(frozen=True)
class Position:
    """The number and the hash of a line; those of a trail without lines by default."""

    number: int = 0
    hash: str = _NO_LINE


def digest(line: bytes) -> str:
    """Return the hash of a line, without its line break."""
    return hashlib.sha256(line).hexdigest()


def linked(before: Position, recorded: str, fields: Mapping[str, Any]) -> tuple[bytes, Position]:
    """Return the next line, without its line break, and its position.

    Args:
        before: the position of the line before.
        recorded: when it is written.
        fields: what it says.
    """
    line = {"number": before.number + 1, "recorded": recorded, "before": before.hash, **fields}
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
    return text, Position(before.number + 1, digest(text))


def files(folder: Path) -> list[Path]:
    """Return the files of a trail, oldest first."""
    return sorted(folder.glob("[0-9]*.jsonl"))


def file_of(folder: Path, number: int) -> Path:
    """Return the file that begins with this line."""
    return folder / f"{number:012d}.jsonl"


def last_lines(path: Path, most: int) -> list[bytes]:
    """Return the whole lines among the last `most` bytes of a file, without line breaks."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        # One byte more shows whether the first line is whole.
        start = max(0, size - most - 1)
        file.seek(start)
        text = file.read(most + 1)
    lines = text.split(b"\n")
    return lines[1 if start else 0 : -1]


@dataclass
class Verdict:
    """What a check found."""

    first: int = 0
    last: Position = field(default_factory=Position)
    problems: list[str] = field(default_factory=list)


def _lines(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in files(folder):
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield path, line[:-1]


def _missing(first: int, last: int) -> str:
    return f"line {first} is missing" if first == last else f"lines {first} to {last} are missing"


def verified(folder: Path, anchors: Mapping[int, str]) -> Verdict:
    """Check that no line was removed, added, moved or edited.

    Args:
        folder: the trail's.
        anchors: hashes of lines by number, known from elsewhere: without one, lines missing at the end cannot be seen.
    """
    found = Verdict()
    for path, line in _lines(folder):
        try:
            fields = json.loads(line)
            number, before = int(fields["number"]), str(fields["before"])
        except (ValueError, TypeError, KeyError):
            found.problems.append(f"{path.name}: the line after line {found.last.number} is not one of the trail's")
            continue
        last = found.last
        if not found.first:
            found.first = number
        elif number != last.number + 1:
            is_later = number > last.number
            found.problems.append(
                _missing(last.number + 1, number - 1) if is_later else f"line {number} is not in its place"
            )
        elif before != last.hash:
            found.problems.append(f"line {last.number} was edited")
        hashed = digest(line)
        if anchors.get(number, hashed) != hashed:
            found.problems.append(f"line {number} was edited: its hash is not the one that was noted")
        found.last = Position(number, hashed)
    if found.first > 1 and len(files(folder)) < FILES:
        found.problems.append(_missing(1, found.first - 1))
    if anchors and (end := max(anchors)) > found.last.number:
        found.problems.append(f"{_missing(found.last.number + 1, end)} at the end")
    return found
