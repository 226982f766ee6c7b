#!/usr/bin/env python3
"""Make a throwaway machine fresh again: as if it had never had a Docker engine, nor anything of this project.

    tests/fresh_machine.py                  says what would go, and removes nothing
    THROWAWAY=yes tests/fresh_machine.py    removes it, for good

What goes: the engine with its packages, folders, images, bridges and rules, what the tests keep on the machine, and
what the roles wrote that would hide a failure of a first run.  It refuses where there are containers or volumes that
are not the tests', or a Hub.  The engine may run or not, with systemd or without; nothing is needed but Python.

What stays: packages that the machine may have had before (nftables, python3-requests), and the logs of earlier runs.
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
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
# Where root has nft and iptables, whatever its PATH says.
SYSTEM_PATH = "/usr/sbin:/sbin"
LABEL = "jupyterhub-ansible"
# Debian's and Docker's own; and what is installed when no registry answers, or for a browser.
PACKAGES = (
    "docker.io", "docker-cli", "docker-buildx", "docker-compose", "docker-ce", "docker-ce-cli", "docker-buildx-plugin",
    "docker-ce-rootless-extras", "docker-compose-plugin", "containerd", "containerd.io", "runc", "tini", "mmdebstrap",
    "chromium", "chromium-headless-shell",
)  # fmt: skip
FILES = (
    "var/lib/docker", "var/lib/containerd", "opt/containerd", "etc/docker", "etc/containerd", "etc/default/docker",
    "etc/systemd/system/docker.service.d", "etc/systemd/system/containerd.service.d", "run/docker", "run/docker.*",
    "run/containerd", "root/.docker/buildx", "var/log/docker.log",
    # Of our roles, and of the tests.
    "etc/apt/sources.list.d/jupyterhub-ansible-*", "etc/apt/keyrings/jupyterhub-ansible-*", "etc/sysctl.d/*jupyterhub*",
    "etc/modules-load.d/*jupyterhub*", "run/lock/jupyterhub-ansible-*", "tmp/jhtest-*", "root/.cache/molecule",
    "root/.ansible_async", "root/.ansible/tmp/*",
)  # fmt: skip
# For each Hub.
FILES_OF_A_HUB = (
    "etc/systemd/system/{}-fence*", "etc/systemd/system/*.wants/{}-fence*", "run/{}-fence*", "run/{}.lease",
    "etc/systemd/system/{}-ceiling*", "etc/systemd/system/*.wants/{}-ceiling*", "run/{}-*.settled",
)  # fmt: skip
# And for one of the tests: control groups may be a whole machine's, of which this one is a container.
FILES_OF_A_TEST = ("srv/{}", "sys/fs/cgroup/{}-users", "sys/fs/cgroup/*/{}-users")
# In this clone: keys, and what builds found.
FILES_OF_THE_TESTS = ("artefacts/ssh", "artefacts/builds", "artefacts/images", "tests/e2e/node_modules")
# Others that keep containers in containerd: it would go with their packages and folders.
OTHER_ENGINES = (
    "etc/kubernetes", "var/lib/kubelet", "etc/rancher", "var/lib/rancher", "var/lib/k0s", "var/snap/microk8s",
    "var/lib/nerdctl",
)  # fmt: skip
NAMESPACES = ("moby", "plugins.moby")
# What an engine has in its data-root: of another folder's, nobody knows whose it is.
OF_AN_ENGINE = (
    "aufs", "btrfs", "builder", "buildkit", "containerd", "containers", "engine-id", "fuse-overlayfs", "image",
    "lost+found", "network", "overlay", "overlay2", "plugins", "rootfs", "runtimes", "swarm", "tmp", "trust", "vfs",
    "volumes", "zfs",
)  # fmt: skip
BRIDGE = re.compile(r"docker0|docker_gwbridge|br-[0-9a-f]{12}")
# Of what Docker writes, these name neither a chain nor a bridge of its own: a container that asks itself by the host.
HAIRPIN = re.compile(r"-A POSTROUTING -s (\S+/32) -d \1 .*-j MASQUERADE")
UNIT = re.compile(r"^ExecStart=(\S+)/proxy/fence watch$", re.MULTILINE)
NAME = re.compile(r"jupyterhub_name: *([a-z0-9-]+)")


def names_of_the_tests() -> set[str]:
    """Return the names of the Hubs that tests and bench deploy on this machine, and of their images' project."""
    inventories = ("tests/e2e/inventory.yml", "bench/inventory.yml", "playbooks/images.yml")
    return {name for path in inventories for name in NAME.findall((PROJECT / path).read_text())}


