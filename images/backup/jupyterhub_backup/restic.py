"""Calls of restic 0.18, and what its failures mean for the operator."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .places import Places

# Exit codes, from restic's documentation ("Scripting").
INCOMPLETE, NO_REPOSITORY, LOCKED, WRONG_KEY = 3, 10, 11, 12
# Restic itself would retry for 15 minutes.
REACH_TIMEOUT_S = 20
RETRY_LOCK = "--retry-lock=5m"
# What may be in the folder of a new repository: a file system's own folder, and those of one that was made in part.
FOLDERS = frozenset({"lost+found", "data", "index", "keys", "locks", "snapshots"})
PORTS = {"https": 443, "http": 80, "sftp": 22}
KEY_FIX = (
    "Fix: backup_password (or the file secrets/password) must be the one that this repository was made with; a"
    " repository cannot be read without it"
)
FAILURES = (
    (
        r"wrong password or no key found",
        f"the key is wrong: the repository is not encrypted with this password. {KEY_FIX}",
    ),
    (
        r"no space left on device|disk quota exceeded|insufficient storage|StorageFull|QuotaExceeded|HTTP.*\b507\b",
        "the store is full. Fix: make room there, or lower backup_plan.keep and run the backup again; what earlier"
        " runs saved is intact",
    ),
    (
        r"AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|unexpected HTTP response \(?40[13]|Permission denied"
        r" \(publickey|Host key verification failed|unable to start the sftp session",
        "the store refuses the credentials. Fix: correct backup_credentials",
    ),
    (
        r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|connection reset|"
        r"TLS handshake|certificate",
        "the store cannot be reached. Fix: check its address, its service and the network, then run the backup again",
    ),
    (
        r"hash mismatch|ciphertext verification failed|is damaged|does not match|invalid data returned|"
        r"contains errors|number of used bytes",
        "the repository is damaged. Fix: see docs/how-to/backup.md (A damaged repository)",
    ),
    (
        r"permission denied|read-only file system|operation not permitted",
        "the store cannot be written. Fix: the folder must belong to root and its file system must be writable",
    ),
)
"""Patterns of restic's messages, and ours."""


class StoreError(Exception):
    """Restic could not do its work; says why, and how to fix it."""


