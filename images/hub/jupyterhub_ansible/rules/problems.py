"""Problems, and the one message that lists them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .formatting import did_you_mean as did_you_mean
from .formatting import shown as shown


@dataclass(frozen=True)
class Finding:
    """What a check found: what is wrong, and the fix; `about` if it is not about the setting that was checked."""

    what: str
    fix: str
    about: str = ""


@dataclass(frozen=True)
class Problem:
    """A finding, with the setting or thing that it is about, and where that was set."""

    about: str
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.about}{place}: {self.what}\n   Fix: {self.fix}"


def message(problems: Iterable[Problem]) -> str:
    """Return all problems as one numbered list, without repetitions."""
    listed = list(dict.fromkeys(problems))
    count = "1 problem was" if len(listed) == 1 else f"{len(listed)} problems were"
    lines = [f"{number}. {problem}" for number, problem in enumerate(listed, 1)]
    return "\n".join([f"{count} found, nothing was changed:", *lines])
