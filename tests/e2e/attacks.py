"""Attacks of one user's server on the others, and another user who works meanwhile.

Every attack is limited in time and by the limits of the attacker's own server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from e2e.client import Kernel, Server

SECONDS = 5
"""How long an attack lasts."""
TIMEOUT_S = 10.0
"""For a cell or a page during an attack; a blocked server would not answer at all."""

FORK_BOMB = f"""
import os, signal, time
children, refused, why, begun = [], 0, "", time.monotonic()
# On a busy machine it takes longer to reach the limit.
while (seconds := time.monotonic() - begun) < {SECONDS} or (not refused and seconds < {12 * SECONDS}):
    try:
        child = os.fork()
    except OSError as error:
        refused, why = refused + 1, error.strerror
        time.sleep(0.01)
        continue
    if not child:
        time.sleep({15 * SECONDS})
        os._exit(0)
    children.append(child)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(children), refused, why)
"""

SPIN = f"""
import multiprocessing, time
def spin():
    end = time.monotonic() + {SECONDS}
    while time.monotonic() < end:
        pass
processes = [multiprocessing.get_context("fork").Process(target=spin) for _ in range(8)]
[process.start() for process in processes]
[process.join() for process in processes]
"""

FILL = """
try:
    with open({path!r}, "wb", buffering=0) as file:
        while file.write(b"x" * 1024 * 1024) == 1024 * 1024:
            pass
    print(file.name, "was cut short")
except OSError as error:
    print(error.strerror)
import os
size = os.path.getsize({path!r})
os.remove({path!r})
size // 1024**2
"""

FLOOD = f"""
import os, time
end = time.monotonic() + {SECONDS}
written, line = 0, b"x" * 1023 + b"\\n"
# The server's own standard output, which Docker logs.
with open("/proc/1/fd/1", "wb", buffering=0) as log:
    while time.monotonic() < end and written < 200 * 1024 * 1024:
        written += log.write(line * 64)
written // 1024**2
"""


def hog_memory(server: Server, memory_mb: int) -> None:
    """Use all memory of the server, until its kernel is killed for that and JupyterLab restarts it.

    Raises:
        AssertionError: the kernel survived.
    """
    with server.kernel() as kernel:
        kernel.send(f"data = b'x' * ({memory_mb} * 1024 * 1024)")
        while (message := kernel.receive())["content"].get("execution_state") != "restarting":
            assert message["msg_type"] != "execute_reply", f"the kernel survived: {message['content']}"


def attacks(memory_mb: int) -> dict[str, Callable[[Server], object]]:
    """Return each attack by its name, for servers with this memory limit."""
    return {
        "fork bomb": lambda server: server.run(FORK_BOMB),
        "memory hog": lambda server: hog_memory(server, memory_mb),
        "processor spin": lambda server: server.run(SPIN),
        "/tmp filler": lambda server: server.run(FILL.format(path="/tmp/filler")),
        "log flood": lambda server: server.run(FLOOD),
    }


class Neighbour(threading.Thread):
    """Another user who repeatedly runs a cell and opens a page of the Hub; keeps the seconds that each took."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(daemon=True)
        self.kernel = kernel
        self.cells: list[float] = []
        self.pages: list[float] = []
        self.errors: list[str] = []
        self._enough = threading.Event()

    def __enter__(self) -> Neighbour:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join(60)

    def run(self) -> None:
        """Work until the end, or until something fails."""
        while not self._enough.wait(0.05):
            try:
                began = time.monotonic()
                assert self.kernel.execute("sum(range(1000))").result == "499500"
                self.cells.append(time.monotonic() - began)
                began = time.monotonic()
                self.kernel.server.user.request("GET", "/hub/home", timeout=TIMEOUT_S).raise_for_status()
                self.pages.append(time.monotonic() - began)
            except Exception as error:
                self.errors.append(repr(error))
                return
