"""The Hub under test: deployed on this machine by the project's own playbook, and removed again.

It only ever touches what has its names (inventory.yml), its project label or the tests' label.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
INVENTORY = Path(__file__).with_name("inventory.yml")
ARTEFACTS = PROJECT / "artefacts/e2e"
LABEL = "jupyterhub-ansible.project"
# Labels what the tests create besides the Hub, so that it can be removed even after a failure.
TEST_LABEL = "jupyterhub-ansible.test=e2e"
# Of <linux/sockios.h>.
SIOCGIFADDR = 0x8915
SETTINGS: dict[str, Any] = yaml.safe_load(INVENTORY.read_text())["e2e"]["hosts"]["localhost"]
CATALOGUE: list[dict[str, Any]] = yaml.safe_load((PROJECT / "roles/images/defaults/main.yml").read_text())[
    "images_environments"
]
"""The built-in environments."""


def docker(*arguments: str, check: bool = True) -> str:
    """Run the Docker client, and return its output.

    Raises:
        AssertionError: it failed; the message has its output.
    """
    done = subprocess.run(
        ["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stdout}")
    return done.stdout.strip()


def inspect(*names: str) -> list[dict[str, Any]]:
    """Return `docker inspect` of containers, without those that no longer exist."""
    if not names:
        return []
    done = subprocess.run(["docker", "container", "inspect", *names], capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def bridge_of(described: dict[str, Any]) -> str:
    """Return the bridge interface of a network, from its `docker network inspect`."""
    name: str = (described["Options"] or {}).get("com.docker.network.bridge.name", f"br-{described['Id'][:12]}")
    return name


def address_of(interface: str) -> str:
    """Return the IPv4 address of an interface of this machine.

    Raises:
        AssertionError: there is no such interface, or it has no address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            # struct ifreq (netdevice(7)): the name, then a sockaddr_in with the address in its bytes 4 to 8.
            answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError as error:
            raise AssertionError(f"{interface} has no address: {error}") from error
    return socket.inet_ntoa(answer[20:24])


def address_on(network: str) -> str:
    """Return this machine's address on a network of the engine.

    Not the `Gateway` that the engine reports: it is missing for the default bridge until the engine restarts (20.10).
    """
    [described] = json.loads(docker("network", "inspect", network))
    return address_of(bridge_of(described))


def containers(project: str, *filters: str) -> dict[str, dict[str, Any]]:
    """Return the containers of a deployment by name, including stopped ones."""
    wanted = [f"label={LABEL}={project}", *filters]
    names = docker("ps", "--all", "--quiet", *[word for item in wanted for word in ("--filter", item)]).split()
    return {container["Name"].removeprefix("/"): container for container in inspect(*names)}


def base_environment(root: Path) -> str:
    """Return the image of the environment base of the Hub in this folder."""
    environments = json.loads((root / "hub/hub.json").read_text())["images_environments"]
    [image] = [str(each["image"]) for each in environments if each["slug"] == "base"]
    return image


