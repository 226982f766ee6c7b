"""Results of runs, as files that the machine's summary and monitoring read."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Exit codes of a run, and of the command `state`.
COMPLETE, FAILED, INCOMPLETE = 0, 1, 3
LAST, RUNNING, REPOSITORY = "last.json", "running.json", "repository.json"


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file: a reader sees the old content or the new one, also after a power failure."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Return a file's content, {} if there is none or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def stamp(seconds: float) -> str:
    """Return a time as results have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def printable(text: str) -> str:
    """Return a text without characters that a terminal would obey: users choose the names of their files."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def told(last: dict[str, Any]) -> str:
    """Return a result as text."""
    if not last:
        return "There is no backup yet."
    time = str(last.get("started", "?")).replace("T", " ").replace("Z", " UTC")
    if last["result"] == "failed":
        return f"The backup of {time} failed: {last['error']}"
    lines = [
        f"Backup of {time}: {last['result']}, {last['files']} files, {size(last['bytes'])}"
        f" ({size(last['added'])} new) in {last['duration_s']:.0f} s, snapshot {str(last['snapshot'])[:8]}"
    ]
    for key, what in (
        ("incomplete", "not in it"),
        ("changed", "changed while the backup ran, so perhaps half old and half new"),
        ("live_databases", "databases that were read while they may have been in use"),
    ):
        count, names = last[f"{key}_count"], last[key]
        if count:
            more = f", and {count - len(names)} more" if count > len(names) else ""
            lines.append(f"  {count} {what}: {', '.join(names)}{more}")
    if last.get("warning"):
        lines.append(f"  Warning: {last['warning']}")
    return "\n".join(lines)
