"""A run that could not do everything is refused before its first task."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import constants, context
from ansible.errors import AnsibleFilterError
from ansible.module_utils.common.collections import ImmutableDict
from ansible.release import __version__
from ansible.utils.display import Display

from plugins.filter import whole_run

EVERYTHING = {"tags": ("all",), "skip_tags": (), "start_at_task": None}


@pytest.fixture(autouse=True)
def ansible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(EVERYTHING))
    monkeypatch.setattr(constants, "CONFIG_FILE", "ansible.cfg")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    shown: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda self, text: shown.append(text))
    return shown


@pytest.mark.parametrize("version", ["2.19.0", "2.20.1rc1", "3.0.0", __version__])
def test_a_whole_run_begins(version: str, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_run, "__version__", version)
    assert whole_run.whole_run("all", ["hub"]) == "all"
    assert warnings == []


@pytest.mark.parametrize(
    "options",
    [{}, {"tags": [], "skip_tags": []}, {"tags": ("all",)}, {"skip_tags": ["notest", "molecule-idempotence-notest"]}],
)
def test_other_commands_have_none_or_empty_options(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict(options))
    assert whole_run.whole_run("all", ["hub"]) == "all"


@pytest.mark.parametrize("version", ["2.17.14", "2.18.19", "2.9.27"])
def test_an_older_ansible_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_run, "__version__", version)
    with pytest.raises(AnsibleFilterError, match=rf"needs ansible-core 2\.19 .* this is {version}.* make deploy"):
        whole_run.whole_run("all", ["hub"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tags": ("hub",)}, "--tags would"),
        ({"skip_tags": ("preflight",)}, "--skip-tags would"),
        ({"start_at_task": "hub : container | Run the Hub"}, "--start-at-task would"),
        ({"tags": ("hub",), "start_at_task": "x"}, "--tags and --start-at-task would"),
    ],
)
def test_a_part_of_a_run_is_refused(options: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({**EVERYTHING, **options}))
    with pytest.raises(AnsibleFilterError, match=f"{named}.* leave that out.* Nothing was changed"):
        whole_run.whole_run("all", ["hub"])


def test_an_inventory_without_hosts_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"no hosts\. Fix: name one, such as -i '/.*/inventory/local\.yml'"):
        whole_run.whole_run("all", [])


def test_without_a_configuration_the_command_is_named(warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "CONFIG_FILE", None)
    assert whole_run.whole_run("all", ["hub"]) == "all"
    assert [f"export ANSIBLE_CONFIG='{whole_run.PROJECT}/ansible.cfg'" in text for text in warnings] == [True]