def run(*command: str, said: str = "", timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program, which may be missing or never answer: then it has failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    environment["PATH"] += f":{SYSTEM_PATH}"
    try:
        return subprocess.run(
            command, input=said, capture_output=True, text=True, check=False, timeout=timeout, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))


@dataclass
class Held:
    """What an engine holds."""

    containers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels by name."""
    volumes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    users: dict[str, list[str]] = field(default_factory=dict)
    """The containers of each volume."""

    def add(self, name: str, labels: Mapping[str, str] | None, volumes: Iterable[str]) -> None:
        """Add a container with its volumes."""
        self.containers[name] = labels or {}
        for volume in volumes:
            self.users.setdefault(volume, []).append(name)


class Machine:
    """This machine; its files below `root`."""

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
        self.held = self._ask() if self.answers else self._read()
        # Folders of Hubs by name, as their units tell; without systemd, where they are by default.
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

    # --- looking

    def docker(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run the Docker client against this machine's own engine, whatever the environment says."""
        return run("docker", "--host", self.socket, *arguments, timeout=timeout)

    def _said(self, *arguments: str) -> str:
        """Return what the engine says it holds; what fails is not nothing, and is a reason to remove nothing."""
        done = self.docker(*arguments)
        if done.returncode:
            self.failures.append(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
            return ""
        return done.stdout

    def _ask(self) -> Held:
        held = Held()
        if containers := self._said("ps", "--all", "--quiet", "--no-trunc").split():
            for one in json.loads(self._said("container", "inspect", *containers) or "[]"):
                mounts = [mount["Name"] for mount in one["Mounts"] if mount["Type"] == "volume"]
                held.add(one["Name"].lstrip("/"), one["Config"]["Labels"], mounts)
        if volumes := self._said("volume", "ls", "--quiet").split():
            described = json.loads(self._said("volume", "inspect", *volumes) or "[]")
            held.volumes = {one["Name"]: one["Labels"] or {} for one in described}
        held.images = sorted({*self._said("image", "ls", "--quiet", "--no-trunc").split()})
        return held

    def _read(self) -> Held:
        """Read what an engine that does not run left; labels of volumes are not to be read."""
        held = Held()
        for path in self.data.glob("containers/*/config.v2.json"):
            try:
                one = json.loads(path.read_text())
            except ValueError:
                held.add(path.parent.name, {}, [])
                continue
            mounts = [mount["Name"] for mount in (one.get("MountPoints") or {}).values() if mount.get("Name")]
            held.add(one["Name"].lstrip("/"), one["Config"]["Labels"], mounts)
        held.volumes = {path.name: {} for path in self.data.glob("volumes/*") if path.is_dir()}
        return held

    def _of_tests(self, name: str, labels: Mapping[str, str]) -> bool:
        if labels.get(f"{LABEL}.kind") == "test" or f"{LABEL}.test" in labels:
            return True
        if project := labels.get(f"{LABEL}.project"):
            return project in self.tests
        # No labels were to be read.
        return not self.answers and not labels and name.startswith(tuple(f"{test}-" for test in self.tests))

    def reasons(self) -> list[str]:
        """Return why nothing may be removed."""
        found = [*self.failures, *self._other_engines(), *self._mounted_below()]
        strangers = {name for name, labels in self.held.containers.items() if not self._of_tests(name, labels)}
        for name in sorted(strangers):
            hub = self.held.containers[name].get(f"{LABEL}.project")
            found.append(
                f"container {name}" + (f", of the Hub {hub} (docs/how-to/remove.md removes it)" if hub else "")
            )
        for name, labels in sorted(self.held.volumes.items()):
            users = self.held.users.get(name, [])
            if self._of_tests(name, labels) or (users and strangers.isdisjoint(users)):
                continue
            hub = labels.get(f"{LABEL}.project")
            found.append(f"volume {name}" + (f", of the Hub {hub}" if hub else ""))
        for name, folder in sorted(self.hubs.items()):
            if name not in self.tests:
                found.append(f"{folder}, of the Hub {name} (docs/how-to/remove.md removes it)")
        if self.answers and not self.engines():
            found.append(f"the engine at {self.socket}: it does not run on this machine")
        others = {program for _, program in self.engines() if not re.match("/usr/(s?bin|libexec/docker)/", program)}
        found += [f"an engine that apt did not install: {program}" for program in sorted(others)]
        if self.data != self.root / "var/lib/docker" and self.data.exists():
            if not (self.data / "containers").is_dir():
                found.append(f"{self.data}: /etc/docker/daemon.json calls it data-root, but it is not an engine's")
            others = {path.name for path in self.data.iterdir()} - set(OF_AN_ENGINE)
            found += [f"{self.data / name}: it is in the data-root, and not an engine's" for name in sorted(others)]
        return found

    def _other_engines(self) -> list[str]:
        """Return what others keep in the containerd that would go with Docker's."""
        paths = [self.root / name for name in OTHER_ENGINES]
        found = [f"{path}: others than Docker use containerd" for path in paths if path.exists()]
        names = {path.name for path in self.root.glob("run/containerd/io.containerd.runtime.v2.task/*")}
        socket = self.root / "run/containerd/containerd.sock"
        # The socket of one that was killed stays.
        if socket.exists() and any(program.endswith("/containerd") for _, program in self.engines()):
            done = run("ctr", "--address", str(socket), "namespaces", "list", "--quiet", timeout=20)
            if done.returncode:
                found.append(f"containerd does not tell what it holds: {done.stderr.strip()}")
            names |= {*done.stdout.split()}
        return found + [f"containers of {name} in containerd" for name in sorted(names - set(NAMESPACES))]

    def _mounted_below(self) -> list[str]:
        """Return other file systems that are mounted in what goes."""
        others = set(mounted()) - set(self.mounts())
        gone = [f"{path}/" for path in self.files()]
        return sorted(f"{place}: it is mounted in what would go" for place in others if place.startswith(tuple(gone)))

    def engines(self) -> list[tuple[int, str]]:
        """Return the processes of this machine's engine, and their programs; not those of engines in containers."""
        found = []
        own = Path("/proc/self/ns/mnt").readlink()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                program = str((folder / "exe").readlink()).removesuffix(" (deleted)")
                here = (folder / "ns/mnt").readlink() == own
            except OSError:
                continue  # it ended meanwhile, or is the kernel's
            if here and program.rpartition("/")[2].startswith(("dockerd", "docker-proxy", "containerd")):
                found.append((int(folder.name), program))
        return sorted(found)

    def packages(self) -> list[str]:
        """Return the packages that are there, if only their settings."""
        said = run("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *PACKAGES).stdout
        states = [line.split() for line in said.splitlines()]
        return sorted({name for name, state in states if state != "not-installed"})

    def files(self) -> list[Path]:
        """Return files and folders; a folder that another file system is mounted on stays, empty."""
        patterns = [*FILES, *(pattern.format(name) for pattern in FILES_OF_A_HUB for name in sorted(self.names))]
        patterns += [pattern.format(name) for pattern in FILES_OF_A_TEST for name in sorted(self.tests)]
        found = {path for pattern in patterns for path in self.root.glob(pattern)} | {self.data}
        found |= {PROJECT / name for name in FILES_OF_THE_TESTS} if self.root == Path("/") else set()
        present = {path for path in found if path.exists() or path.is_symlink()}
        return sorted(path for path in present if not is_mounted_on(path) or inside(path))

    def mounts(self) -> list[str]:
        """Return what is mounted in the engine's folders, the innermost first."""
        names = ("run/docker", "run/containerd", "var/lib/containerd")
        own = tuple(f"{path}/" for path in (self.data, *(self.root / name for name in names)))
        return sorted((place for place in mounted() if place.startswith(own)), reverse=True)

    def bridges(self) -> list[str]:
        """Return the engine's bridges, and what servers of the tests were on."""
        found = [path.name for path in (self.root / "sys/class/net").glob("*") if (path / "bridge").exists()]
        return sorted(name for name in found if BRIDGE.fullmatch(name) or name in self.of_hubs)

    def tables(self) -> list[str]:
        """Return the fences."""
        wanted = {f"table inet {name.replace('-', '_')}_fence" for name in self.names}
        return sorted(wanted.intersection(run("nft", "list", "tables").stdout.splitlines()))

    def rules(self) -> dict[str, tuple[int, str]]:
        """Return, by the program that reads them, how many rules are the engine's, and all others as it reads them."""
        found = {}
        for program in ("iptables", "ip6tables", "iptables-legacy", "ip6tables-legacy"):
            said = run(f"{program}-save").stdout
            kept = without_docker(said, self.of_hubs)
            if gone := len(said.splitlines()) - len(kept.splitlines()):
                found[program] = (gone, kept)
        return found

    def has_group(self) -> bool:
        """Return whether there is the group that an engine gives its socket to."""
        try:
            return re.search(r"^docker:", (self.root / "etc/group").read_text(), re.MULTILINE) is not None
        except OSError:
            return False

    def listed(self) -> list[str]:
        """Return what goes, a line each."""
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
            # What is deleted in there is deleted where it comes from.
            sys.exit(f"Nothing was deleted, since these could not be unmounted: {', '.join(left)}")
        # Before the packages, whose own scripts stop at a folder that is a mount.
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
        """End the engine, and what it left running: a container runs on under its shim."""
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
    """Return whether something is mounted there, be it of the same file system, which Path.is_mount misses."""
    return path.is_mount() or str(path) in mounted()


def mounted() -> list[str]:
    """Return where file systems are mounted."""
    # The fifth field, with octal codes for spaces (proc(5)).
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line.split()[4].encode().decode("unicode_escape") for line in lines]


def inside(mount: Path) -> list[Path]:
    """Return what is on a file system of its own, but for what mkfs put there."""
    return [path for path in mount.iterdir() if path.name != "lost+found"]


def kill(pid: int, number: int) -> None:
    """Send a signal to a process, which may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def children(parents: set[int]) -> list[int]:
    """Return the processes that these started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): after the name, which may hold anything, the state and the parent.
            parent = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in parents:
            found.append(int(stat.parent.name))
    return found


def without_docker(saved: str, bridges: Collection[str]) -> str:
    """Return what `iptables-save` prints, without the chains and rules of an engine and of these bridges."""
    lines = saved.splitlines()
    kept = [line for line in lines if not of_docker(line, bridges)]
    if len(kept) == len(lines):
        return saved
    text = "\n".join(kept) + "\n"
    # The engine closes it; where others have rules there, it may be theirs.
    return text if "\n-A FORWARD " in text else text.replace(":FORWARD DROP", ":FORWARD ACCEPT")


def of_docker(line: str, bridges: Collection[str]) -> bool:
    """Return whether a line of `iptables-save` is an engine's."""
    words = line.split()
    interfaces = [name for option, name in pairwise(words) if option in ("-i", "-o")]
    return (
        line.startswith(":DOCKER")
        or (line.startswith("-A") and any(word.startswith("DOCKER") for word in words))
        or any(BRIDGE.fullmatch(name) or name in bridges for name in interfaces)
        or HAIRPIN.match(line) is not None
    )


def main(machine: Machine) -> int:
    """Say what goes, or why not, and remove it where that is wanted; return the program's code."""
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
