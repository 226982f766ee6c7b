"""How users affect each other: by a server that hangs, by an image that is pulled, by attacks."""

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
"""An image whose download takes 10 s; unpacking it takes additional time."""


@contextmanager
def _hung_stop(hub: Hub) -> Iterator[None]:
    """Stop a server that does not react, so that Docker waits for 10 s."""
    hung = ByHub(hub, hub.log_in("hung"))
    hung.start()
    [container] = inspect(hung.container)
    # A process that is suspended by SIGSTOP reacts to SIGKILL only.
    os.kill(container["State"]["Pid"], signal.SIGSTOP)
    stopping = threading.Thread(target=hung.stop)
    stopping.start()
    # Until the request has reached Docker.
    time.sleep(0.3)
    yield
    stopping.join()


@contextmanager
def _pull(hub: Hub) -> Iterator[None]:
    """Pull an image for another user's server; the image cannot be started."""
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
                raise TimeoutError("the image was not pulled")
            yield
            starting.join()
            # The server is pending until the Hub has cleaned up.
            eventually("the end of that start", lambda: not user.servers())
            docker("rmi", server.reference)


DISTURBANCES: dict[str, Callable[[Hub], Any]] = {"a hung stop": _hung_stop, "a pull": _pull}


def disturbed_starts(
    hubs: dict[str, Hub], repetitions: int, say: Callable[[str], Any]
) -> dict[str, dict[str, list[float]]]:
    """Start another user's server during each disturbance, and just before for comparison; return seconds by Hub."""
    found: dict[str, dict[str, list[float]]] = {
        title: {when: [] for disturbance in DISTURBANCES for when in (f"before {disturbance}", disturbance)}
        for title in hubs
    }
    for repetition in range(repetitions):
        say(f"starts beside a hung stop and a pull: round {repetition + 1} of {repetitions}")
        for title, hub in hubs.items():
            other = ByHub(hub, hub.log_in("other"))
            for disturbance, disturb in DISTURBANCES.items():
                found[title][f"before {disturbance}"].append(timed(other).start_s)
                with disturb(hub):
                    found[title][disturbance].append(timed(other).start_s)
    return found


def _attack(offender: Server, attack: Callable[[Server], Any]) -> None:
    """Attack once.  The offender's own server may not survive that; only the effect on the other user matters."""
    try:
        attack(offender)
    except (AssertionError, OSError, WebSocketException):
        eventually("the Hub's notice", lambda: not offender.user.servers() or offender.user.servers()[0].open().ok, 120)
        if not offender.user.servers():
            offender.start()


def latencies(hub: Hub, memory_mb: int, say: Callable[[str], Any]) -> dict[str, dict[str, list[float]]]:
    """Let one user attack while another one runs cells; return the seconds of each cell, before and meanwhile."""
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
                # Repeated, as some attacks end immediately.
                end = time.monotonic() + QUIET_S
                while time.monotonic() < end:
                    _attack(offender, attack)
        if errors := quiet.errors + meanwhile.errors:
            raise RuntimeError(f"{name}: the neighbour could not continue: {errors}")
        found[name] = {"before": quiet.cells, "meanwhile": meanwhile.cells, "pages": meanwhile.pages}
    for server in (neighbour, offender):
        server.stop()
    return found
