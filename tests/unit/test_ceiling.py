"""The script of the memory ceiling of all users' servers, for each kind of control groups (with stand-ins)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from project import ROLES

MB = 1024**2
# What systemd does with a property, as far as the script uses it.
SYSTEMCTL = """#!/bin/sh
case $1 in
  show) cat "$5.max" 2>/dev/null || echo infinity ;;
  set-property) echo "$4 $5" > calls; echo "${4#*=}" > "$3.max" ;;
esac
"""


class Machine:
    """A machine with 8 GB, represented by a folder."""

    def __init__(self, folder: Path, *, systemd: bool, version: int) -> None:
        self.folder = folder
        self.groups = folder / "cgroup"
        (self.groups / "memory").mkdir(parents=True)
        if version == 2:
            (self.groups / "cgroup.controllers").touch()
        if systemd:
            (folder / "systemd").mkdir()
        (folder / "bin").mkdir()
        (folder / "bin/systemctl").write_text(SYSTEMCTL)
        (folder / "bin/systemctl").chmod(0o755)
        (folder / "meminfo").write_text(f"MemTotal:       {8 * 1024 * 1024 + 3} kB\nMemFree: 1 kB\n")
        text = (ROLES / "network/files/ceiling").read_text()
        places = {"/sys/fs/cgroup": "cgroup", "/run/systemd/system": "systemd", "/proc/meminfo": "meminfo"}
        for path, name in places.items():
            text = text.replace(path, f"{folder}/{name}")
        text = text.replace("PATH=/usr/sbin", f"PATH={folder}/bin:/usr/sbin").replace("interval_s=5", "interval_s=0.1")
        # Not executable, as on a file system that is mounted noexec.
        self.script = folder / "ceiling"
        self.script.write_text(text)
        self.reserve(1024)

    def reserve(self, megabytes: int) -> None:
        (self.folder / "ceiling.conf").write_text(f"group=jh-users\nname=jh\nreserve_mb={megabytes}\n")

    def __call__(self, verb: str) -> str:
        done = subprocess.run(
            ["/bin/sh", self.script, verb], cwd=self.folder, capture_output=True, text=True, check=False
        )
        return (done.stdout + done.stderr).strip()

    def keep(self) -> None:
        assert self("check") == "not in force"
        assert self("keep") == "set"
        assert self("check") == self("keep") == "in force"


CEILING = str(7 * 1024 * MB)


@pytest.mark.parametrize(
    ("systemd", "version", "file"),
    [
        (False, 1, "cgroup/memory/jh-users/memory.limit_in_bytes"),
        (True, 1, "cgroup/memory/jh-users/memory.limit_in_bytes"),
        (False, 2, "cgroup/jh-users/memory.max"),
        (True, 2, "jh-users.slice.max"),
    ],
)
def test_the_machine_s_memory_without_the_reserve(tmp_path: Path, systemd: bool, version: int, file: str) -> None:
    machine = Machine(tmp_path, systemd=systemd, version=version)
    machine.keep()
    # In whole pages: otherwise the kernel would return another value than was written.
    assert (tmp_path / file).read_text().strip() == CEILING
    machine.reserve(2048)
    machine.keep()
    assert int((tmp_path / file).read_text()) == 6 * 1024 * MB


def test_swap_counts(tmp_path: Path) -> None:
    Machine(tmp_path / "a", systemd=False, version=1).keep()
    assert (tmp_path / "a/cgroup/memory/jh-users/memory.memsw.limit_in_bytes").read_text().strip() == CEILING
    Machine(tmp_path / "b", systemd=True, version=2).keep()
    assert (tmp_path / "b/calls").read_text().split()[-1] == "MemorySwapMax=0"


def test_groups_that_cannot_be_written_are_skipped(tmp_path: Path) -> None:
    # A missing folder, since root may write to any existing one.
    machine = Machine(tmp_path, systemd=False, version=1)
    (machine.groups / "memory").rmdir()
    assert machine("keep") == "in force"


def test_watch_sets_it_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, systemd=False, version=2)
    with subprocess.Popen(["/bin/sh", machine.script, "watch"]) as process:
        try:
            for number in ("", "1"):
                if number:
                    (tmp_path / "cgroup/jh-users/memory.max").write_text(number)
                while machine("check") != "in force":
                    time.sleep(0.05)
        finally:
            process.terminate()
