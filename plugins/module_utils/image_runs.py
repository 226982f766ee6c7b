"""Runs the builds of images: in parallel, parents first, with a log for each image and a file with the progress."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote, urlsplit

# A build keeps about one core busy.
WORKERS = 3
TAIL_LINES = 25
# Lines of the classic builder and of older BuildKits that say nothing about the progress.
UNINFORMATIVE = re.compile(r" --->|#\d+ sha256:\w+$")
# The classic builder colours what a step writes to its standard error.
COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Make = Callable[[Mapping[str, Any], Path], None]


class BuildError(Exception):
    """A step failed; the message says which, and its output is in the log."""


class Runner:
    """Runs commands with additional environment variables, and masks secrets in their output."""

    def __init__(self, variables: Mapping[str, str], masked: Sequence[str]) -> None:
        self.environment = {**os.environ, **variables}
        self.masked = masked

    def run(
        self,
        log: Path,
        command: Sequence[str],
        stdin: bytes | None = None,
        timeout: float | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a command with its output in the log, passwords masked.

        Raises:
            BuildError: it failed, or took longer than `timeout` seconds.
        """
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**self.environment, **(environment or {})},
        )
        killer = threading.Timer(timeout or 0, process.kill)
        if timeout:
            killer.start()
        if stdin is not None and process.stdin:
            threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True).start()
        assert process.stdout
        with log.open("a", encoding="utf-8") as out:
            for raw in process.stdout:
                line = COLOUR.sub("", raw.decode(errors="replace"))
                for secret in self.masked:
                    line = line.replace(secret, "***")
                out.write(line)
                out.flush()
        returncode = process.wait()
        killer.cancel()
        if returncode:
            killed = timeout and returncode < 0
            reason = f"took longer than {timeout:.0f} s" if killed else f"ended with code {returncode}"
            raise BuildError(f"{' '.join(command[:3])} {reason}")

    def answer(self, command: Sequence[str]) -> str:
        """Return what a command prints, "" if it fails."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment)
        return done.stdout.strip() if done.returncode == 0 else ""


def _feed(pipe: Any, content: bytes) -> None:
    try:
        with pipe:
            pipe.write(content)
    except BrokenPipeError:
        pass  # The command ended early, and its own error is in the log.


def secrets_of(urls: Any) -> list[str]:
    """Return the secret parts of all URLs with a password, longest first."""
    found = set()
    for url in urls:
        parts = urlsplit(url)
        if parts.password:
            userinfo = parts.netloc.rpartition("@")[0]
            found |= {userinfo, parts.password, unquote(parts.password)}
    return sorted(found, key=len, reverse=True)


class Progress:
    """Writes the progress of running builds into a file, which the action plugin prints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.running: dict[str, tuple[float, Path]] = {}
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.writer.start()

    def _write(self) -> None:
        while not self.done.wait(1):
            with self.lock:
                lines = [self._line(name, since, log) for name, (since, log) in self.running.items()]
            new = self.path.with_suffix(".new")
            new.write_text("".join(lines), encoding="utf-8")
            new.replace(self.path)

    @staticmethod
    def _line(name: str, since: float, log: Path) -> str:
        minutes, seconds = divmod(int(time.monotonic() - since), 60)
        said = [line for line in tail(log, 5) if not UNINFORMATIVE.match(line)]
        return f"building {name} {minutes:02}:{seconds:02}  {(said or [''])[-1][:100]}\n"


def tail(log: Path, count: int) -> list[str]:
    """Return the last lines that are not blank."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-count:]


def build_all(images: Sequence[Mapping[str, Any]], make: Make, logs: Path) -> dict[str, Any]:
    """Make all images, each as soon as its parent is there; return what was made and what failed."""
    progress = Progress(logs / "progress")
    futures: dict[str, Future[float]] = {}

    def work(image: Mapping[str, Any]) -> float:
        parent = futures.get(image["parent"] or "")
        if parent and parent.exception():
            raise BuildError(f"its parent {image['parent']} was not made")
        log = logs / f"{image['name']}.log"
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        since = time.monotonic()
        with progress.lock:
            progress.running[image["name"]] = (since, log)
        try:
            make(image, log)
        finally:
            with progress.lock:
                del progress.running[image["name"]]
        return time.monotonic() - since

    # Parents come first, so the workers can never all be waiting for one that has not been submitted.
    with ThreadPoolExecutor(WORKERS) as pool:
        for image in images:
            futures[image["name"]] = pool.submit(work, image)
    progress.done.set()
    progress.writer.join()
    made, failures = [], []
    for image in images:
        error = futures[image["name"]].exception()
        log = logs / f"{image['name']}.log"
        if error is None:
            made.append({"name": image["name"], "ref": image["ref"], "seconds": round(futures[image["name"]].result())})
        elif not isinstance(error, (BuildError, OSError)):
            raise error
        else:
            end = tail(log, TAIL_LINES)
            failures.append({"name": image["name"], "error": str(error), "log": str(log), "tail": end})
    return {"made": made, "failures": failures}


def wait_for(lock: TextIO, notice: Path) -> None:
    """Wait until nothing else is being built on this machine, and leave a notice for the operator meanwhile.

    Builds of an interrupted run continue in the background, and cleaning up would remove the unfinished stages of
    other projects.
    """
    notice.write_text("waiting for another run's builds on this machine\n", encoding="utf-8")
    fcntl.flock(lock, fcntl.LOCK_EX)
    notice.unlink(missing_ok=True)
