"""One user's server against the machine: the other user and the Hub go on, and the offender is told why.

Every attack is bounded, in time and by the limits of the offender's own server.
"""

from __future__ import annotations

import re
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.client import Kernel, NewUser, Server, StartError, User, eventually
from e2e.deployment import SETTINGS, Deployment, inspect

MB = 1024**2
GUARANTEED_MB = 1024
SECONDS = 10
# Of a cell and of a page, while somebody attacks; a server that is out of action takes for ever.
AT_MOST_S = 10.0


class Neighbour(threading.Thread):
    """Another user who runs a cell and looks at the Hub, again and again; how long each took is kept."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(daemon=True)
        self.kernel = kernel
        self.cells: list[float] = []
        self.pages: list[float] = []
        self.errors: list[str] = []
        self._enough = threading.Event()

    def run(self) -> None:
        while not self._enough.wait(0.05):
            try:
                began = time.monotonic()
                assert self.kernel.execute("sum(range(1000))").result == "499500"
                self.cells.append(time.monotonic() - began)
                began = time.monotonic()
                self.kernel.server.user.request("GET", "/hub/home", timeout=AT_MOST_S).raise_for_status()
                self.pages.append(time.monotonic() - began)
            except Exception as error:
                self.errors.append(repr(error))
                return

    def stop(self) -> None:
        self._enough.set()
        self.join(60)


@contextmanager
def undisturbed(neighbour: User, what: str) -> Iterator[None]:
    """The neighbour's cells and pages are answered meanwhile, all of them within `AT_MOST_S`."""
    with neighbour.server().kernel() as kernel:
        kernel.execute("1")
        quiet = []
        for _ in range(10):
            began = time.monotonic()
            kernel.execute("sum(range(1000))")
            quiet.append(time.monotonic() - began)
        watching = Neighbour(kernel)
        watching.start()
        try:
            yield
        finally:
            watching.stop()
        assert watching.errors == []
        assert len(watching.cells) > 5
        assert max(watching.cells + watching.pages) < AT_MOST_S
        before, now = (1000 * statistics.median(each) for each in (quiet, watching.cells))
        print(f"{what}: the neighbour's cell took {before:.0f} ms before, {now:.0f} ms meanwhile (medians)")


@pytest.fixture
def offender(deployment: Deployment, new_user: NewUser) -> Server:
    deployment.settle()
    server = new_user("mallory").server()
    server.start("base")
    return server


FORK_BOMB = f"""
import os, signal, time
children, refused, end = [], 0, time.monotonic() + {SECONDS}
while time.monotonic() < end:
    try:
        child = os.fork()
    except OSError as error:
        refused, why = refused + 1, error.strerror
        time.sleep(0.01)
        continue
    if not child:
        time.sleep({SECONDS})
        os._exit(0)
    children.append(child)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(children), refused, why)
"""


def test_fork_bomb(offender: Server, alice: User) -> None:
    with undisturbed(alice, "fork bomb"):
        made, refused, why = offender.run(FORK_BOMB).stdout.split(maxsplit=2)
    assert int(made) < SETTINGS["hub_server_pids"]
    assert int(refused) > 0
    assert why.strip() == "Resource temporarily unavailable"
    # And the server is of use again.
    assert offender.run("1 + 1").result == "2"


def test_memory_hog(deployment: Deployment, offender: Server, alice: User) -> None:
    started = deployment.server("mallory")["State"]["StartedAt"]
    with undisturbed(alice, "memory hog"), offender.kernel() as kernel:
        kernel.send(f"data = b'x' * ({SETTINGS['hub_server_memory_mb']} * 1024 * 1024)")
        # What the Lab tells the user: the kernel died, and was restarted.
        while (message := kernel.receive())["content"].get("execution_state") != "restarting":
            assert message["msg_type"] != "execute_reply", f"the kernel went on: {message['content']}"
    assert deployment.server("mallory")["State"]["StartedAt"] == started


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


def test_processor_spin(offender: Server, alice: User) -> None:
    with undisturbed(alice, "processor spin"):
        offender.run(SPIN)


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


@pytest.mark.parametrize("path", ["/tmp/filler", "/dev/shm/filler"])
def test_temporary_files(offender: Server, alice: User, path: str) -> None:
    with undisturbed(alice, path):
        output = offender.run(FILL.format(path=path))
    assert output.stdout.strip().endswith(("No space left on device", "was cut short"))
    # Half of the memory: the kernel that fills it lives on.
    assert SETTINGS["hub_server_memory_mb"] // 2 - 2 <= int(output.result) <= SETTINGS["hub_server_memory_mb"] // 2


def test_what_is_in_tmp_can_run(offender: Server) -> None:
    program = "f=$(mktemp) && printf '#!/bin/sh\\necho it runs\\n' > $f && chmod +x $f && $f && rm $f"
    with offender.terminal() as terminal:
        assert "it runs" in terminal.run(program)


FLOOD = f"""
import os, time
end = time.monotonic() + {SECONDS}
written, line = 0, b"x" * 1023 + b"\\n"
# The standard output of the server itself, which is what Docker keeps.
with open("/proc/1/fd/1", "wb", buffering=0) as log:
    while time.monotonic() < end and written < 200 * 1024 * 1024:
        written += log.write(line * 64)
written // 1024**2
"""


