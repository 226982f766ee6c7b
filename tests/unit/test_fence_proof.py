"""What follows from the results of the fence's proof (with stand-ins for Docker and the fence's script)."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic

from plugins.module_utils.rules.probe import NAMES
from plugins.modules import fence_proof

FENCE = """#!/bin/sh
cd {folder}
if [ "$1" = rules ]; then cat loaded 2>/dev/null; exit 0; fi
echo "$1" >> calls
case $1 in shut) touch fence.shut ;; open) rm -f fence.shut ;; esac
"""
GOOD = {"the Hub": True, "the proxy's API": False, "another server": False, NAMES: True}
OPEN = {**GOOD, "another server": True}


class Machine:
    """A target machine, represented by a folder, on which the module runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.found: list[dict[str, bool] | Exception] = []
        self.resolves = True
        self.told: list[str] = []
        self.warnings: list[str] = []
        (folder / "fence").write_text(FENCE.format(folder=folder))
        monkeypatch.setattr(fence_proof, "prove", self.prove)
        monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _, warning: self.warnings.append(warning))
        monkeypatch.setattr(fence_proof, "docker", lambda *arguments: self.told.append(arguments[-1]))
        monkeypatch.setattr(fence_proof, "machine_looks_names_up", lambda: self.resolves)

    def prove(self, _: dict[str, Any]) -> dict[str, bool]:
        found = self.found.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def run(self, *found: dict[str, bool] | Exception) -> dict[str, Any]:
        """Run the module; its proofs have these results in turn, and all of them must be used."""
        self.found = list(found)
        arguments = {
            "network": "users",
            "other_network": "control",
            "image": "hub",
            "labels": {},
            "gateway": "127.0.0.1",
            "open": {"the Hub": "hub:8081"},
            "closed": {"the proxy's API": "10.0.0.3:8001"},
            "subject": ["a"],
            "fence": str(self.folder / "fence"),
            "hub": "hub",
            "stamp": str(self.folder / "stamp"),
        }
        self.monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        self.monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        said = io.StringIO()
        self.monkeypatch.setattr(sys, "stdout", said)
        with pytest.raises(SystemExit):
            fence_proof.main()
        assert self.found == []
        result: dict[str, Any] = json.loads(said.getvalue())
        return result

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()

    @property
    def stamp(self) -> bool:
        return (self.folder / "stamp").exists()


def test_forbidden_targets_have_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that only a firewall can refuse the connection."""
    said = {"users": "other", "control": "apart", "other": "127.0.0.2", "apart": "127.0.0.3"}
    commands: list[tuple[str, ...]] = []
    waited: list[str] = []

    def docker(*arguments: str) -> str:
        commands.append(arguments)
        if arguments[:2] == ("run", "--detach"):
            return said[arguments[arguments.index("--network") + 1]]
        return said[arguments[-1]] if arguments[0] == "inspect" else "{}"

    monkeypatch.setattr(fence_proof, "docker", docker)
    monkeypatch.setattr(fence_proof, "wait_for", waited.append)
    params = {"network": "users", "other_network": "control", "image": "hub", "labels": {}, "gateway": "127.0.0.1"}
    fence_proof.prove({**params, "open": {"the Hub": "hub:8081"}, "closed": {"the proxy's API": "127.0.0.4:8001"}})
    assert sorted(waited) == ["127.0.0.2", "127.0.0.3"]
    assert sorted(commands[-1]) == ["--force", "apart", "other", "rm"]
    ways, open_ways = json.loads(commands[-2][-1])
    assert set(ways) > {"the Hub", "the proxy's API", "this machine", "another server"}
    assert open_ways == ["the Hub"]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield Machine(tmp_path, monkeypatch)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_proof_is_not_repeated(machine: Machine) -> None:
    assert not machine.run(GOOD).get("failed")
    assert machine.stamp
    assert machine.run()["reached"] == {}
    assert machine.told == [""], "servers may start"


def test_a_single_open_result_is_ignored(machine: Machine) -> None:
    assert not machine.run(OPEN, OPEN, GOOD).get("failed")
    assert machine.calls == ["open"]


def test_three_open_results_in_a_row_close_the_network(machine: Machine) -> None:
    result = machine.run(OPEN, OPEN, OPEN)
    assert result["failed"]
    for word in ("another server could be reached", "systemctl restart docker", '"iptables": false', "deploy again"):
        assert word in result["msg"]
    assert machine.calls == ["open", "shut"]
    assert machine.told == [result["msg"]], "no server starts, and the Hub's log says why"
    assert not machine.stamp


def test_rules_that_were_reloaded_during_the_proof_are_proved_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prove(params: dict[str, Any]) -> dict[str, bool]:
        (machine.folder / "loaded").write_text("in force\nlater\n")
        return machine.prove(params)

    monkeypatch.setattr(fence_proof, "prove", prove)
    assert not machine.run(GOOD).get("failed")
    assert not machine.stamp
    assert not machine.run(GOOD).get("failed")
    assert machine.stamp


def test_an_error_while_closing_does_not_hide_the_reason(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def docker(*_: str) -> str:
        raise RuntimeError("docker exec: container is not running")

    monkeypatch.setattr(fence_proof, "docker", docker)
    (machine.folder / "fence").write_text("#!/bin/sh\n[ $1 != shut ] || { echo locked >&2; exit 1; }\n")
    result = machine.run(OPEN, OPEN, OPEN)
    assert result["failed"]
    for word in ("another server could be reached", "shut: locked", "docker exec: container is not running"):
        assert word in result["msg"]


def test_a_closed_network_is_opened_for_a_single_attempt(machine: Machine) -> None:
    machine.run(OPEN, OPEN, OPEN)
    assert machine.run(OPEN)["failed"]
    assert machine.run(RuntimeError("docker run: no such image"))["failed"]
    assert machine.calls == ["open", "shut"] * 3
    assert not machine.run(GOOD).get("failed")
    assert machine.calls[-1] == "open"
    assert machine.told[-1] == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_closed_network_is_closed_again_if_the_run_is_interrupted(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    (machine.folder / "fence.shut").touch()

    def prove(_: dict[str, Any]) -> dict[str, bool]:
        os.kill(os.getpid(), number)
        time.sleep(1)
        return GOOD

    monkeypatch.setattr(fence_proof, "prove", prove)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        fence_proof.found_open({"fence": str(machine.folder / "fence"), "open": {}})
    assert machine.calls == ["open", "shut"]


def test_an_unreachable_hub_fails_the_run(machine: Machine) -> None:
    result = machine.run({**GOOD, "the Hub": False})
    assert "a user's server cannot reach the Hub" in result["msg"]
    assert machine.calls == ["open"]
    assert not machine.stamp


@pytest.mark.parametrize("resolves", [True, False])
def test_a_failed_lookup_is_only_a_warning(machine: Machine, resolves: bool) -> None:
    """And not even that on a machine without a working resolver."""
    machine.resolves = resolves
    result = machine.run({**GOOD, NAMES: False})
    assert not result.get("failed")
    assert machine.stamp
    assert bool(machine.warnings) is resolves
