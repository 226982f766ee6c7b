"""The lease on a machine, so that only one run at a time changes it.

The lease is a file on the machine.  The module `host_report` takes it, and this code renews it while the run lasts.
A killed run still returns it; if the connection was lost, it expires.
"""

from __future__ import annotations

import getpass
import os
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

RENEW_S = 5
# After this time without renewal the next run may take it.
LEASE_S = 30

Execute = Callable[[str], bool | None]
"""Runs a command on the machine and returns whether it succeeded, or None if the machine is unreachable."""


@dataclass(frozen=True)
class Lease:
    """The lease on the machine for one run, that is, one ansible-playbook process."""

    name: str
    process: int
    token: str = field(default_factory=token_hex)

    def request(self) -> dict[str, Any]:
        """Return what the module needs to take the lease."""
        by = f"{getpass.getuser()}@{socket.gethostname()} (process {self.process})"
        return {"path": f"/run/{self.name}.lease", "by": by, "token": self.token, "seconds": LEASE_S}

    def keep(self, execute: Execute) -> None:
        """Renew the lease as long as the process lives, then return it."""
        path = shlex.quote(f"/run/{self.name}.lease")
        # After a long interruption the lease may belong to the next run.
        ours = f"grep -qs {self.token} {path}"
        while not ends(self.process, RENEW_S):
            if execute(f"{ours} && touch {path}") is False:
                return
        tries = LEASE_S // RENEW_S
        while execute(f"{ours} && rm {path}") is None and (tries := tries - 1):
            time.sleep(RENEW_S)


def ends(process: int, within_s: float) -> bool:
    """Wait for a process, not necessarily a child, and return whether it ended."""
    if not hasattr(os, "pidfd_open"):  # Not on Linux.
        time.sleep(within_s)
        return bool(subprocess.run(["ps", "-p", str(process)], capture_output=True).returncode)
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within_s)[0])
    finally:
        os.close(handle)


def in_background(work: Callable[[], None]) -> None:
    """Do the work in a process that outlives this one, with its own session and default signal handlers."""
    if os.fork():
        return
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        work()
    finally:
        # Never return: the rest of the call stack belongs to Ansible.
        os._exit(0)


def waiting_message(holder: Mapping[str, Any]) -> str:
    """Return the message for the time until it is clear whether the other run is still alive."""
    return (
        f"Waiting for the run of {holder['by']}, since {holder['since']}: until it renews its lease on this machine,"
        f" or has not done so for {LEASE_S} s."
    )


def refusal_message(holder: Mapping[str, Any]) -> str:
    """Return the error message for a run that found another one at work."""
    return (
        f"Another run is changing this machine: that of {holder['by']}, since {holder['since']}."
        " Nothing was changed. Try again when that run has ended."
    )
