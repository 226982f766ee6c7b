"""Measure the time from the request for a server to its first answer."""

from __future__ import annotations

import http.client
import ipaddress
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from e2e.client import User
from e2e.deployment import docker, inspect

from .hubs import Hub, environment_file
from .project import ARTEFACTS, NAME

POLL_S = 0.02
TIMEOUT_S = 120.0
FLOOR = ["-IS", "-m", "http.server", "8888"]
"""The minimal command, for the cost of a container itself: Python's own HTTP server."""


def _until(answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not answers():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a server did not answer within {TIMEOUT_S} s")
        time.sleep(POLL_S)


class ByHub:
    """A user's server that is started like by the Hub's pages; ready when its URL answers through the proxy."""

    def __init__(self, hub: Hub, user: User) -> None:
        self.user = user
        self.container = hub.container(user.name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        # The Hub answers when the server is ready, or with 202 after 10 s (`slow_spawn_timeout`).
        answer = self.user.api("POST", f"users/{self.user.name}/server", timeout=TIMEOUT_S)
        if answer.status_code == http.client.ACCEPTED:
            list(self.user.server().progress())
        elif not answer.ok:
            raise RuntimeError(f"{self.container} did not start: {answer.text}")
        _until(
            lambda: self.user.request("GET", f"/user/{self.user.name}/api", allow_redirects=False).status_code == 200
        )

    def stop(self) -> None:
        """Stop it, and wait until it has stopped."""
        self.user.server().stop()


def _by_file(option: str) -> str:
    """Return a security option for the command line, which needs a file for the seccomp profile in the API's string."""
    if not option.startswith("seccomp={"):
        return option
    profile = ARTEFACTS / "seccomp.json"
    profile.write_text(option.partition("=")[2])
    return f"seccomp={profile}"


class Bare:
    """A container like that of a Hub's server, but started by `docker run`.

    With `floor`, only a trivial HTTP server runs in it.

    Image, environment, limits and network are copied from a server of the Hub, which must keep running, as its API
    token is used, too.  The home is a volume of the same kind.
    """

    def __init__(self, name: str, like: str, floor: bool = False) -> None:
        self.name = f"{NAME}-bare-{name}"
        [model] = inspect(like)
        config, limits = model["Config"], model["HostConfig"]
        [(network, endpoint)] = model["NetworkSettings"]["Networks"].items()
        # An address that no server gets (images/hub/jupyterhub_ansible/rules/users_network.py).
        address = ipaddress.ip_interface(f"{endpoint['IPAddress']}/{endpoint['IPPrefixLen']}").network[100]
        environment = dict(entry.split("=", 1) for entry in config["Env"])
        self._address = str(address)
        self._path = "/" if floor else urlsplit(environment["JUPYTERHUB_SERVICE_URL"]).path + "api"
        self._environment = environment
        self._arguments = [
            "--name", self.name, "--network", network, "--ip", str(address),
            "--memory", str(limits["Memory"]), "--memory-swap", str(limits["MemorySwap"]),
            "--cpu-period", str(limits["CpuPeriod"]), "--cpu-quota", str(limits["CpuQuota"]),
            "--pids-limit", str(limits["PidsLimit"] or -1),
            *(["--init"] if limits.get("Init") else []),
            *(f"--cap-drop={name}" for name in limits["CapDrop"] or []),
            *(f"--security-opt={_by_file(option)}" for option in limits["SecurityOpt"] or []),
            "--volume", f"{self.name}:/home/jovyan",
            *(["--entrypoint", "/usr/bin/python3"] if floor else []),
            config["Image"], *(FLOOR if floor else config["Cmd"]),
        ]  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with environment_file(**self._environment) as variables:
            docker("run", "--detach", "--env-file", variables, *self._arguments)
        _until(self._answers)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self._address, 8888, timeout=5)
        try:
            connection.request("GET", self._path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """Remove it."""
        docker("rm", "--force", self.name)


Start = ByHub | Bare


@dataclass(frozen=True)
class Durations:
    """Durations of one start and stop."""

    start_s: float
    cpu_s: float
    """CPU time of the whole machine until the server answered, including the engine's and the Hub's."""
    stop_s: float


def _busy_s() -> float:
    """Return the CPU time that all processes of the machine have used (proc_stat(5))."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    user, nice, system, _idle, _iowait, irq, softirq = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def timed(start: Start) -> Durations:
    """Start and stop once."""
    busy, begin = _busy_s(), time.perf_counter()
    start.start()
    ready, cpu_s = time.perf_counter(), _busy_s() - busy
    start.stop()
    return Durations(ready - begin, cpu_s, time.perf_counter() - ready)


def interleaved(variants: dict[str, Start], repetitions: int, say: Callable[[str], Any]) -> dict[str, list[Durations]]:
    """Start all variants in turn, so that other load on the machine affects them equally.

    A first round fills caches and homes, and does not count.
    """
    found: dict[str, list[Durations]] = {title: [] for title in variants}
    for repetition in range(repetitions + 1):
        order = list(variants.items())
        turn = repetition % len(order)
        for title, variant in order[turn:] + order[:turn]:
            durations = timed(variant)
            if repetition:
                found[title].append(durations)
        say(f"starts: round {repetition} of {repetitions}" + ("" if repetition else " (warm-up)"))
    return found


def simultaneous(hub: Hub, users: int) -> list[float]:
    """Start the servers of this many users at the same time; return the seconds until each was ready."""
    starts = [ByHub(hub, hub.log_in(f"many{users}-{number}")) for number in range(users)]
    barrier = threading.Barrier(users)

    def one(start: ByHub) -> float:
        barrier.wait()
        begin = time.perf_counter()
        start.start()
        return time.perf_counter() - begin

    with ThreadPoolExecutor(users) as pool:
        seconds = list(pool.map(one, starts))
        list(pool.map(lambda start: start.stop(), starts))
    return seconds
