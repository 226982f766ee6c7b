"""A module is skipped if its part of the machine is as it left it; later changes are detected."""

from __future__ import annotations

import copy
import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader

from plugins.action import settled
from plugins.modules import host_report
from plugins.plugin_utils import settled as rules

FENCE = """#!/bin/sh
cat {}
"""


class Machine:
    """A machine's files in a folder, on which the action runs like a task, after preflight."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "srv"
        for name in ("proxy/secrets", "hub/secrets", "ingress/caddy/secrets", "ingress/data"):
            (self.root / name).mkdir(parents=True)
        self.secret = self.root / "hub/secrets/key"
        self.secret.write_text("one")
        self.token = self.root / "proxy/secrets/token"
        self.token.write_text("one")
        self.settings = self.root / "hub/hub.json"
        self.settings.write_text("{}")
        self.caddyfile = self.root / "ingress/caddy/Caddyfile"
        self.caddyfile.write_text("one")
        self.proof = folder / "fence-proof"
        self.force = folder / "force"
        self.force.write_text("in force\n")
        for name in ("fence", "ceiling"):
            script = self.root / "proxy" / name
            script.write_text(FENCE.format(self.force))
            script.chmod(0o755)
            script.with_suffix(".conf").write_text("name=team\n")
        (folder / "run").mkdir()
        self.looks = rules.looks("team", str(self.root))
        for name, look in self.looks.items():
            look["stamp"] = str(folder / "run" / name)
        self.looks["fence-proof"]["command"] = f"export LC_ALL=C; {rules._files(str(self.proof))}"
        self.monkeypatch = monkeypatch
        self.answer: dict[str, Any] = {"changed": True, "digest": "d"}
        self.asked: list[dict[str, Any]] = []
        self.actions: dict[str, Any] = {}
        self.code = folder / "some_module.py"
        self.code.write_text("version 1")
        monkeypatch.setattr(module_loader, "find_plugin", lambda name: str(self.code))

    def task(self, look: str, check: bool = False, facts: dict[str, Any] | None = None, **arguments: Any) -> Any:
        """Run preflight's look and the task."""
        around = host_report.run_looks(self.looks)
        seen = {name: {"now": "", "was": "", **each, **around.get(name, {})} for name, each in self.looks.items()}
        action = settled.ActionModule.__new__(settled.ActionModule)
        given = {"module": "some_module", "look": look, "keep": ["digest"], "arguments": arguments}
        action._task = SimpleNamespace(args=given, check_mode=check, copy=lambda: SimpleNamespace())
        action._templar = SimpleNamespace(template=copy.deepcopy)
        action._shared_loader_obj = SimpleNamespace(action_loader=self.actions)
        action._connection = action._play_context = action._loader = None
        self.monkeypatch.setattr(action, "_execute_module", self.module)
        self.monkeypatch.setattr(action, "_low_level_execute_command", self.shell)
        self.monkeypatch.setattr(ActionBase, "run", lambda *_: {})
        self.asked.clear()
        return action.run(None, {"preflight_seen": seen, "ansible_facts": facts or {}})

    def module(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        assert name == "some_module"
        self.asked.append(arguments)
        return dict(self.answer)

    @staticmethod
    def shell(command: str, in_data: bytes) -> None:
        subprocess.run(["/bin/sh", "-c", command], input=in_data, check=True)


def test_looks_ask_the_system_s_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The action runs them outside of a module, so without the play's environment."""
    (tmp_path / "builds").mkdir()
    (tmp_path / "builds/contents.json").touch()
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "$DOCKER_HOST, $DOCKER_TLS_VERIFY"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    look = rules.looks("team", str(tmp_path))["images"]["command"]
    printed = subprocess.run(["/bin/sh", "-c", look], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("unix:///var/run/docker.sock, \n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


LOOKS = [
    "proxy-secrets", "ingress-secrets", "ingress-data", "ingress-settings", "hub-secrets", "hub-settings", "fence",
]  # fmt: skip


@pytest.mark.parametrize("look", LOOKS)
def test_the_module_runs_until_its_part_is_settled(machine: Machine, look: str) -> None:
    assert machine.task(look, a=1)["changed"] is True
    assert machine.asked == [{"a": 1}]
    assert machine.task(look, a=1) == {"changed": False, "digest": "d"}
    assert machine.task(look, check=True, a=1) == {"changed": False, "digest": "d"}
    assert machine.asked == []
    machine.task(look, a=2)
    assert machine.asked == [{"a": 2}]


def write(path: Path) -> None:
    """Write other content of the same length and restore the time, as if to hide the change."""
    before = path.stat()
    path.write_text("two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: list[tuple[str, Callable[[Machine], object]]] = [
    ("proxy-secrets", lambda machine: write(machine.token)),
    ("proxy-secrets", lambda machine: machine.token.unlink()),
    ("proxy-secrets", lambda machine: machine.token.chmod(0o666)),
    ("proxy-secrets", lambda machine: (machine.root / "proxy/secrets").chmod(0o777)),
    ("proxy-secrets", lambda machine: (machine.root / "proxy").chmod(0o777)),
    ("proxy-secrets", lambda machine: machine.root.chmod(0o777)),
    ("hub-secrets", lambda machine: write(machine.secret)),
    ("hub-secrets", lambda machine: (machine.root / "hub").chmod(0o777)),
    # The Hub has a copy of it.
    ("hub-secrets", lambda machine: write(machine.token)),
    ("hub-settings", lambda machine: write(machine.settings)),
    ("hub-settings", lambda machine: machine.settings.chmod(0o666)),
    ("hub-settings", lambda machine: machine.settings.unlink()),
    ("ingress-settings", lambda machine: write(machine.caddyfile)),
    ("ingress-settings", lambda machine: machine.caddyfile.chmod(0o666)),
    ("ingress-settings", lambda machine: machine.caddyfile.unlink()),
    ("ingress-secrets", lambda machine: (machine.root / "ingress/caddy/secrets/key.pem").touch()),
    ("ingress-secrets", lambda machine: (machine.root / "ingress/caddy/secrets").chmod(0o777)),
    ("ingress-data", lambda machine: (machine.root / "ingress/data").chmod(0o777)),
    ("ingress-data", lambda machine: (machine.root / "ingress/data").rmdir()),
    ("fence", lambda machine: write(machine.root / "proxy/fence")),
    ("fence", lambda machine: (machine.root / "proxy/fence").chmod(0o777)),
    ("fence", lambda machine: write(machine.root / "proxy/fence.conf")),
    ("ceiling", lambda machine: write(machine.root / "proxy/ceiling.conf")),
    ("ceiling", lambda machine: machine.force.write_text("not in force\n")),
    ("fence", lambda machine: machine.force.write_text("not in force\n")),
]


@pytest.mark.parametrize(("look", "change"), CHANGES)
def test_changes_by_hand_are_detected(machine: Machine, look: str, change: Callable[[Machine], object]) -> None:
    machine.task(look)
    machine.task(look)
    assert machine.asked == []
    change(machine)
    machine.task(look)
    assert machine.asked == [{}]


def test_unrelated_files_do_not_count(machine: Machine) -> None:
    machine.task("proxy-secrets")
    (machine.root / "hub/other").write_text("x")
    (machine.root / "file").write_text("x")
    write(machine.settings)
    machine.task("proxy-secrets")
    assert machine.asked == []


def test_new_certificates_in_their_folder_do_not_count(machine: Machine) -> None:
    machine.task("ingress-data")
    (machine.root / "ingress/data/caddy").mkdir()
    machine.task("ingress-data")
    assert machine.asked == []


def test_the_order_of_images_does_not_count(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine lists images of the same age in any order (seen with 26.1); without an answer nothing is settled."""
    (machine.root / "builds").mkdir()
    (machine.root / "builds/contents.json").touch()
    engine = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def lists(*images: str, code: int = 0) -> list[dict[str, Any]]:
        engine.write_text(f"#!/bin/sh\nprintf '%s\n' {' '.join(images)}\nexit {code}\n")
        engine.chmod(0o755)
        machine.task("images")
        return machine.asked

    assert lists("a", "b") == [{}]
    assert lists("b", "a") == []
    assert lists("a", "b", "c") == [{}]
    assert lists("a", "b", "c", code=1) == [{}]
    assert lists("a", "b", "c", code=1) == [{}]


def test_a_module_s_action_is_run(machine: Machine) -> None:
    """As for Ansible's copy; the action gets the module's arguments and the play's variables."""
    asked: list[Any] = []

    def made(name: str, task: Any, **_: Any) -> Any:
        def run(task_vars: dict[str, Any]) -> dict[str, Any]:
            asked.append((name, task.args, task_vars["ansible_facts"]))
            return {"changed": True, "digest": "d"}

        return SimpleNamespace(run=run)

    actions = type("Actions", (dict,), {"get": staticmethod(made)})({"some_module": True})
    machine.actions = actions
    for _ in range(2):
        assert machine.task("ingress-settings", content="x")["digest"] == "d"
    assert asked == [("some_module", {"content": "x"}, {})]
    assert machine.asked == []


def test_a_missing_file_is_not_settled(machine: Machine) -> None:
    """A proof whose file is missing is repeated."""
    machine.task("fence-proof")
    machine.task("fence-proof")
    assert machine.asked == [{}]
    machine.proof.write_text("x")
    machine.task("fence-proof")
    machine.task("fence-proof")
    assert machine.asked == []


def test_a_fence_that_is_not_in_force_is_never_settled(machine: Machine) -> None:
    """Another program may have flushed its rules right after the module had loaded them."""
    machine.force.write_text("not in force\n")
    machine.task("fence")
    machine.task("fence")
    assert machine.asked == [{}]


def test_a_failure_a_warning_and_a_dry_run_are_not_remembered(machine: Machine) -> None:
    machine.task("hub-settings", check=True)
    for answer in ({"failed": True, "msg": "no"}, {"changed": False, "digest": "d", "warnings": ["beware"]}):
        machine.answer = answer
        machine.task("hub-settings")
        assert machine.asked == [{}]
        machine.task("hub-settings")
        assert machine.asked == [{}]


def test_after_a_change_earlier_results_are_not_used(machine: Machine) -> None:
    machine.answer = {"changed": False, "digest": "d"}
    assert "ansible_facts" not in machine.task("hub-settings")
    machine.answer = {"changed": True, "digest": "d"}
    facts = machine.task("proxy-secrets")["ansible_facts"]
    machine.task("hub-settings", facts=facts)
    assert machine.asked == [{}]
    machine.task("hub-settings")
    assert machine.asked == []


def test_a_newer_version_of_the_module_runs(machine: Machine) -> None:
    machine.task("hub-settings")
    machine.code.write_text("version 2")
    machine.task("hub-settings")
    assert machine.asked == [{}]
    machine.task("hub-settings")
    assert machine.asked == []


def test_a_rotation_is_never_skipped(machine: Machine) -> None:
    for _ in range(2):
        machine.task("nowhere", rotate=["key"])
        assert machine.asked == [{"rotate": ["key"]}]


def test_a_damaged_stamp_is_ignored(machine: Machine) -> None:
    machine.task("hub-settings")
    stamp = Path(machine.looks["hub-settings"]["stamp"])
    assert stamp.stat().st_mode & 0o777 == 0o600
    seen = stamp.read_text().partition("\n")[0]
    for text in ("", "x", stamp.read_text()[:-5], f"{seen}\nx", f"{seen}\n[]", f'{seen}\n{{"wanted": "x"}}'):
        stamp.write_text(text)
        machine.task("hub-settings")
        assert machine.asked == [{}]


def test_a_password_cannot_be_guessed_from_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[int] = []

    def derive(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return password

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", derive)
    assert rules.wanted({"value": "weak"}, "")
    assert rounds == [rules.ROUNDS]
