"""The module writes hub.json only when the Hub itself would take it (with a stand-in for docker)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from project import run_module

# Says what the Hub's own code would say, and keeps what it was given.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" > asked
cat > given
cat said >&2
exit "$(cat code)"
"""
NEW = {"hub_server_memory_mb": 2, "hub_server_environment": {}, "hub_traits": {}}
OLD = {"hub_server_memory_mb": 1, "hub_server_environment": {}, "hub_traits": {}}


def run(
    folder: Path, settings: object = NEW, code: int = 0, check: bool = False, ready: bool = True, image: str = "hub"
) -> dict[str, Any]:
    """Write settings over the old ones; the Hub's own code ends with `code`."""
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    (folder / "code").write_text(str(code))
    (folder / "said").write_text("traits: Spawner.x: no such trait")
    if not (folder / "hub.json").exists():
        (folder / "hub.json").write_text(json.dumps(OLD))
    arguments = {
        "content": json.dumps(settings),
        "path": str(folder / "hub.json"),
        "mode": "0600",
        "image": image,
        "secrets": str(folder / "secrets"),
        "secrets_ready": ready,
        "_ansible_check_mode": check,
    }
    return run_module("hub_settings", arguments, PATH=f"{folder}:{os.environ['PATH']}")


def written(folder: Path) -> Any:
    return json.loads((folder / "hub.json").read_text())


def test_what_the_hub_takes_is_written_for_its_account_alone(tmp_path: Path) -> None:
    assert run(tmp_path)["changed"]
    assert json.loads((tmp_path / "given").read_text()) == written(tmp_path) == NEW
    # It asks the engine for the homes that are there.
    assert "docker.sock" in (asked := (tmp_path / "asked").read_text())
    assert asked.endswith("check --homes\n")
    assert stat.S_IMODE((tmp_path / "hub.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("check", [False, True])
def test_what_the_hub_refuses_is_not_written(tmp_path: Path, check: bool) -> None:
    result = run(tmp_path, code=1, check=check)
    assert result["failed"]
    assert result["msg"].endswith("\ntraits: Spawner.x: no such trait")
    assert written(tmp_path) == OLD


def test_dry_run_tries_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, check=True)
    assert result["changed"]
    assert (tmp_path / "asked").exists()
    assert written(tmp_path) == OLD


def test_only_a_dry_run_may_come_before_the_image(tmp_path: Path) -> None:
    assert run(tmp_path, code=125, check=True)["changed"]
    assert run(tmp_path, code=125)["failed"]
    assert written(tmp_path) == OLD


def test_dry_run_does_not_try_with_secrets_that_will_be_others(tmp_path: Path) -> None:
    assert run(tmp_path, code=1, check=True, ready=False)["changed"]
    assert not (tmp_path / "asked").exists()


def test_the_same_settings_are_not_tried_again(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "asked").unlink()
    (tmp_path / "hub.json").chmod(0o644)
    assert run(tmp_path)["changed"]
    assert not run(tmp_path)["changed"]
    assert not (tmp_path / "asked").exists()
    assert stat.S_IMODE((tmp_path / "hub.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("check", [False, True])
def test_the_same_settings_are_tried_with_a_new_image(tmp_path: Path, check: bool) -> None:
    """It may have other files of the operator, or another release of the Hub."""
    run(tmp_path)
    refused = run(tmp_path, code=1, image="hub:new", check=check)
    assert refused["failed"]
    assert refused["msg"].startswith("The Hub would not start with its new image")
    assert "new" in (tmp_path / "asked").read_text()
    assert run(tmp_path, code=1, image="hub:new")["failed"], "what was refused is tried again"
    assert not run(tmp_path, image="hub:new")["changed"]
    (tmp_path / "asked").unlink()
    assert not run(tmp_path, image="hub:new", code=1)["changed"]
    assert not (tmp_path / "asked").exists()


def test_difference_shows_all_but_what_may_hold_a_secret(tmp_path: Path) -> None:
    """Also where the secret is in the settings of before."""
    with_secrets = {
        "hub_server_memory_mb": 2,
        "hub_server_environment": {"A": "canary-1"},
        "hub_traits": {"C": {"b": "canary-2"}},
    }
    to, back = run(tmp_path, with_secrets), run(tmp_path, NEW)
    assert "canary" not in json.dumps([to, back])
    hidden = "(not shown, since it may contain a secret)"
    for diff, side in ((to["diff"], "after"), (back["diff"], "before")):
        assert diff[side]["hub_server_memory_mb"] == 2
        assert diff[side]["hub_server_environment"].startswith(hidden)
        assert diff[side]["hub_traits"].startswith(hidden)
    other = {**with_secrets, "hub_traits": {"C": {"b": "canary-3"}}}
    run(tmp_path, with_secrets)
    diff = run(tmp_path, other)["diff"]
    assert diff["before"]["hub_traits"] != diff["after"]["hub_traits"]
    assert diff["before"]["hub_server_environment"] == diff["after"]["hub_server_environment"]


def test_difference_hides_an_environments_variables(tmp_path: Path) -> None:
    with_secrets = {**NEW, "images_environments": [{"slug": "geo", "title": "Geo", "environment": {"A": "canary"}}]}
    other = {**NEW, "images_environments": [{"slug": "geo", "title": "Earth", "environment": {"A": "canary-2"}}]}
    to, between, back = run(tmp_path, with_secrets), run(tmp_path, other), run(tmp_path, NEW)
    assert "canary" not in json.dumps([to, between, back])
    [before], [after] = (between["diff"][side]["images_environments"] for side in ("before", "after"))
    assert (before["title"], after["title"]) == ("Geo", "Earth")
    assert before["environment"] != after["environment"], "that it changed is shown"


@pytest.mark.parametrize("environments", [5, ["x"], None, [{}]])
def test_difference_to_a_catalogue_that_somebody_damaged(tmp_path: Path, environments: object) -> None:
    (tmp_path / "hub.json").write_text(json.dumps({**OLD, "images_environments": environments}))
    assert run(tmp_path)["changed"]


def test_damaged_file_is_replaced_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "hub.json").write_text('{"hub_traits": "canary')
    result = run(tmp_path)
    assert written(tmp_path) == NEW
    assert "canary" not in json.dumps(result)
