"""Merging into daemon.json: others' keys stay, ours win, a null removes, and what is no longer set goes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from project import run_module

from plugins.filter import engine_settings
from plugins.modules.daemon_settings import conceal, merge, prune


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"debug": True}, {"live-restore": True}, {"debug": True, "live-restore": True}),
        (
            {"log-opts": {"tag": "x", "max-size": "1m"}},
            {"log-opts": {"max-size": "9m"}},
            {"log-opts": {"tag": "x", "max-size": "9m"}},
        ),
        ({"dns": ["192.0.2.1"]}, {"dns": ["192.0.2.2"]}, {"dns": ["192.0.2.2"]}),
        ({"debug": True}, {"debug": None}, {}),
        ({}, {"debug": None}, {}),
        ({"log-opts": {"max-size": "1m"}}, {"log-opts": {"max-size": None}}, {}),
        ({"log-opts": "nonsense"}, {"log-opts": {"max-size": "1m"}}, {"log-opts": {"max-size": "1m"}}),
    ],
)
def test_merge(old: dict[str, Any], patch: dict[str, Any], new: dict[str, Any]) -> None:
    assert prune(merge(old, patch)) == new


def test_merge_changes_neither_input() -> None:
    old, patch = {"log-opts": {"tag": "x"}}, {"log-opts": {"max-size": "1m"}}
    merge(old, patch)
    assert old == {"log-opts": {"tag": "x"}}
    assert patch == {"log-opts": {"max-size": "1m"}}


def test_credentials_are_not_shown() -> None:
    assert (
        conceal('"http-proxy": "http://user:pass@proxy.example:3128"')
        == '"http-proxy": "http://***@proxy.example:3128"'
    )
    assert conceal('"hosts": ["unix:///run/docker.sock"]') == '"hosts": ["unix:///run/docker.sock"]'


class Machine:
    """A folder with daemon.json and the marker, and runs of the module on it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "daemon.json"
        self.marker = folder / "marker"

    def run(self, check: bool = False, state: str = "present", **settings: Any) -> dict[str, Any]:
        arguments = {"settings": settings, "path": str(self.file), "record": str(self.marker), "state": state}
        return run_module("daemon_settings", {**arguments, "_ansible_check_mode": check})

    def after(self, **settings: Any) -> Any:
        result = self.run(**settings)
        assert not result.get("failed"), result
        again = self.run(**settings)
        assert (again["changed"], again["settings_changed"]) == (False, False)
        return json.loads(self.file.read_text())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_settings_that_are_taken_out_go(machine: Machine) -> None:
    machine.after(debug=True, dns=["192.0.2.1"], **{"log-opts": {"tag": "x", "max-size": "1m"}})
    assert machine.after(dns=["192.0.2.2"], **{"log-opts": {"max-size": "1m"}}) == {
        "dns": ["192.0.2.2"],
        "log-opts": {"max-size": "1m"},
    }
    assert machine.after() == {}


def test_the_owner_s_settings_stay_or_are_restored(machine: Machine) -> None:
    owners = {"debug": False, "log-opts": {"tag": "mine"}, "dns": ["192.0.2.1"], "mtu": 1400}
    machine.file.write_text(json.dumps(owners))
    with_ours = machine.after(debug=True, dns=None, **{"log-opts": {"max-size": "1m"}})
    assert with_ours == {"debug": True, "log-opts": {"tag": "mine", "max-size": "1m"}, "mtu": 1400}
    assert machine.after() == owners


def test_what_the_owner_changed_since_stays(machine: Machine) -> None:
    machine.after(debug=True, mtu=1400, **{"log-opts": {"tag": "x"}})
    machine.file.write_text(json.dumps({"debug": False, "mtu": 1400, "log-opts": {"tag": "mine"}, "dns": []}))
    assert machine.after() == {"debug": False, "log-opts": {"tag": "mine"}, "dns": []}


def test_the_folder_of_users_files_stays_where_it_is(machine: Machine) -> None:
    machine.after(debug=True, **{"data-root": "/data/docker"})
    assert machine.after() == {"data-root": "/data/docker"}


@pytest.mark.parametrize("owners", [None, {"debug": False, "log-opts": {"tag": "mine"}}, {"data-root": "/data"}])
def test_giving_the_engine_back(machine: Machine, owners: dict[str, Any] | None) -> None:
    """The file is as before the first run; one that only we have written is gone."""
    if owners is not None:
        machine.file.write_text(json.dumps(owners))
    machine.after(debug=True, **{"log-opts": {"max-size": "1m"}})
    foreseen = machine.run(check=True, state="absent")
    assert machine.marker.exists()
    done = machine.run(state="absent")
    assert (foreseen["changed"], foreseen["diff"]) == (done["changed"], done["diff"])
    assert not machine.marker.exists()
    assert (json.loads(machine.file.read_text()) if machine.file.exists() else None) == owners
    assert not machine.run(state="absent")["changed"]


@pytest.mark.parametrize("content", ["", "This engine is handed over.\n", "[]"])
def test_a_marker_that_was_made_by_hand(machine: Machine, content: str) -> None:
    machine.marker.write_text(content)
    machine.file.write_text('{"mtu": 1400}')
    assert machine.after(debug=True) == {"mtu": 1400, "debug": True}
    # From now on it may contain an HTTP proxy's password.
    assert stat.S_IMODE(machine.marker.stat().st_mode) == 0o600
    assert machine.after() == {"mtu": 1400}


def test_a_file_with_the_wanted_settings_is_only_recorded(machine: Machine) -> None:
    machine.file.write_text('{"debug": true}')
    before = machine.file.stat().st_mtime_ns
    result = machine.run(debug=True)
    # Its age shows whether the engine has read it.
    assert (result["changed"], result["settings_changed"]) == (True, False)
    assert machine.file.stat().st_mtime_ns == before
    assert machine.after() == {"debug": True}


def test_a_run_that_was_interrupted_before_it_wrote_the_settings(machine: Machine) -> None:
    machine.file.write_text('{"debug": false}')
    machine.run(debug=True)
    machine.file.write_text('{"debug": false}')
    assert machine.after(debug=True) == {"debug": True}
    assert machine.after() == {"debug": False}


def test_a_dry_run_writes_nothing_and_shows_both_files(machine: Machine) -> None:
    result = machine.run(check=True, **{"http-proxy": "http://user:canary@proxy.example:3128"})
    assert result["changed"]
    assert not machine.file.exists()
    assert not machine.marker.exists()
    assert [each["after_header"] for each in result["diff"]] == [str(machine.file), str(machine.marker)]
    assert "canary" not in json.dumps(result["diff"])


@pytest.mark.parametrize("check", [False, True])
def test_a_dry_run_reports_what_the_engine_refuses(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: bool
) -> None:
    dockerd = tmp_path / "dockerd"
    dockerd.write_text('#!/bin/sh\ngrep -q nonsense "$3" && echo "no such directive" >&2 && exit 1\nexit 0\n')
    dockerd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.run(check=check, debug=True)["changed"]
    result = machine.run(check=check, nonsense=True)
    assert result["failed"]
    assert "no such directive" in result["msg"]


def test_unsafe_settings_are_refused_without_preflight_too() -> None:
    harmless = engine_settings.harmless_engine_settings
    settings = {"log-driver": "json-file", "hosts": ["fd://"], "live-restore": True}
    assert harmless(settings) == settings
    with pytest.raises(AnsibleFilterError, match=r"docker_daemon_settings\.hosts: .* gives root .* Fix: remove"):
        harmless({**settings, "hosts": ["fd://", "tcp://0.0.0.0:2375"]})