@dataclass
class Done:
    """A finished call."""

    code: int
    output: str
    errors: str

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the messages that are JSON."""
        for line in (*self.output.splitlines(), *self.errors.splitlines()):
            if line.startswith("{"):
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def last(self, kind: str) -> dict[str, Any]:
        """Return the last message of a type, {} if there is none."""
        return next((each for each in [*self.lines()][::-1] if each.get("message_type") == kind), {})


def explained(done: Done, where: str) -> str:
    """Return why a call failed.

    Args:
        done: the call.
        where: the repository.
    """
    said = f"{done.errors}\n{done.output}"
    if done.code < 0 or done.code == 137:
        return "restic was killed, perhaps for its memory. Run the backup again; what earlier runs saved is intact"
    if done.code == NO_REPOSITORY:
        return f"there is no repository at {where}. Fix: mount the disk or correct backup_plan.repository"
    if done.code == LOCKED:
        held = re.search(r"locked (?:exclusively )?by (PID \d+ on \S+)", said)
        by = f" by {held[1]}" if held else ""
        return (
            f"the repository is locked{by}. Fix: wait until that program has ended; if it was killed on another"
            " machine, remove its lock there (restic unlock)"
        )
    for pattern, why in FAILURES:
        if re.search(pattern, said, re.IGNORECASE) or (done.code == WRONG_KEY and why.startswith("the key")):
            return why
    told = [str(each.get("message", "")) for each in done.lines() if each.get("message_type") == "exit_error"]
    shown = told or [line for line in done.errors.splitlines() if line.strip() and not line.startswith("{")]
    return f"restic failed with {done.code}: {' '.join(shown[-3:])[:500]}"


def address(repository: str) -> tuple[str, int] | None:
    """Return host and port of a remote repository, None for a folder."""
    kind, _, rest = repository.partition(":")
    if repository.startswith("/") or kind not in ("sftp", "s3", "rest"):
        return None
    scheme = kind if kind == "sftp" else "https"
    if "://" in rest:
        url = urlsplit(rest)
        scheme = url.scheme
    elif rest.startswith("//"):
        url = urlsplit(rest)
    else:
        # sftp:user@host:/path, s3:host/bucket
        url = urlsplit(f"//{rest.partition(':')[0] if kind == 'sftp' else rest}")
    return (url.hostname, url.port or PORTS.get(scheme, 443)) if url.hostname else None


class Restic:
    """A repository, and the programs that work on it."""

    def __init__(self, places: Places, repository: str, *, read_only: bool = False) -> None:
        self.places = places
        self.repository = repository
        # A restore takes no lock, since it has a local repository mounted read-only.
        self.options = ["--no-lock"] if read_only else [RETRY_LOCK]
        if not places.cache.is_dir():
            self.options.append("--no-cache")
        credentials = self._credentials()
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(places.root / "tmp"),
            "RESTIC_REPOSITORY": str(places.repository) if repository.startswith("/") else repository,
            "RESTIC_PASSWORD_FILE": str(places.secrets / "password"),
            "RESTIC_CACHE_DIR": str(places.cache),
            # A status line every minute.
            "RESTIC_PROGRESS_FPS": "0.016666",
            **{name: os.environ[name] for name in ("SSL_CERT_FILE", "TMPDIR") if name in os.environ},
            **credentials,
        }
        if repository.startswith("sftp:"):
            key, known = self._for_ssh("SSH_KEY"), self._for_ssh("SSH_KNOWN_HOSTS")
            options = f"-i {key} -o UserKnownHostsFile={known} -o BatchMode=yes -o StrictHostKeyChecking=yes"
            self.options = [f"--option=sftp.args={options}", *self.options]

    def _credentials(self) -> dict[str, str]:
        """Return the environment variables of the store; the files for ssh are read by name."""
        folder = self.places.secrets
        if not folder.is_dir():
            return {}
        return {
            file.name: file.read_text()
            for file in sorted(folder.iterdir())
            if file.name.isupper() and not file.name.startswith("SSH_")
        }

    def _for_ssh(self, name: str) -> Path:
        """Return a file of the tmpfs that ends in a line break, without which ssh refuses a key."""
        source, file = self.places.secrets / name, self.places.root / "tmp" / name
        file.write_text(f"{source.read_text().strip()}\n" if source.exists() else "")
        file.chmod(0o600)
        return file

    def call(self, *arguments: str) -> Done:
        """Run restic; its process is idle for the disk, so that users' servers come first."""
        command = ["ionice", "--class=idle", "nice", "restic", *self.options, *arguments]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *arguments: str) -> Done:
        """Run restic.

        Raises:
            StoreError: it failed.
        """
        done = self.call(*arguments)
        if done.code:
            raise StoreError(explained(done, self.repository))
        return done

    def reach(self) -> None:
        """Connect to a remote store.

        Raises:
            StoreError: it does not answer.
        """
        where = address(self.repository)
        if not where:
            return
        try:
            socket.create_connection(where, REACH_TIMEOUT_S).close()
        except OSError as error:
            host, port = where
            raise StoreError(
                f"the store cannot be reached: {host}, port {port}: {error.strerror or error}. Fix: check its address,"
                " its service and the network, then run the backup again"
            ) from error

    def open(self, known: str = "", *, make: bool = False) -> str:
        """Return the repository's id.

        Args:
            known: the id that it had before; then a missing repository is never made again.
            make: make one if there is none.

        Raises:
            StoreError: it cannot be opened.
        """
        self.reach()
        done = self.call("cat", "config", "--no-lock")
        if done.code == NO_REPOSITORY and make and not known:
            self._refuse_others()
            done = self.call("init", "--json")
            if done.code:
                raise StoreError(explained(done, self.repository))
            done = self.call("cat", "config", "--no-lock")
        if done.code == NO_REPOSITORY and known:
            raise StoreError(
                f"the repository at {self.repository} is gone. Fix: mount its disk, or correct the address; if it was"
                " removed on purpose, remove the file state/repository.json as well, and a new one is made"
            )
        if done.code:
            raise StoreError(explained(done, self.repository))
        return str(json.loads(done.output)["id"])

    def _refuse_others(self) -> None:
        """Refuse a folder with other files, which a repository would be mixed with.

        Raises:
            StoreError: it has some.
        """
        if not self.repository.startswith("/"):
            return
        names = sorted(each.name for each in self.places.repository.iterdir())
        others = [name for name in names if name not in FOLDERS and not name.startswith("config-tmp-")]
        if others:
            raise StoreError(
                f"the folder {self.repository} has other files ({', '.join(others[:3])}), and no repository. Fix: give"
                " the repository a folder of its own: backup_plan.repository"
            )

    def remove_stale_locks(self, host: str) -> int:
        """Remove locks that killed runs of this machine left, and return how many; locks of others stay.

        Only one run at a time works here (a lock on the machine), so that all locks of this host are stale.
        """
        ids = self.must("list", "locks", "--no-lock").output.split()
        locks = [json.loads(self.must("cat", "lock", each, "--no-lock").output) for each in ids]
        if not locks or any(lock.get("hostname") != host for lock in locks):
            return 0
        self.must("unlock", "--remove-all")
        return len(locks)

    def verify(self, part: str) -> None:
        """Read the data back, or a part of it.

        Raises:
            StoreError: it is damaged, or cannot be read.
        """
        done = self.call("check", "--json", f"--read-data-subset={part}")
        if broken := done.last("summary").get("broken_packs"):
            raise StoreError(
                f"the repository is damaged, in the packs {', '.join(each[:16] for each in broken[:20])}. Fix: see"
                " docs/how-to/backup.md (A damaged repository)"
            )
        if done.code:
            raise StoreError(explained(done, self.repository))

    def snapshots(self, name: str) -> list[dict[str, Any]]:
        """Return the Hub's snapshots, the oldest first."""
        found = json.loads(self.must("snapshots", "--json", f"--tag={name}").output or "null") or []
        return sorted(found, key=lambda each: str(each["time"]))


def chosen(snapshots: Sequence[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """Return the snapshot of an id, the last one of a day, or the latest.

    Raises:
        StoreError: there is none.
    """
    if not snapshots:
        raise StoreError("there is no backup yet. Fix: run make backup")
    if wanted in ("", "latest"):
        return snapshots[-1]
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", wanted):
        found = [each for each in snapshots if str(each["time"]).startswith(wanted)]
    else:
        found = [each for each in snapshots if len(wanted) >= 4 and str(each["id"]).startswith(wanted)]
    if not found:
        days = ", ".join(sorted({str(each["time"])[:10] for each in snapshots})[-10:])
        raise StoreError(
            f"there is no backup {wanted}. Fix: choose a day (the last ones: {days}), or an id of make backups"
        )
    return found[-1]
