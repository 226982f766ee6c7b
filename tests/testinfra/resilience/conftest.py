"""Both Debians where something can differ between them."""

from __future__ import annotations

from pathlib import Path

import pytest

ONCE = {
    "test_3_two_runs": "trixie",
    "test_4_prediction": "bookworm",
    "test_5_foreign": "trixie",
    "test_7_old_things": "trixie",
    "test_8_takeover": "trixie",
    "test_images_killed_while_they_are_built": "trixie",
    "test_containers_alone_that_were_changed": "trixie",
    "test_state_that_was_lost": "bookworm",
}
"""What is about this project's own code, files and tests, and on which of them it is tried.

Engine, packages and rules differ: a virgin machine, one that was cut off, drift and files are tried on both.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the others out."""
    machine = config.getoption("--hosts") or ""

    def is_elsewhere(item: pytest.Item) -> bool:
        names = (Path(item.path).stem, getattr(item, "originalname", ""))
        return any(once and not machine.endswith(once) for once in map(ONCE.get, names))

    out = [item for item in items if is_elsewhere(item)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
