"""Deploying again while users work: only what differs is replaced, and nobody is disturbed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from e2e.client import Kernel, NewUser, Server, User
from e2e.deployment import SETTINGS, Deployment, docker
from websockets.exceptions import ConnectionClosed

MAX_TASKS = 25


def test_second_run_changes_nothing(deployment: Deployment, alice: User, bob: User) -> None:
    deployment.settle()
    assert {f"{deployment.name}-user-{user.name}" for user in (alice, bob)} <= deployment.start_times().keys()
    before = deployment.state()
    run = deployment.run().succeeded()
    assert run.changed == 0
    assert run.tasks <= MAX_TASKS
    assert deployment.state() == before


def test_dry_run_changes_nothing(deployment: Deployment, alice: User) -> None:
    deployment.settle()
    before = deployment.state()
    assert deployment.run("--check", "--diff").succeeded().changed == 0
    prediction = deployment.run("--check", "--diff", settings={"hub_server_memory_mb": 777}).succeeded()
    assert prediction.changed > 0
    assert "777" in prediction.output
    assert deployment.state() == before
    assert alice.server().run("1 + 1").result == "2"


def test_run_recreates_a_removed_hub_and_nothing_else(deployment: Deployment, alice: User, bob: User) -> None:
    deployment.settle()
    before = deployment.state()
    docker("rm", "--force", deployment.hub)
    deployment.run().succeeded()
    after = deployment.state()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {
        f"container {deployment.hub}"
    }
    # The new Hub knows the existing sessions and servers.
    for user in (alice, bob):
        assert [server.name for server in user.servers()] == [""]
        assert user.server().run("1 + 1").result == "2"


class Regularly(threading.Thread):
    """Does something at a fixed rate until it is stopped; keeps the exceptions."""

    def __init__(self, per_second: float, action: Callable[[int], object]) -> None:
        super().__init__(daemon=True)
        self.per_second = per_second
        self.action = action
        self.count = 0
        self.errors: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        begin = time.monotonic()
        while not self.ended.wait(begin + self.count / self.per_second - time.monotonic()):
            try:
                self.action(self.count)
            except Exception as error:
                self.errors.append(f"{self.count}: {error!r}")
            self.count += 1

    def end(self) -> None:
        """Stop, and wait for what is under way."""
        self.ended.set()
        self.join()


class Printed(threading.Thread):
    """Collects the numbers that a kernel prints."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(daemon=True)
        self.kernel = kernel
        self.numbers: list[int] = []
        self.error = ""

    def run(self) -> None:
        try:
            while -1 not in self.numbers:
                message = self.kernel.receive()
                if message["msg_type"] == "stream":
                    self.numbers += [int(line) for line in message["content"]["text"].split()]
        except (ConnectionClosed, TimeoutError) as error:
            self.error = repr(error)


def status(server: Server) -> Callable[[int], object]:
    """Return a request to the user's server, in a session of its own: a browser has many connections."""
    user = User(server.user.hub_url, server.user.name, server.user.password)
    user.session.cookies.update(server.user.session.cookies)
    return lambda _: user.request("GET", f"{server.path}api/status").raise_for_status()


def test_changed_setting_replaces_the_hub_without_disturbing_users(
    deployment: Deployment, alice: User, bob: User, new_user: NewUser
) -> None:
    deployment.settle()
    # A new session: servers ask the Hub every 30 s whether an older one is still valid, and answer with an error if the
    # Hub is just being replaced (docs/troubleshooting.md).
    fresh = User(deployment.url, alice.name, alice.password)
    fresh.login().raise_for_status()
    fresh.server().open().raise_for_status()
    before = deployment.start_times()
    memory_mb = SETTINGS["hub_server_memory_mb"] // 2
    with fresh.server().kernel() as kernel:
        # The kernel is up before the count starts.
        kernel.execute("print('ready')")
        printed = Printed(kernel)
        messages = Regularly(5, lambda number: kernel.send(f"print({number})"))
        requests = Regularly(10, status(fresh.server()))
        for thread in (printed, messages, requests):
            thread.start()
        begin = time.monotonic()
        run = deployment.run(settings={"hub_server_memory_mb": memory_mb})
        # Include what the new Hub does at its start: it checks routes and servers.
        time.sleep(2)
        duration = time.monotonic() - begin
        messages.end()
        requests.end()
        kernel.send("print(-1)")
        printed.join(30)
    run.succeeded()
    after = deployment.start_times()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {deployment.hub}

    # There was a load all the time, even if a busy machine was behind in the end.
    assert messages.count >= 0.8 * 5 * duration
    assert requests.count >= 0.8 * 10 * duration
    assert (messages.errors, requests.errors, printed.error) == ([], [], "")
    assert printed.numbers == [*range(messages.count), -1]

    # The setting applies to new servers, not to running ones.
    carol = new_user("carol")
    carol.server().start("base")
    assert deployment.server("carol")["HostConfig"]["Memory"] == memory_mb * 1024**2
    assert deployment.server("alice")["HostConfig"]["Memory"] == SETTINGS["hub_server_memory_mb"] * 1024**2
