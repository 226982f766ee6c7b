"""The fence's script sets the ceiling of all users' servers, in whatever groups a machine has (with stand-ins)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import jinja2
import pytest
from project import ROLES

MB = 1024**2
# What systemd does with a property, as far as it is used.
SYSTEMCTL = """
systemctl() {
  case $1 in
    show) cat "$fake/$5.max" 2>/dev/null || echo infinity ;;
    set-property) echo "$4 $5" > "$fake/calls"; echo "${4#*=}" > "$fake/$3.max" ;;
  esac
}
"""


class Machine:
    """A machine with 8 GB, and the part of the script that is about the ceiling."""

    def __init__(self, folder: Path, *, systemd: bool, version: int) -> None:
        self.folder = folder
        self.groups = folder / "cgroup"
        (self.groups / "memory").mkdir(parents=True)
        if version == 2:
            (self.groups / "cgroup.controllers").touch()
        if systemd:
            (folder / "systemd").mkdir()
        (folder / "meminfo").write_text(f"MemTotal:       {8 * 1024 * 1024 + 3} kB\nMemFree: 1 kB\n")

    def run(self, call: str, reserve_mb: int = 1024) -> str:
        template = (ROLES / "proxy/templates/fence.j2").read_text()
        [part] = re.findall(r"^machine=.*?(?=^# With systemd a unit)", template, re.MULTILINE | re.DOTALL)
        script = jinja2.Template(part).render(jupyterhub_name="jh", __proxy_reserve_mb=reserve_mb)
        places = {"/sys/fs/cgroup": "cgroup", "/run/systemd/system": "systemd", "/proc/meminfo": "meminfo"}
        for path, name in places.items():
            script = script.replace(path, str(self.folder / name))
        shell = f"set -eu\nfake={self.folder}\n{SYSTEMCTL}\n{script}\n{call}"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return done.stdout.strip() if done.returncode == 0 else f"exit {done.returncode}"

    def cap(self, reserve_mb: int = 1024) -> None:
        # As the script does: looked at before and afterwards.
        assert self.run("capped && echo yes", reserve_mb) != "yes"
        self.run("cap", reserve_mb)
        assert self.run("capped && echo yes", reserve_mb) == "yes"


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
    machine.cap()
    # In whole pages: else what the kernel says would not be what was written.
    assert (tmp_path / file).read_text().strip() == CEILING
    machine.cap(2048)
    assert int((tmp_path / file).read_text()) == 6 * 1024 * MB


def test_swap_counts(tmp_path: Path) -> None:
    Machine(tmp_path / "a", systemd=False, version=1).cap()
    assert (tmp_path / "a/cgroup/memory/jh-users/memory.memsw.limit_in_bytes").read_text().strip() == CEILING
    Machine(tmp_path / "b", systemd=True, version=2).cap()
    assert (tmp_path / "b/calls").read_text().split()[-1] == "MemorySwapMax=0"


def test_groups_out_of_reach_are_left(tmp_path: Path) -> None:
    # Root may write anywhere, but where there is nothing.
    machine = Machine(tmp_path, systemd=False, version=1)
    (machine.groups / "memory").rmdir()
    assert machine.run("capped && echo nothing to do") == "nothing to do"


@pytest.mark.parametrize(
    ("verb", "rules", "ceiling", "said"),
    [
        ("check", True, True, "in force"),
        ("check", True, False, "not in force"),
        ("check", False, True, "not in force"),
        # No server waits for a ceiling that this machine cannot have.
        ("rules", True, False, "in force"),
        ("rules", False, True, "not in force"),
    ],
)
def test_the_rules_are_in_force_with_and_without_the_ceiling(
    tmp_path: Path, verb: str, rules: bool, ceiling: bool, said: str
) -> None:
    template = (ROLES / "proxy/templates/fence.j2").read_text()
    [end] = re.findall(r"^fenced\(\) .*", template, re.MULTILINE | re.DOTALL)
    loaded = tmp_path / "loaded"
    loaded.write_text("all\n" if rules else "other\n")
    stand_ins = f"loaded={loaded}; now() {{ echo all; }}; filtered() {{ true; }}; guarded() {{ true; }}"
    script = f"set -eu; {stand_ins}; capped() {{ {str(ceiling).lower()}; }}\n{jinja2.Template(end).render()}"
    done = subprocess.run(["sh", "-c", script, "fence", verb], capture_output=True, text=True, check=False)
    assert (done.stdout.splitlines()[0], done.stderr) == (said, "")
