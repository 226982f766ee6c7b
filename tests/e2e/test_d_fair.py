"""Attacks by one user's server: other users and the Hub are not disturbed, and the attacker is told why it fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from e2e.attacks import FILL, FLOOD, FORK_BOMB, SPIN, TIMEOUT_S, Neighbour, hog_memory
from e2e.client import NewUser, Server, StartError, User, eventually
from e2e.deployment import SETTINGS, Deployment, inspect

MB = 1024**2
GUARANTEED_MB = 1024


@contextmanager
def undisturbed(user: User) -> Iterator[None]:
    """Meanwhile all of the user's cells and pages are answered in time; bench/ measures how fast."""
    with user.server().kernel() as kernel:
        kernel.execute("1")
        with Neighbour(kernel) as neighbour:
            yield
    assert neighbour.errors == []
    assert neighbour.cells
    assert max(neighbour.cells + neighbour.pages) < TIMEOUT_S


@pytest.fixture(scope="module")
def attacker(deployment: Deployment) -> Iterator[Server]:
    """The attacking user's server."""
    deployment.settle()
    user = User(deployment.url, "mallory", deployment.secret("user_password"))
    user.login().raise_for_status()
    server = user.server()
    server.start("base")
    yield server
    server.stop()


def test_fork_bomb_disturbs_nobody(attacker: Server, alice: User) -> None:
    with undisturbed(alice):
        made, refused, why = attacker.run(FORK_BOMB).stdout.split(maxsplit=2)
    assert int(made) < SETTINGS["hub_server_pids"]
    assert int(refused) > 0
    assert why.strip() == "Resource temporarily unavailable"
    # The server is usable again.
    assert attacker.run("1 + 1").result == "2"


def test_memory_hog_disturbs_nobody(deployment: Deployment, attacker: Server, alice: User) -> None:
    started = deployment.server("mallory")["State"]["StartedAt"]
    with undisturbed(alice):
        # JupyterLab tells the user that the kernel died and was restarted.
        hog_memory(attacker, SETTINGS["hub_server_memory_mb"])
    assert deployment.server("mallory")["State"]["StartedAt"] == started


def test_busy_loops_disturb_nobody(attacker: Server, alice: User) -> None:
    with undisturbed(alice):
        attacker.run(SPIN)


@pytest.mark.parametrize("path", ["/tmp/filler", "/dev/shm/filler"])
def test_temporary_files_are_limited(attacker: Server, alice: User, path: str) -> None:
    with undisturbed(alice):
        output = attacker.run(FILL.format(path=path))
    assert output.stdout.strip().endswith(("No space left on device", "was cut short"))
    # Half of the memory, so that the kernel that fills it survives.
    assert SETTINGS["hub_server_memory_mb"] // 2 - 2 <= int(output.result) <= SETTINGS["hub_server_memory_mb"] // 2


def test_programs_in_tmp_can_run(attacker: Server) -> None:
    program = "f=$(mktemp) && printf '#!/bin/sh\\necho it runs\\n' > $f && chmod +x $f && $f && rm $f"
    with attacker.terminal() as terminal:
        assert "it runs" in terminal.run(program)


def test_log_flood_is_limited(deployment: Deployment, attacker: Server, alice: User) -> None:
    with undisturbed(alice):
        written = int(attacker.run(FLOOD).result)
    log = Path(deployment.server("mallory")["LogPath"])
    kept = sum(path.stat().st_size for path in log.parent.glob(f"{log.name}*"))
    assert written > 20, "hardly anything was written"
    assert kept < 12 * MB


# --- the ceiling of all servers together


