"""What a user notices of others: of a server that hangs, of an image that is fetched, of attacks."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from e2e.attacks import Neighbour, attacks
from e2e.client import TIMEOUT_S, Server, StartError, eventually
from e2e.deployment import docker, inspect
from e2e.registry import EMPTY, random_layer, registry
from websockets.exceptions import WebSocketException

from .hubs import PULL_PORT, Hub
from .starts import ByHub, timed

QUIET_S = 10
"""How long the neighbour works before each attack, for comparison."""
PULL_MB, PULL_MB_PER_S = 400, 40
"""An image that takes 10 s to fetch; writing it to the disk takes time of its own."""


@contextmanager
def _hung_stop(hub: Hub) -> Iterator[None]:
    """Have a server that is being stopped and does not react, so that Docker waits its 10 s."""
    hung = ByHub(hub, hub.log_in("hung"))
    hung.start()
    [container] = inspect(hung.container)
    # A process that is stopped (SIGSTOP) gets no other signal but SIGKILL.
    os.kill(container["State"]["Pid"], signal.SIGSTOP)
    stopping = threading.Thread(target=hung.stop)
    stopping.start()
    # The request has to reach Docker.
    time.sleep(0.3)
    yield
    stopping.join()


@contextmanager
def _pull(hub: Hub) -> Iterator[None]:
    """Have a user whose server needs an image that is being fetched; nothing can be started from it in the end."""
    user = hub.log_in("puller")
    with tempfile.TemporaryDirectory() as folder:
        image = EMPTY.with_layer(random_layer(Path(folder) / "layer.tar", PULL_MB))
        with registry(image, PULL_PORT, PULL_MB_PER_S * 10**6) as server:

            def start() -> None:
                answer = user.api(
                    "POST", f"users/{user.name}/server", json={"user_options": {"image": server.reference}}
                )
                if answer.ok:
                    with suppress(StartError):
                        user.server().wait_until_ready()

            starting = threading.Thread(target=start)
            starting.start()
            if not server.pulling.wait(TIMEOUT_S):
                raise TimeoutError("nobody fetched the image")
            yield
            starting.join()
            # The Hub takes it for pending until its clean-up is through.
            eventually("the end of that start", lambda: not user.servers())
            docker("rmi", server.reference)


DISTURBANCES: dict[str, Callable[[Hub], Any]] = {"a hung stop": _hung_stop, "a pull": _pull}


def disturbed_starts(
    hubs: dict[str, Hub], repetitions: int, say: Callable[[str], Any]
) -> dict[str, dict[str, list[float]]]:
    """Start a server of another user while something goes on, and just before for comparison; seconds by Hub."""
    found: dict[str, dict[str, list[float]]] = {
        title: {what: [] for disturbance in DISTURBANCES for what in (f"before {disturbance}", disturbance)}
        for title in hubs
    }
    for repetition in range(repetitions):
        say(f"starts beside a hung stop and a pull: round {repetition + 1} of {repetitions}")
        for title, hub in hubs.items():
            other = ByHub(hub, hub.log_in("other"))
            for disturbance, going_on in DISTURBANCES.items():
                found[title][f"before {disturbance}"].append(timed(other).start_s)
                with going_on(hub):
                    found[title][disturbance].append(timed(other).start_s)
    return found


def _attack(offender: Server, attack: Callable[[Server], Any]) -> None:
    """Attack once.  An offender's own server may not survive that: what it does to the other user is measured."""
    try:
        attack(offender)
    except (AssertionError, OSError, WebSocketException):
        eventually("the Hub's notice", lambda: not offender.user.servers() or offender.user.servers()[0].open().ok, 120)
        if not offender.user.servers():
            offender.start()


def latencies(hub: Hub, memory_mb: int, say: Callable[[str], Any]) -> dict[str, dict[str, list[float]]]:
    """Let one user attack while another one runs cells; seconds of each cell, before and meanwhile."""
    neighbour, offender = (hub.log_in(name).server() for name in ("neighbour", "offender"))
    for server in (neighbour, offender):
        server.start()
    found = {}
    for name, attack in attacks(memory_mb).items():
        say(f"attack: {name}")
        with neighbour.kernel() as kernel:
            kernel.execute("1")
            with Neighbour(kernel) as quiet:
                time.sleep(QUIET_S)
            with Neighbour(kernel) as meanwhile:
                # Some are over at once.
                end = time.monotonic() + QUIET_S
                while time.monotonic() < end:
                    _attack(offender, attack)
        if errors := quiet.errors + meanwhile.errors:
            raise RuntimeError(f"{name}: the neighbour could not go on: {errors}")
        found[name] = {"before": quiet.cells, "meanwhile": meanwhile.cells, "pages": meanwhile.pages}
    for server in (neighbour, offender):
        server.stop()
    return found
