"""Helpers for tests on throwaway machines."""

from __future__ import annotations

import json
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.client import eventually
from testinfra.backend.base import CommandResult
from testinfra.backend.docker import DockerBackend
from testinfra.host import Host

LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
while True:
    server.accept()[0].close()
"""
CONNECT = """
import concurrent.futures, json, socket, sys
def reached(way):
    host, _, port = way.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True
ways = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    found = dict(zip(ways, pool.map(reached, ways.values())))
print(json.dumps(found))
"""

HEALTHY_S = 180
CONFIG = "/usr/local/share/jupyterhub/jupyterhub_config.py"
# Calls JupyterHub's REST API from within the machine: the Hub is published on the loopback address only.
ASK = """
import json, sys, urllib.error, urllib.request
method, path, token, body = sys.argv[1:5]
request = urllib.request.Request("http://127.0.0.1:8000" + path, method=method, data=body.encode() or None)
request.add_header("Authorization", "token " + token)
try:
    with urllib.request.urlopen(request, timeout=60) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, str(error)]))
"""


# As the engine's `exec` does, with nothing of this host's environment.
ENTER = (
    "nsenter --target %s --all env --ignore-environment HOME=/root"
    " PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c %s"
)


class MachineBackend(DockerBackend):
    """Runs commands in a throwaway machine's namespaces: 2 ms of processor time, 50 with the engine's `exec`."""

    _number = 0
    """The pid of the machine's first process."""
    _held: int | None = None
    """A handle of that process: the pid alone could be reused."""

    def run(self, command: str, *args: str, **options: Any) -> CommandResult:
        """See testinfra."""
        if not self._runs():
            # First use, or the machine was rebooted.
            self._look()
        if not self._runs():
            # The machine does not run: let the engine say so.
            return super().run(command, *args, **options)
        command = self.get_command(command, *args)
        result = self.run_local(ENTER, str(self._number), command)
        result.command = self.encode(command)
        return result

    def _runs(self) -> bool:
        return self._held is not None and not select.select([self._held], [], [], 0)[0]

    def _look(self) -> None:
        if self._held is not None:
            os.close(self._held)
        self._number = int(self.run_local("docker inspect --format {{.State.Pid}} %s", self.name).stdout.strip() or 0)
        try:
            self._held = os.pidfd_open(self._number) if self._number else None
        except ProcessLookupError:
            self._held = None


def inspect(host: Host, name: str, kind: str = "container") -> dict[str, Any]:
    """Return ``docker inspect`` of a container, a network or a volume."""
    described: dict[str, Any] = json.loads(host.check_output(f"docker {kind} inspect %s", name))[0]
    return described


def image(host: Host) -> str:
    """Return the id of an image that contains Python: the Hub's."""
    images: str = host.check_output("docker image ls --filter label=jupyterhub-ansible.kind=hub --format '{{.ID}}'")
    return images.split()[0]


def reached(host: Host, network: str, ways: dict[str, str]) -> dict[str, bool]:
    """Return for each way (name to ``host:port``) whether a container on the network reaches it."""
    run = "docker run --rm --network %s --entrypoint python %s -c %s %s"
    answer: dict[str, bool] = json.loads(host.check_output(run, network, image(host), CONNECT, json.dumps(ways)))
    return answer


@contextmanager
def listener(host: Host, where: str) -> Iterator[str]:
    """Listen on an address of the machine, or in a container on a network; yield ``host:port``."""
    network = "host" if where[0].isdigit() else where
    address = where if network == "host" else ""
    name = "test-listener-" + network
    host.check_output(
        "docker run --detach --name %s --network %s --entrypoint python %s -c %s %s",
        name, network, image(host), LISTEN, address,
    )  # fmt: skip
    try:
        eventually("the listener's port", lambda: host.check_output("docker logs %s", name) != "")
        port = host.check_output("docker logs %s", name)
        if not address:
            address = inspect(host, name)["NetworkSettings"]["Networks"][network]["IPAddress"]
        yield f"{address}:{port}"
    finally:
        host.check_output("docker rm --force %s", name)


def started(host: Host, name: str) -> str:
    """Return when a container was started: it changes with every restart."""
    at: str = inspect(host, name)["State"]["StartedAt"]
    return at


def wait_until_healthy(host: Host, *names: str) -> None:
    """Wait until Hub and proxy, or the containers that are named, are healthy; the engine checks every 10 s."""
    asked = names or ("jupyterhub-hub", "jupyterhub-proxy")
    # A container that has exited may still be called healthy.
    ask = f"docker inspect --format '{{{{.State.Status}}}} {{{{.State.Health.Status}}}}' {' '.join(asked)}"
    deadline = time.monotonic() + HEALTHY_S
    states: list[str] = []
    while time.monotonic() < deadline:
        states = host.run(ask).stdout.splitlines()
        if states == ["running healthy"] * len(asked):
            return
        time.sleep(1)
    raise AssertionError(f"{' and '.join(asked)}: {states}")


def assert_fence(host: Host, user: str, hub: str = "jupyterhub-hub", proxy: str = "jupyterhub-proxy") -> None:
    """Prove the fence from inside a user's server; `hub` and `proxy` are the containers' names."""
    with listener(host, "10.213.0.1") as machine, listener(host, "jupyterhub-users") as other:
        control = inspect(host, proxy)["NetworkSettings"]["Networks"]["jupyterhub-control"]["IPAddress"]
        ways = {
            "hub": "hub:8081",
            "proxy": "proxy:8000",
            "api": f"{control}:8001",
            "machine": machine,
            "other": other,
        }
        closed = {"api": False, "machine": False, "other": False}
        assert reached(host, f"container:jupyterhub-user-{user}", ways) == {"hub": True, "proxy": True, **closed}
        # In the other direction, the Hub reaches a server.
        assert reached(host, f"container:{hub}", {"other": other}) == {"other": True}


class Admin:
    """An administrator of the Hub, with an API token."""

    def __init__(self, host: Host, name: str = "jupyterhub", token: str = "") -> None:
        self.host = host
        new = f"docker exec {name}-hub jupyterhub token admin -f {CONFIG} 2>/dev/null"
        self.token = token or host.check_output(new)

    def ask(self, method: str, path: str, body: object = "") -> tuple[int, Any]:
        text = json.dumps(body) if body != "" else ""
        status, answer = json.loads(
            self.host.check_output("python3 -c %s %s %s %s %s", ASK, method, path, self.token, text)
        )
        return status, answer

    def stop(self, user: str) -> None:
        """Stop a user's server, and wait until the Hub has forgotten it."""
        status, answer = self.ask("DELETE", f"/hub/api/users/{user}/server")
        assert status in (202, 204), answer

        def is_gone() -> bool:
            status, answer = self.ask("GET", f"/hub/api/users/{user}")
            return status == 200 and not json.loads(answer)["servers"]

        eventually("the server's stop", is_gone)

    def start(self, user: str, **options: str) -> None:
        self.ask("POST", f"/hub/api/users/{user}")
        status, answer = self.ask("POST", f"/hub/api/users/{user}/server", options)
        assert status in (201, 202) or "already running" in answer, answer
        for _ in range(60):
            status, answer = self.ask("GET", f"/user/{user}/api/status")
            if status == 200:
                return
            time.sleep(1)
        raise AssertionError(answer)
