"""Formatting of values in messages, and suggestions for misspelt names."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

SHOWN_LENGTH = 60


def shown(value: Any) -> str:
    """Return a value as messages show it: short, on one line, and with a URL's password masked."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = re.sub(r"://[^/@\s]*@", "://***@", text)
    if len(text) > SHOWN_LENGTH:
        text = text[:SHOWN_LENGTH] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(value, str) else text


def did_you_mean(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return "did you mean ...?" if known names are similar, else the other advice."""
    # A shared prefix alone makes names look similar, so compare what follows it.
    prefix = "".join(name.lower().partition("_")[:2])
    tails = {each.removeprefix(prefix): each for each in known if "_" in prefix and each.startswith(prefix)}
    close = [tails[tail] for tail in get_close_matches(name.lower().removeprefix(prefix), tails, 2, 0.65)]
    close = close or ([] if tails else get_close_matches(name.lower(), list(known), 2, 0.7))
    return f"did you mean {' or '.join(close)}?" if close else otherwise
