"""A problem, and the one message that lists them all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

SHOWN_LENGTH = 60


@dataclass(frozen=True)
class Finding:
    """What a check found: what is wrong, and the fix; `about` when it is not the setting that was checked."""

    what: str
    fix: str
    about: str = ""


@dataclass(frozen=True)
class Problem:
    """A finding, the setting or thing it is about, and where that was set."""

    about: str
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.about}{place}: {self.what}\n   Fix: {self.fix}"


def message(problems: Iterable[Problem]) -> str:
    """Return all problems as one numbered text, each of them once."""
    listed = list(dict.fromkeys(problems))
    count = "1 problem was" if len(listed) == 1 else f"{len(listed)} problems were"
    lines = [f"{number}. {problem}" for number, problem in enumerate(listed, 1)]
    return "\n".join([f"{count} found, nothing was changed:", *lines])


def shown(value: Any) -> str:
    """Return a value for a message: short, on one line, and without the password of a URL."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = re.sub(r"://[^/@\s]*@", "://***@", text)
    if len(text) > SHOWN_LENGTH:
        text = text[:SHOWN_LENGTH] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean ...?" when known words are close, else the other advice."""
    # Names with the same prefix are alike by that alone: what follows it counts.
    prefix = "".join(word.lower().partition("_")[:2])
    tails = {each.removeprefix(prefix): each for each in known if "_" in prefix and each.startswith(prefix)}
    close = [tails[tail] for tail in get_close_matches(word.lower().removeprefix(prefix), tails, 2, 0.65)]
    close = close or ([] if tails else get_close_matches(word.lower(), list(known), 2, 0.7))
    return f"did you mean {' or '.join(close)}?" if close else otherwise
