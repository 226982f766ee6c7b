"""Which server answers at a user's address while servers end and others start."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from e2e.client import Server, StartError, User, eventually
from e2e.deployment import Deployment, docker

HEADER = "X-Answered-By"
MARK = f"""
import os, sys, threading, time
from pathlib import Path

def hog():
    while not Path("/tmp/hog").exists():
        time.sleep(0.05)
    data = []
    while True:
        data.append(b"x" * 2**24)

# In the server only, not in its kernels.
if any("singleuser" in word for word in sys.orig_argv):
    from tornado.http1connection import HTTP1Connection

    write_headers = HTTP1Connection.write_headers

    def marked(self, start_line, headers, chunk=None):
        headers["{HEADER}"] = os.environ["JUPYTERHUB_USER"]
        return write_headers(self, start_line, headers, chunk)

    HTTP1Connection.write_headers = marked
    threading.Thread(target=hog, daemon=True).start()
"""
"""Runs when a user's server starts: adds the owner to every answer, and uses up all memory on demand."""
_EVERY_S = 0.1


class Watch:
    """Counts who answers at one user's address: names of owners, "" for everything else."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.answers: Counter[str] = Counter()
        self.last: tuple[float, int, str] = (0.0, 0, "")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        url = f"{self.user.hub_url}/user/{self.user.name}/api/status"
        while not self._ended.wait(_EVERY_S):
            try:
                answer = requests.get(url, timeout=5, allow_redirects=False)
            except requests.RequestException:
                continue
            owner = answer.headers.get(HEADER, "")
            self.answers[owner] += 1
            self.last = (time.monotonic(), answer.status_code, owner)

    @property
    def foreign(self) -> list[str]:
        """The names of other owners whose server answered."""
        return sorted(self.answers.keys() - {"", self.user.name})

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def ending(deployment: Deployment, server: Server, way: str) -> Iterator[None]:
    """End a server behind the Hub's back, as its user, an administrator or the kernel does."""
    container = f"{deployment.name}-user-{server.user.name}"
    if way == "shutdown":
        server.request("POST", "api/shutdown")
    elif way == "kill":
        docker("kill", container)
    else:
        docker("exec", container, "touch", "/tmp/hog")
    yield
    eventually(f"the Hub's notice of {way}", lambda: not server.user.servers())


WAYS = ("shutdown", "kill", "out of memory")


def burst(deployment: Deployment, users: list[User], starts: int, profile: str, seed: int) -> list[Watch]:
    """Have all users start and end their servers at random, `starts` times in total; return what each client saw."""
    left, lock, few = [starts], threading.Lock(), threading.Semaphore(3)
    errors: list[str] = []

    def use(user: User, dice: random.Random) -> None:
        while not errors:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            server = user.server()
            try:
                with few:
                    server.start(profile)
                time.sleep(dice.uniform(0.3, 0.8))
                with ending(deployment, server, dice.choice(WAYS)):
                    pass
            except StartError as error:
                # On a busy machine; nobody else may answer then either.
                if "was given up" not in str(error):
                    errors.append(f"{user.name}: {error}")
            except Exception as error:
                errors.append(f"{user.name}: {error}")
                return

    watches = [Watch(user) for user in users]
    for watch in watches:
        watch.__enter__()
    threads = [threading.Thread(target=use, args=(user, random.Random(f"{seed} {user.name}"))) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for watch in watches:
        watch.__exit__()
    assert errors == []
    return watches
