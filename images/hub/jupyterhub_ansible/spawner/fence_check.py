"""Whether the fence is in force, so that another server may start."""

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

from .errors import TELL, SpawnError

CLOSED = Path("/srv/jupyterhub/closed")
"""The reason why no server starts until the fence is proved again; written by the proof that found it open.

That is the playbook's proof (module fence_proof), or that of a Compose Hub (compose.reconciler).
"""
UNSAFE = Path("/srv/jupyterhub/unsafe")
"""Exists while the fence is not in force, as far as the Hub can see; the health check tests for it."""
CHECK_S = 5
_PORT, _TIMEOUT_S = 9, 1


def gateway(connect_url: str) -> str:
    """Return the machine's address on the users' network, the one before the Hub's (users_network.plan)."""
    return str(ipaddress.IPv4Address(urlsplit(connect_url).hostname or "") - 1)


def answers(address: str) -> bool:
    """Whether the machine answers a connection from the users' network, if only by refusing it.

    While the fence is in force, it drops such connections, the Hub's included.
    """
    try:
        socket.create_connection((address, _PORT), timeout=_TIMEOUT_S).close()
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def refusal(log_message: str) -> SpawnError:
    """Return the error for a server that must not start now."""
    return SpawnError(
        f"No server can be started just now: the network is not safe. {TELL}", reason="fence", log_message=log_message
    )


def require_not_closed() -> None:
    """Require that the last proof did not find the fence open.

    Raises:
        SpawnError: it did.
    """
    try:
        raise refusal(CLOSED.read_text().strip())
    except FileNotFoundError:
        return


def check_before_start(_image: str) -> None:
    """Check that a server may start, on a Hub whose fence the playbook maintains.

    Raises:
        SpawnError: the network is not safe.
    """
    require_not_closed()
    if UNSAFE.exists():
        raise refusal(f"The fence around the users' network is not in force: {WAY_BACK}")


WAY_BACK = "deploy again (make deploy), which loads and proves it; see docs/troubleshooting.md"


class FenceMonitor:
    """Watches the fence of a Hub that the playbook deployed, and marks the Hub unsafe while it is not in force."""

    def __init__(self, address: str) -> None:
        self.address = address
        UNSAFE.unlink(missing_ok=True)

    def check(self) -> str | None:
        """Update the mark; return a message for the log if the state changed."""
        open_now = answers(self.address)
        if open_now == UNSAFE.exists():
            return None
        if open_now:
            UNSAFE.touch()
            return f"The fence around the users' network is not in force, and no server is started: {WAY_BACK}"
        UNSAFE.unlink()
        return "The fence around the users' network is in force again"
