"""The lease on a machine: one run at a time changes it.

It is a file on the machine, taken by the module `host_report`, and renewed from
here for as long as the run lasts.  A run that was killed gives it back, one
whose network was lost can do nothing but let it expire.
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
# After this time without a sign of life the module gives it to the next run.
LEASE_S = 30

Execute = Callable[[str], bool | None]
"""Runs a command on the machine: whether it succeeded; None where the machine cannot be reached."""


@dataclass(frozen=True)
class Lease:
    """The lease on the machine for one run: that of an ansible-playbook process."""

    name: str
    process: int
    token: str = field(default_factory=token_hex)

    def request(self) -> dict[str, Any]:
        """Return what the module needs to take it."""
        by = f"{getpass.getuser()}@{socket.gethostname()} (process {self.process})"
        return {"path": f"/run/{self.name}.lease", "by": by, "token": self.token, "seconds": LEASE_S}

    def keep(self, execute: Execute) -> None:
        """Renew it as long as the process lives, then give it back."""
        path = shlex.quote(f"/run/{self.name}.lease")
        # Whoever was cut off for long may find the next run's.
        ours = f"grep -qs {self.token} {path}"
        while not ends(self.process, RENEW_S):
            if execute(f"{ours} && touch {path}") is False:
                return
        tries = LEASE_S // RENEW_S
        while execute(f"{ours} && rm {path}") is None and (tries := tries - 1):
            time.sleep(RENEW_S)


def ends(process: int, within_s: float) -> bool:
    """Wait for a process, which need not be a child, and return whether it ended."""
    if not hasattr(os, "pidfd_open"):  # Ansible runs on something else than Linux
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
    """Do it in a process that outlives this one, and shares neither its session nor its way to end."""
    if os.fork():
        return
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        work()
    finally:
        # Whatever happened: what stands above on the stack is another program's.
        os._exit(0)


def sought(holder: Mapping[str, Any]) -> str:
    """Return what the operator reads while it is unclear whether the other run lives."""
    return (
        f"Waiting for the run of {holder['by']}, since {holder['since']}: for its next sign of life,"
        f" or until there was none for {LEASE_S} s."
    )


def taken(holder: Mapping[str, Any]) -> str:
    """Return why a run that met another one stops."""
    return (
        f"Another run works on this machine: that of {holder['by']}, since {holder['since']}."
        " Nothing was changed. Run this again when that one has ended."
    )
