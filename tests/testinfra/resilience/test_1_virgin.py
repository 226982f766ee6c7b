"""A dry run on a machine that has nothing yet."""

from __future__ import annotations

from sites import Site


def test_it_lists_what_would_be_made(site: Site) -> None:
    run = site.check().succeeded()
    assert any("Run the Hub" in task for task in run.tasks), run.output