def test_log_flood(deployment: Deployment, offender: Server, alice: User) -> None:
    with undisturbed(alice, "log flood"):
        written = int(offender.run(FLOOD).result)
    log = Path(deployment.server("mallory")["LogPath"])
    kept = sum(path.stat().st_size for path in log.parent.glob(f"{log.name}*"))
    assert written > 20, "the flood was none"
    assert kept < 12 * MB


# --- the ceiling of all servers together


def machine_mb() -> int:
    """Return the memory of this machine."""
    return int(re.findall(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)[0]) // 1024


def ceiling(deployment: Deployment) -> int | None:
    """Return what all users' servers can take together, as the kernel has it; None where it cannot be set."""
    groups = Path("/sys/fs/cgroup")
    name = f"{deployment.name}-users"
    for path in (
        groups / f"memory/{name}/memory.limit_in_bytes",
        groups / f"{name}/memory.max",
        *groups.glob(f"**/{name}.slice/memory.max"),
    ):
        if path.exists():
            return int(path.read_text())
    return None


def test_all_servers_together_have_a_ceiling(deployment: Deployment, alice: User) -> None:
    deployment.settle()
    assert (ceiling(deployment) or 0) // MB == machine_mb() - 1024
    # And are under it.
    process = inspect(f"{deployment.name}-user-alice")[0]["State"]["Pid"]
    assert f"/{deployment.name}-users" in Path(f"/proc/{process}/cgroup").read_text()


# --- the machine is full


def limits(deployment: Deployment) -> int:
    """Return what the servers that run may take together, in MB."""
    running = deployment.containers("label=jupyterhub-ansible.kind=user-server").values()
    return sum(int(each["HostConfig"]["Memory"]) for each in running if each["State"]["Running"]) // MB


@pytest.fixture(scope="module")
def alone(deployment: Deployment, alice: User, bob: User) -> Iterator[None]:
    """No server of another test runs, and each test deploys what it needs."""
    for user in (alice, bob):
        user.server().stop()
    yield
    deployment.settle()
    alice.server().start("base")
    bob.server().start("datascience")


def test_oversubscribed_machine_serves_in_order(deployment: Deployment, new_user: NewUser, alone: None) -> None:
    budget = 2048
    names = [f"full{number}" for number in range(5)]
    guarantee = {"Spawner": {"mem_guarantee": f"{GUARANTEED_MB}M"}, "UserServerSpawner": {"full_wait_s": 300}}
    settings = {"hub_reserve_memory_mb": machine_mb() - budget, "hub_server_memory_mb": GUARANTEED_MB}
    deployment.run(settings={**settings, "hub_traits": guarantee}).succeeded()
    users = [new_user(name) for name in names]
    ready: list[str] = []
    told: dict[str, list[str]] = {name: [] for name in names}
    most: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            most.append(limits(deployment))

    def start(user: User) -> None:
        assert user.api("POST", f"users/{user.name}/server", json={}, timeout=120).status_code in (201, 202)
        for event in user.server().progress():
            told[user.name].append(event["message"])
            if event.get("ready"):
                ready.append(user.name)

    watching = threading.Thread(target=watch)
    watching.start()
    threads = [threading.Thread(target=start, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
        # So that there is an order; the third and the later ones find the machine full.
        time.sleep(1)
    for number in range(3):
        eventually(f"server {number + 2}", lambda count=number + 2: len(ready) >= count, 120)  # type: ignore[misc]
        # The next one waits until this one is gone.
        time.sleep(3)
        assert len(ready) == number + 2
        users[number].server().stop()
    for thread in threads:
        thread.join(120)
    ended.set()
    watching.join()
    assert sorted(ready[:2]) == names[:2]
    assert ready[2:] == names[2:]
    assert max(most) == budget, "used as far as it goes, and no further"
    assert any("The machine is full: 3 servers are waiting, and yours is number 3." in each for each in told["full4"])
    assert any("The machine is full: 1 server is waiting, yours." in each for each in told["full4"])
    assert not any("machine is full" in each for each in told["full0"])


def test_start_that_waits_in_vain_is_told_so(deployment: Deployment, new_user: NewUser, alone: None) -> None:
    traits = {"Spawner": {"mem_guarantee": "1G"}, "UserServerSpawner": {"full_wait_s": 5}}
    settings = {"hub_reserve_memory_mb": machine_mb() - 1500, "hub_server_memory_mb": 1024}
    deployment.run(settings={**settings, "hub_traits": traits}).succeeded()
    first, second = (new_user(name).server() for name in ("vain0", "vain1"))
    first.start("base")
    with pytest.raises(StartError, match="The machine is full: no other server was stopped within 5 seconds"):
        second.start("base")
    first.stop()
    second.start("base")


def test_under_the_ceiling_the_largest_process_ends_and_nothing_else(
    deployment: Deployment, new_user: NewUser, alone: None
) -> None:
    # Two servers may take 1 GB each, and all together 1.5.
    settings = {"hub_reserve_memory_mb": machine_mb() - 1536, "hub_server_memory_mb": 1024}
    deployment.run(settings=settings).succeeded()
    small, large = new_user("small").server(), new_user("large").server()
    small.start("base")
    large.start("base")
    with small.kernel() as innocent, large.kernel() as greedy:
        innocent.execute("kept = b'x' * (450 * 1024 * 1024)")
        greedy.send("import time\ndata = [b'x' * 1024**2 for _ in range(900)]")
        while (message := greedy.receive())["content"].get("execution_state") != "restarting":
            assert message["msg_type"] != "execute_reply", f"the kernel went on: {message['content']}"
        assert innocent.execute("len(kept)").result == str(450 * MB)
