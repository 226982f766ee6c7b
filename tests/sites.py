"""The site's playbook, run on a throwaway machine as an operator does: over SSH, from this host."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
KEY = PROJECT / "artefacts/ssh/key"
TUNNEL_S = 60


def is_open(port: int) -> bool:
    """Whether something listens on this port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Run:
    """A run that has ended or was killed."""

    code: int
    output: str

    @property
    def said(self) -> str:
        """The output without the line breaks that Ansible puts into long messages."""
        return " ".join(self.output.split())

    @property
    def tasks(self) -> list[str]:
        """The tasks that were started, in order, including skipped ones."""
        return re.findall(r"^TASK \[(.*?)\] \*", self.output, re.MULTILINE)

    @property
    def changes(self) -> list[str]:
        """What changed or would change, in order: ``role : task``, followed by ``=> (item=...)`` in a loop."""
        found, task = [], ""
        for line in self.output.splitlines():
            if begun := re.match(r"TASK \[(.*?)\] \*", line):
                task = begun[1]
            elif changed := re.match(r"changed: \[[^]]+\]( => \(item=.*\))?", line):
                found.append(task + (changed[1] or ""))
        return found

    def says(self, *words: str) -> None:
        """Assert that the output contains these words.

        Raises:
            AssertionError: with the end of the output.
        """
        if missing := [word for word in words if word not in self.said]:
            raise AssertionError(f"not in the output: {missing}\n{self.output[-4000:]}")

    def succeeded(self) -> Run:
        """Assert success.

        Raises:
            AssertionError: with the end of the output.
        """
        # For Ansible, an inventory without the machine is a success.
        if self.code or not re.search(r"^\S+ +: ok=", self.output, re.MULTILINE):
            raise AssertionError(f"ansible-playbook ended with {self.code}:\n{self.output[-6000:]}")
        return self


class Site:
    """A throwaway machine of the inventory, and how to deploy to it."""

    def __init__(self, machine: str, inventory: str) -> None:
        self.machine = machine
        self.inventory = inventory

    def _command(self, arguments: tuple[str, ...], settings: dict[str, Any]) -> list[str]:
        command = ["ansible-playbook", "--inventory", self.inventory, "--limit", self.machine]
        return [*command, "--extra-vars", json.dumps(settings), *arguments, "site.yml"]

    @contextmanager
    def _started(
        self, arguments: tuple[str, ...], settings: dict[str, Any], before: str = ""
    ) -> Iterator[subprocess.Popen[str]]:
        # Of Ansible's variables, only those that tests/conftest.py sets.
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ANSIBLE_", "MOLECULE_")) or "CALLBACK" in key
        }
        # The machine that runs Ansible needs neither an engine nor images.
        environment |= {"DOCKER_HOST": "unix:///nowhere", "ANSIBLE_NOCOLOR": "true"}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        if before:
            environment |= {"ANSIBLE_CALLBACKS_ENABLED": "hold,packed", "HOLD_BEFORE": before}
        with subprocess.Popen(
            self._command(arguments, settings),
            cwd=PROJECT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A process group of its own, to be killed as a whole.
            start_new_session=True,
        ) as run:
            yield run

    def run(self, *arguments: str, **settings: Any) -> Run:
        """Run the playbook to its end; these settings override the inventory's."""
        with self._started(arguments, settings) as run:
            output, _ = run.communicate()
        return Run(run.returncode, output)

    def check(self, **settings: Any) -> Run:
        """Run the playbook in check mode."""
        return self.run("--check", "--diff", **settings)

    @contextmanager
    def at(self, line: str, before: str = "", **settings: Any) -> Iterator[subprocess.Popen[str]]:
        """Start a run, and yield it as soon as a line of its output contains `line`.

        Raises:
            AssertionError: it ended before that.
        """
        with self._started((), settings, before) as run:
            assert run.stdout
            output = ""
            for shown in run.stdout:
                output += shown
                if line in shown:
                    break
            else:
                raise AssertionError(f"no line of the output contains {line!r}:\n{output[-6000:]}")
            try:
                yield run
            finally:
                if run.poll() is None:
                    os.killpg(run.pid, signal.SIGKILL)

    def kill(self, line: str, **settings: Any) -> None:
        """Start a run, and kill it as soon as a line of its output contains `line`."""
        with self.at(line, **settings):
            pass

    def kill_before(self, task: str, **settings: Any) -> None:
        """Start a run, and kill it when everything before this task is done."""
        with self.at(f"TASK [{task}]", before=task, **settings):
            pass

    def variables(self) -> dict[str, Any]:
        """Return the machine's variables in the inventory."""
        listed = subprocess.check_output(["ansible-inventory", "--inventory", self.inventory, "--host", self.machine])
        variables: dict[str, Any] = json.loads(listed)
        return variables

    @contextmanager
    def tunnel(self, port: int, hub_port: int = 8000) -> Iterator[None]:
        """Hold an SSH tunnel from a port of this host's loopback to the Hub, as docs/how-to/vps.md says."""
        machine = self.variables()
        command = ["ssh", "-N", "-L", f"127.0.0.1:{port}:127.0.0.1:{hub_port}", "-o", "ExitOnForwardFailure=yes"]
        command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
        command += ["-i", str(KEY), "-p", str(machine["ansible_port"]), f"{machine['ansible_user']}@127.0.0.1"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as ssh:
            try:
                deadline = time.monotonic() + TUNNEL_S
                while not is_open(port):
                    assert ssh.poll() is None, f"ssh ended with {ssh.returncode}"
                    assert time.monotonic() < deadline, f"no tunnel after {TUNNEL_S} s"
                    time.sleep(0.1)
                yield
            finally:
                ssh.terminate()
