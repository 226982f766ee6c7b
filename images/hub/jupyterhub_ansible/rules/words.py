"""Values in messages."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

SHOWN_LENGTH = 60


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
