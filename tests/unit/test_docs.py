"""What is generated in docs/ is up to date."""

from __future__ import annotations

import generate


def test_the_settings_reference_is_fresh() -> None:
    assert generate.PAGE.read_text() == generate.page(), "run: make docs"


def test_markup_of_ansible_becomes_markdown() -> None:
    assert generate.text(["Of C(jupyterhub_name).", "As C({A: {b: c}}), last|least."]) == (
        "Of `jupyterhub_name`. As `{A: {b: c}}`, last\\|least."
    )


def test_a_long_default_is_pointed_at() -> None:
    assert generate.default(["x" * 80], "hub") == "see `roles/hub/defaults/main.yml`"
    assert generate.default(False, "hub") == "`false`"
    assert generate.default(None, "hub") == "unset"