def machine_mb() -> int:
    """Return the memory of this machine."""
    return int(re.findall(r"^MemTotal: +(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)[0]) // 1024


def ceiling(deployment: Deployment) -> int | None:
    """Return the kernel's memory limit for all users' servers together; None if it cannot be set."""
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
    # And the servers are below it.
    process = inspect(f"{deployment.name}-user-alice")[0]["State"]["Pid"]
    assert f"/{deployment.name}-users" in Path(f"/proc/{process}/cgroup").read_text()


# --- the machine is full


def limits(deployment: Deployment) -> int:
    """Return the sum of the memory limits of all running servers, in MB."""
    running = deployment.containers("label=jupyterhub-ansible.kind=user-server").values()
    return sum(int(each["HostConfig"]["Memory"]) for each in running if each["State"]["Running"]) // MB


@pytest.fixture(scope="module")
def alone(alice: User, bob: User, attacker: Server) -> None:
    """Stop the servers of the other tests, which do not need them any more."""
    for server in (alice.server(), bob.server(), attacker):
        server.stop()


def test_full_machine_starts_servers_in_order(deployment: Deployment, new_user: NewUser, alone: None) -> None:
    budget = 2048
    names = [f"full{number}" for number in range(5)]
    guarantee = {"Spawner": {"mem_guarantee": f"{GUARANTEED_MB}M"}, "UserServerSpawner": {"full_wait_s": 300}}
    settings = {"hub_reserve_memory_mb": machine_mb() - budget, "hub_server_memory_mb": GUARANTEED_MB}
    deployment.run(settings={**settings, "hub_traits": guarantee}).succeeded()
    users = [new_user(name) for name in names]
    ready: list[str] = []
    progress: dict[str, list[str]] = {name: [] for name in names}
    most: list[int] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            most.append(limits(deployment))

    def start(user: User) -> None:
        assert user.api("POST", f"users/{user.name}/server", json={}, timeout=120).status_code in (201, 202)
        for event in user.server().progress():
            progress[user.name].append(event["message"])
            if event.get("ready"):
                ready.append(user.name)

    def requested(user: User) -> bool:
        return bool(user.servers())

    watching = threading.Thread(target=watch)
    watching.start()
    threads = [threading.Thread(target=start, args=(user,)) for user in users]
    for user, thread in zip(users, threads, strict=True):
        thread.start()
        # One after the other: the order counts, and the third and later ones find the machine full.
        eventually("the request", partial(requested, user))
        time.sleep(1)
    for number in range(3):
        eventually(f"server {number + 2}", lambda count=number + 2: len(ready) >= count, 120)  # type: ignore[misc]
        # The next server waits until one is stopped.
        time.sleep(3)
        assert len(ready) == number + 2
        users[number].server().stop()
    for thread in threads:
        thread.join(120)
    ended.set()
    watching.join()
    assert sorted(ready[:2]) == names[:2]
    assert ready[2:] == names[2:]
    assert max(most) == budget, "the budget is used up, and not exceeded"
    assert any("The machine is full. You are number 3 of 3." in each for each in progress["full4"])
    assert any("The machine is full. Your server starts when memory is free." in each for each in progress["full4"])
    assert not any("machine is full" in each for each in progress["full0"])


@pytest.fixture(scope="module")
def small_machine(deployment: Deployment, alone: None) -> None:
    """Room for two servers of up to 1 GB each, with a ceiling of 1.5 GB."""
    traits = {"Spawner": {"mem_guarantee": "700M"}, "UserServerSpawner": {"full_wait_s": 5}}
    settings = {"hub_reserve_memory_mb": machine_mb() - 1536, "hub_server_memory_mb": 1024}
    deployment.run(settings={**settings, "hub_traits": traits}).succeeded()


def test_start_fails_if_the_machine_stays_full(new_user: NewUser, small_machine: None) -> None:
    first, second, third = (new_user(f"vain{number}").server() for number in range(3))
    first.start("base")
    second.start("base")
    with pytest.raises(StartError, match="The machine is full: no other server was stopped within 5 seconds"):
        third.start("base")
    first.stop()
    third.start("base")


def test_ceiling_kills_the_largest_process_and_nothing_else(new_user: NewUser, small_machine: None) -> None:
    small, large = new_user("small").server(), new_user("large").server()
    small.start("base")
    large.start("base")
    with small.kernel() as innocent, large.kernel() as greedy:
        innocent.execute("kept = b'x' * (450 * 1024 * 1024)")
        greedy.send("import time\ndata = [b'x' * 1024**2 for _ in range(900)]")
        while (message := greedy.receive())["content"].get("execution_state") != "restarting":
            assert message["msg_type"] != "execute_reply", f"the kernel survived: {message['content']}"
        assert innocent.execute("len(kept)").result == str(450 * MB)
