"""The recorder: writes the trail, in a container of its own that nothing but a socket leads to.

    python -P -S -m jupyterhub_ansible.audit.recorder --keep-mb=200

The Hub sends events, and can neither change nor remove a line: its container has the folder read-only.  Each line is on
the disk before it is confirmed.  The container's log gets the newest line's hash every few minutes, so that a trail
that was shortened shows.  Only the standard library is imported, so that it needs little memory.

Requests are lines: `hello <source>` is answered with the id of the last event from there, `status` with the position of
the last line, and an event, as JSON with an `id`, with `ok` or `no`.
"""

import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

from . import chain

ANCHOR_S = 600
"""The newest hash is logged this often, if it is new."""
LEAST_MB = 8
"""So that each of the files holds thousands of events."""
LONGEST = 16 * 1024
"""Bytes of a request."""
_KEPT_IDS = 1_000_000
"""Bytes at the end of the trail that are searched for the last event of each source."""
_READ = 64 * 1024


def now() -> str:
    """Return the time in UTC, with milliseconds."""
    seconds = time.time()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{int(seconds * 1000) % 1000:03d}Z"


class Trail:
    """The files, open for writing."""

    def __init__(self, folder: Path, keep_bytes: int) -> None:
        self._folder, self._most = folder, keep_bytes // chain.FILES
        self.position = chain.Position()
        self.last_ids: dict[str, str] = {}
        """The id of the last event, by source."""
        found = chain.files(folder)
        for path in found[-2:]:
            self._take_up(path)
        self._path = found[-1] if found else chain.file_of(folder, 1)
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._size = os.fstat(self._file).st_size

    def _take_up(self, path: Path) -> None:
        for line in chain.last_lines(path, _KEPT_IDS):
            try:
                fields = json.loads(line)
                self.position = chain.Position(int(fields["number"]), chain.digest(line))
                self.last_ids[str(fields["source"])] = str(fields["id"])
            except (ValueError, KeyError, TypeError):
                # Somebody edited it, which the check reports: new events must be recorded nevertheless.
                continue
        # A line that was being written when the machine stopped was not confirmed, so the Hub sends it again.
        with path.open("rb+") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LONGEST))
            rest = file.read().rpartition(b"\n")[2]
            if rest:
                file.truncate(file.tell() - len(rest))

    def append(self, events: list[dict[str, Any]]) -> None:
        """Write events, all of them or none.

        Raises:
            OSError: the disk is full, for example.
        """
        if self._size >= self._most:
            self._begin()
        position, text, recorded = self.position, b"", now()
        for event in events:
            line, position = chain.linked(position, recorded, event)
            text += line + b"\n"
        try:
            written = os.write(self._file, text)
            if written < len(text):
                raise OSError(f"only {written} of {len(text)} bytes could be written")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(text)
        self.position = position
        self.last_ids |= {event["source"]: event["id"] for event in events}

    def _begin(self) -> None:
        path = chain.file_of(self._folder, self.position.number + 1)
        # First, since it may fail: the file of now goes on then.
        begun = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        os.close(self._file)
        self._file, self._path, self._size = begun, path, 0
        for path in chain.files(self._folder)[: -chain.FILES]:
            path.unlink()


class Connection:
    """A client, and what it has sent of a line."""

    def __init__(self, client: socket.socket) -> None:
        self.client, self.source, self._rest = client, "", b""

    def lines(self) -> list[bytes] | None:
        """Return the whole lines that have arrived; None if the client is gone, or sends what is no request."""
        received = self.client.recv(_READ)
        *whole, self._rest = (self._rest + received).split(b"\n")
        too_long = any(len(line) > LONGEST for line in (*whole, self._rest))
        return None if not received or too_long else whole


class Recorder:
    """Answers clients one after the other."""

    def __init__(self, trail: Trail, listener: socket.socket) -> None:
        self._trail, self._listener = trail, listener
        self._connections: dict[int, Connection] = {}
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._logged = chain.Position()
        self._log_at = 0.0

    def run(self) -> None:
        """Serve forever."""
        while True:
            self.step(ANCHOR_S)

    def step(self, seconds: float) -> None:
        """Answer what has arrived, or arrives within some seconds."""
        if time.monotonic() >= self._log_at:
            self._anchor()
        for number, _ in self._poll.poll(seconds * 1000):
            if number == self._listener.fileno():
                client, _ = self._listener.accept()
                # A client that does not read its answers must not stop the others.
                client.settimeout(5)
                self._connections[client.fileno()] = Connection(client)
                self._poll.register(client, select.POLLIN)
            else:
                self._serve(number)

    def _anchor(self) -> None:
        self._log_at = time.monotonic() + ANCHOR_S
        if self._logged != self._trail.position:
            self._logged = self._trail.position
            print(f"trail: line {self._logged.number} {self._logged.hash}", flush=True)

    def _serve(self, number: int) -> None:
        connection = self._connections[number]
        try:
            if lines := connection.lines():
                connection.client.sendall(self._answer(connection, lines))
            if lines is not None:
                return
        except OSError as error:
            print(f"An event could not be recorded: {error}", file=sys.stderr, flush=True)
        self._poll.unregister(number)
        connection.client.close()
        del self._connections[number]

    def _answer(self, connection: Connection, lines: list[bytes]) -> bytes:
        answers, events = [], []
        for line in lines:
            if line.startswith(b"{"):
                event = self._event(connection, line)
                events += [event] if event else []
                answers.append("ok" if event else "no")
            elif line.startswith(b"hello "):
                connection.source = line[6:].decode(errors="replace")
                answers.append(self._trail.last_ids.get(connection.source, "-"))
            else:
                answers.append(f"{self._trail.position.number} {self._trail.position.hash}")
        if events:
            self._trail.append(events)
        return "".join(f"{answer}\n" for answer in answers).encode()

    @staticmethod
    def _event(connection: Connection, line: bytes) -> dict[str, Any] | None:
        try:
            fields = json.loads(line)
            # These are the recorder's own.
            given = {name: value for name, value in fields.items() if name not in ("number", "recorded", "before")}
            return {**given, "id": str(fields["id"]), "source": connection.source}
        except (ValueError, KeyError, AttributeError, RecursionError):
            return None


def listening(path: Path) -> socket.socket:
    """Return a socket that the Hub may connect to: it is in the group of the folder."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o117)
    listener.bind(str(path))
    os.umask(mask)
    listener.listen()
    return listener


def main(arguments: list[str]) -> None:
    """Record until the container is stopped."""
    # argparse alone would take a tenth of the memory.
    [megabytes] = [each.partition("=")[2] for each in arguments if each.startswith("--keep-mb=")]
    if not megabytes.isdecimal() or int(megabytes) < LEAST_MB:
        sys.exit(
            f"JUPYTERHUB_AUDIT_KEEP_MB ({megabytes!r}): how many MiB of the audit trail are kept; write a whole number"
            f" of at least {LEAST_MB}"
        )
    Recorder(Trail(chain.FOLDER, int(megabytes) * 1024**2), listening(chain.SOCKET)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
