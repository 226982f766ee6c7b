"""`python -m jupyterhub_versions.difference PRESENT VERSION`: what bringing this version back would change, as JSON.

Of a notebook, the sources of its cells; otherwise it would mostly be output.  A process of its own, because a large
notebook takes seconds and hundreds of megabytes, and a server must stay small and responsive.
"""

import difflib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

LARGEST = 64 * 1024 * 1024
"""The largest file to be compared, in bytes."""
LONGEST_LINE, MOST_LINES = 500, 2000
_CONTEXT = 3


def lines_of(content: bytes, *, notebook: bool) -> list[str]:
    """Return the lines of a file; of a notebook those of its cells, each after a line with the cell's type."""
    text = content.decode(errors="replace")
    if notebook:
        try:
            return [line for cell in json.loads(text)["cells"] for line in _cell(cell)]
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # damaged: as text
    return text.splitlines()


def _cell(cell: dict[str, Any]) -> list[str]:
    source = cell.get("source", "")
    # Without a number, or all cells after a new one would differ.
    return [f"[{cell.get('cell_type', 'cell')}]", *"".join(source).splitlines()]


def difference(present: bytes, version: bytes, *, notebook: bool) -> dict[str, Any]:
    """Return `lines`, each with its first character "-" for removed, "+" for added, " " or "@", and a `note`."""
    if present == version:
        return {"note": "This is what the file contains now.", "lines": []}
    old, new = (lines_of(content, notebook=notebook) for content in (present, version))
    if old == new:
        what = "Only outputs or metadata differ" if notebook else "Only line ends differ"
        return {"note": f"{what}.", "lines": []}
    found = [*islice(_changes(old, new), MOST_LINES + 1)]
    cut = len(found) > MOST_LINES
    return {"note": f"Only the first {MOST_LINES} lines are shown." if cut else "", "lines": found[:MOST_LINES]}


def _changes(old: list[str], new: list[str]) -> Iterator[str]:
    for line in islice(difflib.unified_diff(old, new, n=_CONTEXT, lineterm=""), 2, None):
        # Where it is says nothing to a reader of cells.
        shown = "@" if line.startswith("@@") else line
        yield shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]}…"


def main(present: str, version: str) -> None:
    """Print the difference of two files; the present one may have been deleted."""
    paths = [Path(present), Path(version)]
    if any(path.exists() and path.stat().st_size > LARGEST for path in paths):
        answer = {"note": f"Files of more than {LARGEST // 1024**2} MB are not compared.", "lines": []}
    else:
        contents = [path.read_bytes() if path.exists() else b"" for path in paths]
        answer = difference(contents[0], contents[1], notebook=present.endswith(".ipynb"))
    print(json.dumps(answer))


if __name__ == "__main__":
    # If memory runs out, this goes, and not a kernel.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    main(*sys.argv[1:])
