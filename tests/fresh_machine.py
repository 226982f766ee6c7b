#!/usr/bin/env python3
"""Make a throwaway machine fresh again, as if it had never had a Docker engine or anything of this project.

    tests/fresh_machine.py                  lists what would be removed, and removes nothing
    THROWAWAY=yes tests/fresh_machine.py    removes it for good

It removes the engine with its packages, folders, images, bridges and rules, what the tests keep on the machine, and
what the roles wrote that could hide a failure of a first run.  It refuses if there is a Hub, or containers or volumes
that are not the tests'.  The engine may be running or not, with or without systemd; nothing but Python is required.

It keeps packages that the machine may have had before (nftables, python3-requests), and the logs of earlier runs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import docker_traces as traces
from docker_content import asked, read

PROJECT = Path(__file__).resolve().parents[1]
# Where nft and iptables are, even if they are not in PATH.
SYSTEM_PATH = "/usr/sbin:/sbin"
LABEL = "jupyterhub-ansible"
UNIT = re.compile(r"^ExecStart=(?:/bin/sh )?(\S+)/proxy/fence watch$", re.MULTILINE)
NAME = re.compile(r"jupyterhub_name: *([a-z0-9-]+)")


def names_of_the_tests() -> set[str]:
    """Return the names of the Hubs that tests and bench deploy on this machine, and of the project of their images."""
    inventories = ("tests/e2e/inventory.yml", "bench/inventory.yml", "playbooks/images.yml")
    return {name for path in inventories for name in NAME.findall((PROJECT / path).read_text())}


def run(*command: str, said: str = "", timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program; one that is missing or does not end in time counts as failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    environment["PATH"] += f":{SYSTEM_PATH}"
    try:
        return subprocess.run(
            command, input=said, capture_output=True, text=True, check=False, timeout=timeout, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


class Machine:
    """This machine, with its files below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.tests = names_of_the_tests()
        self.socket = f"unix://{root / 'run/docker.sock'}"
        self.systemd = (root / "run/systemd/system").is_dir()
        try:
            settings = json.loads((root / "etc/docker/daemon.json").read_text())
        except (OSError, ValueError):
            settings = {}
        self.data = root / str(settings.get("data-root", "/var/lib/docker")).lstrip("/")
        self.failures: list[str] = []
        self.answers = self.docker("version", timeout=20).returncode == 0
        self.held = asked(self._said) if self.answers else read(self.data)
        # Folders of Hubs by name, from their units; without systemd, the default folders.
        self.hubs = {path.parents[1].name: path.parents[1] for path in root.glob("srv/*/hub/secrets")}
        self.units: set[str] = set()
        for unit in root.glob("etc/systemd/system/*-fence.service"):
            if unit.is_file() and (found := UNIT.search(unit.read_text())):
                self.units.add(name := unit.name.removesuffix("-fence.service"))
                folder = root / found[1].lstrip("/")
                if folder.exists():
                    self.hubs[name] = folder
        self.names = self.tests | self.units | {"jupyterhub"}
        self.of_hubs = {f"br-{name}" for name in self.names}

    # --- inspecting

    def docker(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the Docker client against this machine's own engine, regardless of the environment."""
        return run("docker", "--host", self.socket, *arguments, timeout=timeout)

    def _said(self, *arguments: str) -> str:
        """Return the output of a command; if it fails, that is a reason to remove nothing."""
        done = self.docker(*arguments)
        if done.returncode:
            self.failures.append(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
            return ""
        return done.stdout

    def _of_tests(self, name: str, labels: Mapping[str, str]) -> bool:
        if labels.get(f"{LABEL}.kind") == "test" or f"{LABEL}.test" in labels:
            return True
        if project := labels.get(f"{LABEL}.project"):
            return project in self.tests
        # The labels could not be read.
        return not self.answers and not labels and name.startswith(tuple(f"{test}-" for test in self.tests))

    def reasons(self) -> list[str]:
        """Return the reasons why nothing may be removed."""
        found = [*self.failures, *self._other_engines(), *self._mounted_below()]
        foreign = {name for name, labels in self.held.containers.items() if not self._of_tests(name, labels)}
        for name in sorted(foreign):
            hub = self.held.containers[name].get(f"{LABEL}.project")
            found.append(f"container {name}" + (f", of the Hub {hub} (make uninstall removes it)" if hub else ""))
        for name, labels in sorted(self.held.volumes.items()):
            users = self.held.users.get(name, [])
            if self._of_tests(name, labels) or (users and foreign.isdisjoint(users)):
                continue
            hub = labels.get(f"{LABEL}.project")
            found.append(f"volume {name}" + (f", of the Hub {hub}" if hub else ""))
        for name, folder in sorted(self.hubs.items()):
            if name not in self.tests:
                found.append(f"{folder}, of the Hub {name} (make uninstall removes it)")
        if self.answers and not self.engines():
            found.append(f"the engine at {self.socket}: it does not run on this machine")
        others = {program for _, program in self.engines() if not re.match("/usr/(s?bin|libexec/docker)/", program)}
        found += [f"an engine that apt did not install: {program}" for program in sorted(others)]
        if self.data != self.root / "var/lib/docker" and self.data.exists():
            if not (self.data / "containers").is_dir():
                found.append(f"{self.data}: /etc/docker/daemon.json calls it data-root, but it is not an engine's")
            others = {path.name for path in self.data.iterdir()} - set(traces.OF_AN_ENGINE)
            found += [f"{self.data / name}: it is in the data-root, and not an engine's" for name in sorted(others)]
        return found

    def _other_engines(self) -> list[str]:
        """Return what other programs keep in containerd, which would be removed with Docker."""
        paths = [self.root / name for name in traces.OTHER_ENGINES]
        found = [f"{path}: others than Docker use containerd" for path in paths if path.exists()]
        names = {path.name for path in self.root.glob("run/containerd/io.containerd.runtime.v2.task/*")}
        socket = self.root / "run/containerd/containerd.sock"
        # A killed containerd leaves its socket.
        if socket.exists() and any(program.endswith("/containerd") for _, program in self.engines()):
            done = run("ctr", "--address", str(socket), "namespaces", "list", "--quiet", timeout=20)
            if done.returncode:
                found.append(f"containerd does not tell what it holds: {done.stderr.strip()}")
            names |= {*done.stdout.split()}
        return found + [f"containers of {name} in containerd" for name in sorted(names - set(traces.NAMESPACES))]

    def _mounted_below(self) -> list[str]:
        """Return other file systems that are mounted below what would be removed."""
        others = set(mounted()) - set(self.mounts())
        removed = tuple(f"{path}/" for path in self.files())
        return sorted(f"{place}: it is mounted in what would go" for place in others if place.startswith(removed))

    def engines(self) -> list[tuple[int, str]]:
        """Return the processes of this machine's engine, and their programs, without those of engines in containers."""
        found = []
        own = Path("/proc/self/ns/mnt").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                program = str((folder / "exe").readlink()).removesuffix(" (deleted)")
                here = (folder / "ns/mnt").readlink() == own
            except OSError:
                continue  # it has ended, or is a kernel thread
            if here and program.rpartition("/")[2].startswith(("dockerd", "docker-proxy", "containerd")):
                found.append((int(folder.name), program))
        return sorted(found)

    def packages(self) -> list[str]:
        """Return the installed packages, and removed ones that left their configuration."""
        said = run("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *traces.PACKAGES).stdout
        states = [line.split() for line in said.splitlines()]
        return sorted({name for name, state in states if state != "not-installed"})

    def files(self) -> list[Path]:
        """Return files and folders; of a mount point only the content."""
        patterns = [pattern.format(name) for pattern in traces.FILES_OF_A_HUB for name in sorted(self.names)]
        patterns += [pattern.format(name) for pattern in traces.FILES_OF_A_TEST for name in sorted(self.tests)]
        found = {path for pattern in [*traces.FILES, *patterns] for path in self.root.glob(pattern)} | {self.data}
        found |= {PROJECT / name for name in traces.FILES_OF_THE_TESTS} if self.root == Path("/") else set()
        present = {path for path in found if path.exists() or path.is_symlink()}
        return sorted(path for path in present if not is_mounted_on(path) or inside(path))

    def mounts(self) -> list[str]:
        """Return the mount points in the engine's folders, the innermost first."""
        names = ("run/docker", "run/containerd", "var/lib/containerd")
        own = tuple(f"{path}/" for path in (self.data, *(self.root / name for name in names)))
        return sorted((place for place in mounted() if place.startswith(own)), reverse=True)

    def bridges(self) -> list[str]:
        """Return the bridges of the engine, and those of the tests' Hubs."""
        found = [path.name for path in (self.root / "sys/class/net").glob("*") if (path / "bridge").exists()]
        return sorted(name for name in found if traces.BRIDGE.fullmatch(name) or name in self.of_hubs)

    def tables(self) -> list[str]:
        """Return the nftables tables of fences."""
        wanted = {f"table inet {name.replace('-', '_')}_fence" for name in self.names}
        return sorted(wanted.intersection(run("nft", "list", "tables").stdout.splitlines()))

    def rules(self) -> dict[str, tuple[int, str]]:
        """Return for each iptables program the number of the engine's rules, and the other rules in its format."""
        found = {}
        for program in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy"):
            said = run(f"{program}-save").stdout
            kept = traces.without_docker(said, self.of_hubs)
            if gone := len(said.splitlines()) - len(kept.splitlines()):
                found[program] = (gone, kept)
        return found

    def has_group(self) -> bool:
        """Return whether the group docker exists."""
        try:
            return re.search(r"^docker:", (self.root / "etc/group").read_text(), re.MULTILINE) is not None
        except OSError:
            return False

    def listed(self) -> list[str]:
        """Return what would be removed, one line for each kind."""
        rules = [f"{count} of {program}" for program, (count, _) in self.rules().items()]
        kinds = {
            "containers": sorted(self.held.containers),
            "volumes": sorted(self.held.volumes),
            "images": [f"{len(self.held.images)}"] if self.held.images else [],
            "processes": [f"{program} ({pid})" for pid, program in self.engines()],
            "packages": self.packages(),
            "files": [str(path) for path in self.files()],
            "bridges": self.bridges(),
            "rules": rules + self.tables(),
            "groups": ["docker"] if self.has_group() else [],
        }
        return [f"{kind}: {', '.join(found)}" for kind, found in kinds.items() if found]

    # --- removing

    def remove(self) -> None:
        """Remove all of it."""
        if self.answers and self.held.containers:
            self.docker("rm", "--force", "--volumes", *self.held.containers, timeout=300)
        if self.systemd:
            for name in sorted(self.units):
                run("systemctl", "disable", "--now", f"{name}-fence.service", f"{name}-ceiling.service", timeout=60)
            for unit in ("docker.socket", "docker.service", "containerd.service"):
                run("systemctl", "stop", unit, timeout=120)
        self._end()
        for place in self.mounts():
            run("umount", "--lazy", place)
        if left := self.mounts():
            # Deleting files there would delete them at their origin.
            sys.exit(f"Nothing was deleted, since these could not be unmounted: {', '.join(left)}")
        # Before the packages, whose scripts fail at a mount point.
        self._delete([self.data])
        if packages := self.packages():
            done = run("apt-get", "purge", "--yes", "-q=2", "-o", "DPkg::Lock::Timeout=300", *packages, timeout=600)
            if done.returncode:
                print(done.stdout[-2000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
        self._delete(self.files())
        for bridge in self.bridges():
            run("ip", "link", "delete", bridge)
        for program, (_, kept) in self.rules().items():
            run(f"{program}-restore", said=kept)
        for table in self.tables():
            run("nft", "delete", *table.split())
        if self.has_group():
            run("groupdel", "docker")
        if self.systemd:
            run("systemctl", "daemon-reload")
            run("systemctl", "reset-failed")

    def _end(self) -> None:
        """End the engine and its containers, which would go on under their shims."""
        shims = {pid for pid, program in self.engines() if "containerd-shim" in program}
        for number, patience_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
            deadline = time.monotonic() + patience_s
            for pid in {pid for pid, _ in self.engines()} - shims:
                kill(pid, number)
            while {pid for pid, _ in self.engines()} - shims and time.monotonic() < deadline:
                time.sleep(0.2)
        for pid in children(shims):
            kill(pid, signal.SIGKILL)
        for pid in shims:
            kill(pid, signal.SIGKILL)

    def _delete(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if str(path).startswith("/sys/"):
                try:
                    path.rmdir()
                except OSError as error:
                    print(error, file=sys.stderr)
            elif is_mounted_on(path):
                self._delete(inside(path))
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def is_mounted_on(path: Path) -> bool:
    """Return whether this is a mount point, including bind mounts, which Path.is_mount misses."""
    return path.is_mount() or str(path) in mounted()


def mounted() -> list[str]:
    """Return all mount points."""
    # The fifth field, with octal codes for spaces (proc(5)).
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def inside(mount: Path) -> list[Path]:
    """Return the content of a mounted file system, without what mkfs created."""
    return [path for path in mount.iterdir() if path.name != "lost+found"]


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, which may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def children(parents: set[int]) -> list[int]:
    """Return the children of these processes."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): after the name, which may contain anything, the state and the parent.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in parents:
            found.append(int(stat.parent.name))
    return found


def main(machine: Machine) -> int:
    """List what would be removed, or why nothing is, and remove it if requested; return the exit code."""
    if reasons := machine.reasons():
        print(
            "Nothing was removed, since this machine has what is not the tests':", *reasons, sep="\n  ", file=sys.stderr
        )
        return 1
    listed = machine.listed()
    if not listed:
        print("This machine is fresh.")
        return 0
    print("What goes, for good:", *listed, sep="\n  ")
    if os.environ.get("THROWAWAY") != "yes":
        print("\nNothing was removed.  Where this machine is a throwaway one: THROWAWAY=yes tests/fresh_machine.py")
        return 2
    machine.remove()
    if left := Machine(machine.root).listed():
        print("This is still there:", *left, sep="\n  ", file=sys.stderr)
        return 1
    print("This machine is fresh.")
    return 0


if __name__ == "__main__":
    if os.geteuid() != 0:
        sys.exit(
            "tests/fresh_machine.py looks at the engine and its processes: run it as root (sudo tests/fresh_machine.py)"
        )
    sys.exit(main(Machine()))
