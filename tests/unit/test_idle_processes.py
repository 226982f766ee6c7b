"""Jobs and CPU time, from /proc."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from jupyterhub_idle import processes
from jupyterhub_idle.processes import Process, sessions_with_a_job


def stat(folder: Path, line: str) -> None:
    path = folder / line.split()[0]
    path.mkdir()
    (path / "stat").write_text(line)


def test_a_command_may_contain_anything(tmp_path: Path) -> None:
    rest = "S 1 40 40 34816 40 4194304 1 2 3 4 70 30 5 6 20 0 1 0 100 1 1\n"
    for pid, command in ((40, "bash"), (41, "a) S 9 9 (b"), (42, "tmux: server")):
        stat(tmp_path, f"{pid} ({command}) {rest}")
    # Not a process, and one that ended meanwhile.
    (tmp_path / "self").mkdir()
    (tmp_path / "99").mkdir()
    assert sorted(processes.processes(tmp_path)) == [
        Process(40, "bash", "S", 40, 34816, 100),
        Process(41, "a) S 9 9 (b", "S", 40, 34816, 100),
        Process(42, "tmux: server", "S", 40, 34816, 100),
    ]


@pytest.mark.parametrize(
    ("command", "state", "terminal", "is_job"),
    [
        ("sleep", "S", 34816, True),
        ("python", "R", 34816, True),
        ("train.sh", "S", 34816, True),
        ("bash", "S", 34816, False),
        ("tmux: client", "S", 34816, False),
        # Stopped by Ctrl-Z; dead.
        ("python", "T", 34816, False),
        ("python", "Z", 34816, False),
        # A kernel, the server itself, and a process that left its terminal.
        ("python", "S", 0, False),
    ],
)
def test_jobs(command: str, state: str, terminal: int, is_job: bool) -> None:
    shell = Process(7, "bash", "S", 7, 34816, 0)
    found = [shell, Process(9, command, state, 7, terminal, 0)]
    assert sessions_with_a_job(found) == ({7} if is_job else set())


def test_cpu_seconds_since_then_of_all_processes_but_one() -> None:
    found = [Process(1, "a", "S", 1, 0, 500), Process(2, "b", "R", 1, 0, 900), Process(3, "new", "R", 1, 0, 100)]
    seconds = processes.computed_s(found, {1: 0, 2: 700, 9: 5}, besides=1)
    assert seconds == 300 / processes.TICKS_PER_S


def test_on_this_machine() -> None:
    before = {each.pid: each.ticks for each in processes.processes()}
    assert os.getpid() in before
    with subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        deadline = time.monotonic() + 30
        seconds = 0.0
        while seconds < 0.1 and time.monotonic() < deadline:
            time.sleep(0.1)
            found = [each for each in processes.processes() if each.pid == busy.pid]
            seconds = processes.computed_s(found, before, besides=0)
        busy.kill()
    assert seconds >= 0.1
