"""A container is skipped if it is as docker_container left it; changes made by hand are detected."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase

from plugins.action import settled_container
from plugins.plugin_utils import settled

WANTED = {"name": "team-hub", "image": "team/hub:1", "memory": "768M", "labels": {"kind": "hub"}}
CONTAINER: dict[str, Any] = {
    "Id": "abc",
    "Image": "sha256:1",
    "Path": "tini",
    "Args": ["jupyterhub"],
    "Config": {"Image": "team/hub:1", "Env": ["A=1"], "Labels": {"kind": "hub"}},
    "HostConfig": {"Memory": 805306368, "RestartPolicy": {"Name": "unless-stopped"}},
    "State": {"Status": "running", "Paused": False, "Pid": 7, "StartedAt": "1", "Health": {"Status": "healthy"}},
    "Mounts": [{"Destination": "/a", "Source": "x"}, {"Destination": "/b", "Source": "y"}],
    "NetworkSettings": {
        "SandboxID": "s",
        "Networks": {"control": {"NetworkID": "n1", "Aliases": ["hub"], "IPAMConfig": None, "EndpointID": "e"}},
    },
    "RestartCount": 0,
    "ExecIDs": None,
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    container = copy.deepcopy(CONTAINER)
    change(container)
    return container


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["HostConfig"].update(Memory=1),
        lambda c: c["HostConfig"]["RestartPolicy"].update(Name="no"),
        lambda c: c["State"].update(Paused=True),
        lambda c: c["State"].update(Status="exited"),
        lambda c: c["NetworkSettings"]["Networks"].clear(),
        lambda c: c["NetworkSettings"]["Networks"].update(other={"NetworkID": "n2"}),
        lambda c: c["NetworkSettings"]["Networks"]["control"].update(NetworkID="n2"),
        lambda c: c["NetworkSettings"]["Networks"]["control"].update(Aliases=[]),
        lambda c: c["Config"]["Env"].append("B=2"),
        lambda c: c["Mounts"].pop(),
        lambda c: c.update(Id="other"),
    ],
)
def test_changes_by_hand_are_detected(change: Callable[[dict[str, Any]], object]) -> None:
    assert settled.found(changed(change), "sha256:1") != settled.found(CONTAINER, "sha256:1")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["State"].update(Pid=8, StartedAt="2", Health={"Status": "starting"}),
        lambda c: c["NetworkSettings"].update(SandboxID="t"),
        lambda c: c["NetworkSettings"]["Networks"]["control"].update(EndpointID="f", IPAddress="10.0.0.7"),
        lambda c: c.update(RestartCount=1, ExecIDs=["1"]),
        lambda c: c["Mounts"].reverse(),
    ],
)
def test_runtime_state_does_not_count(change: Callable[[dict[str, Any]], object]) -> None:
    assert settled.found(changed(change), "sha256:1") == settled.found(CONTAINER, "sha256:1")


def test_a_name_that_refers_to_another_image_now() -> None:
    assert settled.found(CONTAINER, "sha256:2") != settled.found(CONTAINER, "sha256:1")


def test_a_dry_run_wants_the_same() -> None:
    assert settled.wanted({**WANTED, "pull": "missing"}, "1") == settled.wanted({**WANTED, "pull": "never"}, "1")
    assert settled.wanted({**WANTED, "memory": "1G"}, "1") != settled.wanted(WANTED, "1")


class Machine:
    """A machine with the container, on which the action runs like a task."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.container = copy.deepcopy(CONTAINER)
        self.image = "sha256:1"
        self.stamp = ""
        self.answer: dict[str, Any] = {"changed": True}
        self.calls: list[dict[str, Any]] = []
        self.monkeypatch = monkeypatch

    def task(self, check: bool = False, seen: bool = True, **wanted: Any) -> dict[str, Any]:
        """Run preflight's look and the task."""
        report = {"container": self.container, "image": self.image, "stamp": self.stamp}
        action = settled_container.ActionModule.__new__(settled_container.ActionModule)
        arguments = {"seen": settled.seen(report) if seen else {}, "stamp": "/run/team hub", **WANTED, **wanted}
        action._task = SimpleNamespace(args=arguments, check_mode=check)
        for name, stand_in in {
            "_execute_module": self.module,
            "_low_level_execute_command": self.shell,
        }.items():
            self.monkeypatch.setattr(action, name, stand_in)
        self.monkeypatch.setattr(ActionBase, "run", lambda *_: {})
        self.calls.clear()
        result: dict[str, Any] = action.run(None, {})
        return result

    def module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert name == "community.docker.docker_container"
        self.calls.append(arguments)
        return {**self.answer, "container": self.container}

    def shell(self, command: str) -> None:
        text, path = command.removeprefix("echo ").split(" >")
        assert path == "'/run/team hub'"
        self.stamp = text


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_the_module_runs_until_the_container_is_settled(machine: Machine) -> None:
    assert machine.task(seen=False)["changed"] is True
    # On the system's engine, whatever the operator's variables say.
    engine = {"docker_host": "unix:///var/run/docker.sock", "tls": False, "validate_certs": False}
    assert machine.calls == [WANTED | engine]
    result = machine.task()
    assert machine.calls == []
    assert result == {
        "changed": False,
        "container": {key: CONTAINER[key] for key in ("Id", "State", "NetworkSettings")},
    }
    # Different arguments; and a change by hand.
    machine.task(memory="1G")
    assert machine.calls == [{**WANTED, **engine, "memory": "1G"}]
    machine.task(memory="1G")
    assert machine.calls == []
    machine.container["HostConfig"]["Memory"] = 1
    machine.task(memory="1G")
    assert len(machine.calls) == 1


def test_a_failure_and_a_dry_run_are_not_remembered(machine: Machine) -> None:
    machine.task(check=True)
    assert machine.stamp == ""
    machine.answer = {"failed": True, "msg": "no"}
    assert machine.task()["failed"]
    assert machine.stamp == ""


def test_a_dry_run_uses_it(machine: Machine) -> None:
    machine.task()
    assert machine.task(check=True, pull="missing")["changed"] is False
    assert machine.calls == []
