"""Both Debians where something can differ between them."""

from __future__ import annotations

from pathlib import Path

import pytest

ONCE = {
    "test_3_two_runs": "trixie",
    "test_4_prediction": "bookworm",
    "test_5_foreign": "trixie",
    "test_7_old_things": "trixie",
}
"""What is about this project's own code, and on which of them it is tried.

Engine, packages and rules differ: a virgin machine, one that was cut off, drift and files are tried on both.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the others out."""
    machine = config.getoption("--hosts") or ""
    out = [item for item in items if (once := ONCE.get(Path(item.path).stem)) and not machine.endswith(once)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
