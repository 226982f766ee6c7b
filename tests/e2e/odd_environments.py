"""Environments whose servers do not start, and one whose servers say whose they are."""

from __future__ import annotations

from typing import Any

from e2e.answers import MARK
from e2e.deployment import ARTEFACTS

# Python runs this in the user's server before anything else.
BROKEN = """
import os, time
if os.environ["BROKEN"] == "hungry":
    data = b"x" * 1024**3
print("mind the gap", flush=True)
time.sleep(600)
"""
FOLDER = ARTEFACTS / "broken"
MARKED = ARTEFACTS / "marked"


def broken(slug: str) -> dict[str, Any]:
    """Return an environment whose servers do not start."""
    return {
        "slug": slug,
        "title": slug,
        "image_of": "base",
        "environment": {"PYTHONPATH": "/broken", "BROKEN": slug},
        "mounts": [{"source": str(FOLDER), "target": "/broken"}],
        "sizes": [{"slug": "small", "memory_mb": 256, "cpus": 2}],
    }


MARKED_ENVIRONMENT: dict[str, Any] = {
    "slug": "marked",
    "title": "Marked",
    "image_of": "base",
    "environment": {"PYTHONPATH": "/marked"},
    "mounts": [{"source": str(MARKED), "target": "/marked"}],
    "sizes": [{"slug": "small", "memory_mb": 256, "cpus": 2}],
}
"""Its servers name their owner in every answer."""
ENDS = {"slug": "ends", "title": "Ends", "image_of": "base", "environment": {"PYTHONHOME": "/nowhere"}}
"""Its server exits at once."""


def odd_environments() -> list[dict[str, Any]]:
    """Write what they mount, and return their entries of the catalogue."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "sitecustomize.py").write_text(BROKEN)
    MARKED.mkdir(exist_ok=True)
    (MARKED / "sitecustomize.py").write_text(MARK)
    return [ENDS, broken("hungry"), broken("silent"), MARKED_ENVIRONMENT]
