"""Generated pages in docs/ are up to date, links have a target, and tables agree with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bin import reference
from plugins.plugin_utils.preflight.engine import OLDEST_ENGINE
from plugins.plugin_utils.preflight.host import BEST_EFFORT, TESTED

PROJECT = reference.PROJECT
PAGES = sorted({*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")})


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        target, _, anchor = link.partition("#")
        file = page.parent / target if target else page
        if re.match(r"https?:", link):
            continue
        if not file.exists() or (anchor and anchor not in anchors(file)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_have_a_target(page: Path) -> None:
    assert list(dead_links(page)) == []


def supported(row: str) -> tuple[str, str]:
    """What README says is tested, and what is best effort."""
    [(tested, best_effort)] = re.findall(
        rf"^\| {row} \| (.*?) \| (.*?) \|$", (PROJECT / "README.md").read_text(), re.MULTILINE
    )
    return tested, best_effort


def test_supported_targets_are_those_that_preflight_accepts() -> None:
    said = [{cell.split()[0]: tuple(re.findall(r"[\d.]+", cell))} for cell in supported("target")]
    assert said == [TESTED, BEST_EFFORT]


def test_supported_versions_are_those_that_are_installed() -> None:
    [core] = re.findall(r"^ansible-core==(\d+\.\d+)", (PROJECT / "requirements/run.txt").read_text(), re.MULTILINE)
    [python] = re.findall(r"version_info < \((\d+), (\d+)\)", (PROJECT / "Makefile").read_text())
    assert f"ansible-core {core} " in supported("control machine")[0]
    assert f"Python {'.'.join(python)} " in supported("control machine")[0]
    assert supported("Docker engine")[0].startswith(".".join(map(str, OLDEST_ENGINE)) + " ")


def test_the_settings_reference_is_fresh() -> None:
    assert reference.PAGE.read_text() == reference.page(), "run: make docs"


def test_markup_of_ansible_becomes_markdown() -> None:
    assert reference.text(["Of C(jupyterhub_name).", "As C({A: {b: c}}), last|least."]) == (
        "Of `jupyterhub_name`. As `{A: {b: c}}`, last\\|least."
    )


def test_a_long_default_is_referred_to() -> None:
    assert reference.default(["x" * 80], "hub") == "see `roles/hub/defaults/main.yml`"
    assert reference.default(False, "hub") == "`false`"
    assert reference.default(None, "hub") == "unset"
