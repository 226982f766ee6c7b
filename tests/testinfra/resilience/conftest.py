"""Which tests run on both Debians: those whose result can differ between them."""

from __future__ import annotations

from pathlib import Path

import pytest

ONCE = {
    "test_3_two_runs": "trixie",
    "test_4_prediction": "bookworm",
    "test_5_foreign": "trixie",
    "test_7_old_things": "trixie",
    "test_8_takeover": "trixie",
    "test_run_killed_while_images_are_built": "trixie",
    "test_run_repairs_changed_containers_alone": "trixie",
    "test_homes_survive_the_loss_of_the_hub_s_state": "bookworm",
}
"""Tests of this project's own code and files run on one Debian only.

Engine, packages and rules differ: new machines, interrupted runs, drift and files are tested on both.
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that run on the other Debian only."""
    machine = config.getoption("--hosts") or ""

    def is_elsewhere(item: pytest.Item) -> bool:
        names = (Path(item.path).stem, getattr(item, "originalname", ""))
        return any(once and not machine.endswith(once) for once in map(ONCE.get, names))

    elsewhere = [item for item in items if is_elsewhere(item)]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in elsewhere]
