"""The Hub's end of the line to the recorder: events wait here until the recorder has confirmed them.

They wait in memory and in a spool file, so that neither a recorder that is away nor a Hub that is killed loses any.
The recorder says which event it wrote last, so that none is written twice.
"""

import contextlib
import json
import logging
import os
import socket
import threading
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any

from . import chain, events

SPOOL = Path("/srv/jupyterhub/audit.spool")
SOURCE = "hub"
MOST = 20_000
"""Events that may wait; further ones are lost, and how many is recorded."""
_BATCH = 100
_RETRY_S = 1.0
_ANSWER_S = 30
LATE = "The audit trail's recorder does not answer (%s): events wait until it does"


def line_of(event: dict[str, Any]) -> bytes:
    """Return an event as the recorder takes it."""
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def deliver_once(event: dict[str, Any], source: str, path: Path = chain.SOCKET) -> None:
    """Have an event recorded that does not come from the Hub's own process.

    Raises:
        OSError: the recorder does not answer.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(f"hello {source}\n".encode() + line_of(event))
        answers = client.makefile()
        if not answers.readline() or answers.readline() != "ok\n":
            raise OSError("the recorder did not write it")


class Outbox:
    """Takes events at once, and delivers them in a thread of its own."""

    def __init__(self, path: Path, spool: Path, log: logging.Logger) -> None:
        self._path, self._log = path, log
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._changed = threading.Condition()
        self._lost = 0
        self._closing = False
        self._is_late = False
        self._was_connected = False
        self._spool = os.open(spool, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        for line in spool.read_bytes().split(b"\n")[:-1]:
            # Half a line: the machine stopped while it was written.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._waiting.append((str(json.loads(line)["id"]), line + b"\n"))
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def put(self, event: dict[str, Any]) -> None:
        """Take an event; never blocks for long, never raises."""
        with self._changed:
            if len(self._waiting) >= MOST:
                self._lost += 1
                if self._lost == 1:
                    self._log.error("The audit trail: %d events wait already, further ones are lost", MOST)
                return
            self._report_lost()
            self._append(event)
            self._changed.notify_all()

    def _report_lost(self) -> None:
        if self._lost:
            self._append(events.event("gap", actor="hub", result="failed", lost=self._lost))
            self._lost = 0

    def _append(self, event: dict[str, Any]) -> None:
        line = line_of(event)
        self._waiting.append((event["id"], line))
        try:
            os.write(self._spool, line)
        except OSError as error:
            self._log.error("The audit trail's spool cannot be written (%s): events wait in memory only", error)

    def close(self, seconds: float) -> bool:
        """Deliver what waits, and end; return whether all was delivered. What was not is delivered by the next Hub."""
        with self._changed:
            self._report_lost()
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds)
        return not self._waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    return
            try:
                self._deliver()
            except Exception as error:
                if not isinstance(error, OSError):
                    self._log.exception("The audit trail's recorder was not understood")
                # A recorder that was restarted meanwhile answers at once.
                if not self._was_connected:
                    self._late(error)
                self._was_connected = False

    def _late(self, error: Exception) -> None:
        if not self._is_late:
            self._log.error(LATE, error)
            self._is_late = True
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, _RETRY_S)
                return
        # Closing: try again until the caller has waited long enough.
        threading.Event().wait(_RETRY_S / 5)

    def _deliver(self) -> None:
        """Deliver until nothing waits for a while, or the Hub stops."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_ANSWER_S)
            client.connect(str(self._path))
            answers = client.makefile()
            client.sendall(f"hello {SOURCE}\n".encode())
            self._forget_until(self._read(answers))
            self._was_connected = True
            while True:
                with self._changed:
                    while not self._waiting and not self._closing:
                        self._changed.wait()
                    batch = [line for _, line in islice(self._waiting, _BATCH)]
                if not batch:
                    return
                client.sendall(b"".join(batch))
                for _ in batch:
                    self._confirmed(self._read(answers))

    @staticmethod
    def _read(answers: Any) -> str:
        line = answers.readline()
        if not line.endswith("\n"):
            raise OSError("it closed the connection")
        return str(line[:-1])

    def _forget_until(self, last: str) -> None:
        """Forget what the recorder had written already when the connection, or the last Hub, ended."""
        with self._changed:
            ids = [each for each, _ in self._waiting]
            if last in ids:
                for _ in range(ids.index(last) + 1):
                    self._waiting.popleft()
                self._empty_spool()
        if self._is_late:
            self._log.warning(
                "The audit trail's recorder answers again: %d events are delivered now", len(self._waiting)
            )
            self._is_late = False

    def _confirmed(self, answer: str) -> None:
        with self._changed:
            known, _ = self._waiting.popleft()
            if answer != "ok":
                self._log.error("The audit trail's recorder refused the event %s", known)
            self._empty_spool()

    def _empty_spool(self) -> None:
        if not self._waiting:
            with contextlib.suppress(OSError):
                os.ftruncate(self._spool, 0)