def run_in_image(image: str, script: Path, *arguments: str, options: list[str]) -> tuple[list[dict[str, Any]], str]:
    """Run a Python script in a container, with the Python of users' servers.

    Args:
        image: of an environment.
        script: prints a JSON object in each line.
        arguments: of the script.
        options: more options for `docker run`, at least what whoever cleans up knows the container by.

    Returns:
        The objects, and what it wrote to standard error.
    """
    ours = ["--rm", "--interactive", "--init", "--memory=1g", "--cap-drop=all", "--tmpfs=/tmp:exec,mode=1777"]
    done = subprocess.run(
        ["docker", "run", *ours, *options, image, "/opt/jupyter/bin/python", "-", *arguments],
        input=script.read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@dataclass(frozen=True)
class Run:
    """A run of the playbook."""

    code: int
    output: str

    @property
    def tasks(self) -> int:
        """How many tasks were started, including skipped ones."""
        return len(re.findall(r"^TASK \[", self.output, re.MULTILINE))

    @property
    def changed(self) -> int:
        """The number of changes in the recap."""
        [count] = re.findall(r"^\S+ +: ok=.*\bchanged=(\d+)", self.output, re.MULTILINE)
        return int(count)

    def succeeded(self) -> Run:
        """Assert success.

        Raises:
            AssertionError: with the output from the first error on.
        """
        if self.code:
            error = self.output.find("[ERROR]")
            raise AssertionError(f"ansible-playbook ended with {self.code}:\n{self.output[error:][:6000]}")
        return self


class Deployment:
    """The Hub under test."""

    def __init__(self) -> None:
        self.name: str = SETTINGS["jupyterhub_name"]
        self.root = Path(SETTINGS["jupyterhub_root"])
        self.url = f"http://{SETTINGS['jupyterhub_address']}:{SETTINGS['jupyterhub_port']}"
        self.hub = f"{self.name}-hub"
        self.proxy = f"{self.name}-proxy"
        self.users_network = f"{self.name}-users"
        self.bridge = f"br-{self.name}"
        self._runs = 0
        self._as_in_inventory = False

    # --- deploying

    def run(self, *arguments: str, settings: dict[str, Any] | None = None, playbook: str = "site.yml") -> Run:
        """Run a playbook as an operator does; keep its output in a file."""
        extra = ["-e", json.dumps(settings)] if settings else []
        command = ["ansible-playbook", "-i", str(INVENTORY), playbook, *arguments, *extra]
        environment = {
            # Of Ansible's variables, only those that tests/conftest.py sets.
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_") or "CALLBACK" in key},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
            # As if the operator uses another engine than that of the system: a run never does.
            "DOCKER_HOST": "unix:///run/user/1000/docker.sock",
            "DOCKER_CONTEXT": "rootless",
            "DOCKER_TLS_VERIFY": "1",
        }
        self._runs += 1
        log = ARTEFACTS / f"run-{self._runs:02}.log"
        with log.open("w") as output:
            print("$", *command, file=output, flush=True)
            code = subprocess.run(
                command,
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode
        if code == 0 and "--check" not in arguments:
            self._as_in_inventory = "-e" not in command
        # Without the command line, which contains the settings.
        return Run(code, log.read_text().partition("\n")[2])

    def settle(self) -> None:
        """Deploy the inventory's settings again if a test has changed them."""
        if not self._as_in_inventory:
            self.run().succeeded()

    def remove(self) -> None:
        """Remove everything that runs and tests created, except images, the next run's cache."""
        for label in (f"{LABEL}={self.name}", TEST_LABEL):
            for list_all, remove in (
                (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
                (("volume", "ls", "--quiet"), ("volume", "rm")),
                (("network", "ls", "--quiet"), ("network", "rm")),
            ):
                if found := docker(*list_all, "--filter", f"label={label}").split():
                    docker(*remove, *found)
        unit = Path(f"/etc/systemd/system/{self.name}-fence.service")
        if unit.exists():
            subprocess.run(["systemctl", "disable", "--now", unit.name], check=True)
            unit.unlink()
        fence = ["nft", "delete", "table", "inet", f"{self.name}_fence"]
        if (
            shutil.which("nft")
            and not subprocess.run(["nft", "list", *fence[2:]], capture_output=True, check=False).returncode
        ):
            subprocess.run(fence, check=True)
        for pattern in (f"{self.name}-fence*", f"{self.name}-*.settled"):
            for stamp in Path("/run").glob(pattern):
                stamp.unlink()
        shutil.rmtree(self.root, ignore_errors=True)

    # --- inspecting

    def secret(self, name: str) -> str:
        """Return a secret of the Hub from its file."""
        return (self.root / "hub/secrets" / name).read_text().strip()

    def containers(self, *filters: str) -> dict[str, dict[str, Any]]:
        """Return this deployment's containers by name."""
        return containers(self.name, *filters)

    def server(self, user: str, server: str = "") -> dict[str, Any]:
        """Return the container of a user's server."""
        labels = [f"label=jupyterhub-ansible.user={user}", f"label=jupyterhub-ansible.server={server}"]
        [found] = self.containers(*labels).values()
        return found

    def run_in_image(self, script: Path, *arguments: str, scratch: tuple[str, str]) -> tuple[list[dict[str, Any]], str]:
        """Run a Python script in a container of the environment base (`run_in_image`).

        Args:
            script: prints a JSON object in each line.
            arguments: of the script.
            scratch: a file system in memory, for a user's files: its folder, and its size such as 16m.

        Returns:
            The objects, and what it wrote to standard error.
        """
        folder, size = scratch
        options = [f"--label={TEST_LABEL}", f"--tmpfs={folder}:exec,mode=700,uid=1000,gid=1000,size={size}"]
        return run_in_image(base_environment(self.root), script, *arguments, options=options)

    def start_times(self) -> dict[str, str]:
        """Return the start time of each container: it changes with every restart."""
        return {name: f"{c['Id'][:12]} {c['State']['StartedAt']}" for name, c in self.containers().items()}

    def state(self) -> dict[str, str]:
        """Return everything that a run can change: containers, volumes, networks, image tags and files, by name."""
        of_ours = ("--filter", f"label={LABEL}={self.name}", "--format")
        found = {f"container {name}": started for name, started in self.start_times().items()}
        found |= dict.fromkeys((f"volume {line}" for line in docker("volume", "ls", *of_ours, "{{.Name}}").split()), "")
        found |= dict.fromkeys((f"network {line}" for line in docker("network", "ls", *of_ours, "{{.ID}}").split()), "")
        images = docker("images", f"{self.name}/*", "--format", "{{.Repository}}:{{.Tag}}={{.ID}}").split()
        found |= dict(f"image {line}".split("=") for line in images)
        # Except for logs of failed builds.
        for path in sorted(path for path in self.root.rglob("*") if self.root / "builds" not in (path, path.parent)):
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[f"file {path}"] = f"{path.lstat().st_mode:o} {path.lstat().st_uid} {content}"
        return found

    def logs(self, lines: int = 80) -> Iterator[tuple[str, str]]:
        """Yield the name and the end of the log of every container."""
        for name in self.containers():
            yield name, docker("logs", "--tail", str(lines), name, check=False)


def other_hubs() -> dict[str, str]:
    """Return the start times of other Hubs and proxies on this machine."""
    kinds = ("hub", "proxy")
    names = docker("ps", "--quiet", "--filter", f"label={LABEL}").split()
    return {
        container["Id"]: container["State"]["StartedAt"]
        for container in inspect(*names)
        if container["Config"]["Labels"][LABEL] != SETTINGS["jupyterhub_name"]
        and container["Config"]["Labels"].get("jupyterhub-ansible.kind") in kinds
    }


@contextlib.contextmanager
def deployed(keep: bool) -> Iterator[Deployment]:
    """Deploy, and remove in the end unless `keep`; a kept deployment is reused."""
    deployment = Deployment()
    shutil.rmtree(ARTEFACTS, ignore_errors=True)
    ARTEFACTS.mkdir(parents=True)
    if not keep:
        deployment.remove()
    try:
        # As verbose as possible: test_7_secrets searches the output of the run that created the secrets.
        deployment.run("-vvv", "--diff").succeeded()
        yield deployment
    finally:
        if not keep:
            deployment.remove()


if __name__ == "__main__":
    Deployment().remove()
