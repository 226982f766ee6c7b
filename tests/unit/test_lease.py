"""One run at a time changes a machine: the lease, on the machine (`host_report`) and where Ansible runs (`lease`)."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from project import ROLES

from plugins.module_utils.lease import take_lease
from plugins.plugin_utils.preflight import lease


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, Any]:
    return {"path": str(tmp_path / "lease"), "by": "ann@laptop (process 7)", "token": "t1", "seconds": 30}


@pytest.fixture
def playbook() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until it is killed, and is not a child of the one that waits for it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def take(wanted: dict[str, Any], token: str) -> dict[str, Any] | None:
    holder: dict[str, Any] | None = take_lease({**wanted, "token": token, "by": token})
    return holder


def test_the_first_run_gets_it_and_the_second_learns_who_has_it(wanted: dict[str, Any]) -> None:
    assert take_lease(wanted) is None
    holder = take(wanted, "t2")
    assert holder
    assert holder["by"] == "ann@laptop (process 7)"
    assert holder["since"].endswith(" UTC")
    assert "t1" in Path(wanted["path"]).read_text(), "nothing of the first run's was touched"


def test_a_renewal_is_seen(wanted: dict[str, Any]) -> None:
    take_lease(wanted)
    first, same = take(wanted, "t2"), take(wanted, "t2")
    assert first == same
    Path(wanted["path"]).touch()
    assert take(wanted, "t2") != first


@pytest.mark.parametrize("late_s", [31, -31])
def test_an_expired_lease_is_taken_over_even_if_the_clock_was_changed(wanted: dict[str, Any], late_s: int) -> None:
    take_lease(wanted)
    os.utime(wanted["path"], (time.time() - late_s,) * 2)
    assert take(wanted, "t2") is None
    holder = take(wanted, "t3")
    assert holder
    assert holder["by"] == "t2"


def test_only_one_of_many_gets_it(wanted: dict[str, Any]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            answers = list(pool.map(lambda number: take(wanted, f"t{number}"), range(8)))
            assert answers.count(None) == 1
            Path(wanted["path"]).unlink()


def test_a_lease_that_is_returned_meanwhile_does_not_count(
    wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_lease(wanted)
    lock = fcntl.flock

    def flock(*arguments: Any) -> None:
        lock(*arguments)
        if "t1" in Path(wanted["path"]).read_text():
            Path(wanted["path"]).unlink()

    monkeypatch.setattr(fcntl, "flock", flock)
    assert take(wanted, "t2") is None
    assert take(wanted, "t3"), "what t2 has is what others see"


class Machine:
    """Runs the commands of a lease on this machine, in another folder than /run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []
        self.reachable = True

    def execute(self, command: str) -> bool | None:
        self.commands.append(command)
        here = command.replace("/run/", f"{self.folder}/")
        return subprocess.run(["sh", "-c", here]).returncode == 0 if self.reachable else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(lease, "RENEW_S", 0.1)
    monkeypatch.setattr(lease, "LEASE_S", 0.5)
    return Machine(tmp_path)


def kept(machine: Machine, ours: lease.Lease) -> threading.Thread:
    thread = threading.Thread(target=ours.keep, args=[machine.execute])
    thread.start()
    return thread


@pytest.mark.parametrize("system", ["Linux", "another"])
def test_it_is_renewed_while_the_run_lives_and_returned_when_it_is_killed(
    machine: Machine, playbook: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    if system == "another":
        monkeypatch.delattr(os, "pidfd_open")
    ours = lease.Lease("team", playbook.pid)
    request = ours.request()
    assert request["path"] == "/run/team.lease"
    assert f"(process {playbook.pid})" in request["by"]
    path = machine.folder / "team.lease"
    take_lease({**request, "path": str(path)})
    taken = path.stat().st_mtime_ns
    thread = kept(machine, ours)
    time.sleep(0.4)
    assert path.stat().st_mtime_ns > taken
    assert thread.is_alive()
    playbook.send_signal(signal.SIGKILL)
    playbook.wait()
    thread.join(2)
    assert not path.exists()


def test_the_next_runs_lease_is_neither_renewed_nor_returned(
    machine: Machine, playbook: subprocess.Popen[bytes]
) -> None:
    path = machine.folder / "team.lease"
    take_lease({**lease.Lease("team", 1).request(), "path": str(path)})
    os.utime(path, (0, 0))
    thread = kept(machine, lease.Lease("team", playbook.pid))
    thread.join(2)
    assert not thread.is_alive()
    playbook.kill()
    assert path.stat().st_mtime == 0


def test_an_unreachable_machine_is_not_an_error(machine: Machine, playbook: subprocess.Popen[bytes]) -> None:
    machine.reachable = False
    thread = kept(machine, lease.Lease("team", playbook.pid))
    time.sleep(0.4)
    assert thread.is_alive(), "the network may come back"
    playbook.kill()
    playbook.wait()
    thread.join(2)
    assert not thread.is_alive(), "it waits no longer than the lease lasts"


def test_work_in_the_background_outlives_its_parent_and_has_its_own_session(tmp_path: Path) -> None:
    script = f"""
import os, pathlib, time
from plugins.plugin_utils.preflight import lease
def work():
    time.sleep(0.3)
    pathlib.Path({str(tmp_path / "new")!r}).write_text(str(os.getsid(0) == os.getpid()))
    pathlib.Path({str(tmp_path / "new")!r}).rename({str(tmp_path / "done")!r})
    raise RuntimeError
lease.in_background(work)
"""
    environment = {"PYTHONPATH": str(ROLES / "preflight/plugin_utils")}
    subprocess.run([sys.executable, "-c", script], check=True, start_new_session=True, env=environment)
    deadline = time.monotonic() + 5
    while not (tmp_path / "done").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (tmp_path / "done").read_text() == "True"
