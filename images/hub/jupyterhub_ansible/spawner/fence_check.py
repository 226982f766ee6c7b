"""Whether the users' network is safe enough for another server to start."""

import ipaddress
import socket
from pathlib import Path
from urllib.parse import urlsplit

from .failures import TELL, ServerError

CLOSED = Path("/srv/jupyterhub/closed")
"""Why no server starts until the fence is proved again: written by the proof that found it open.

The proof is that of a run of the playbook (fence_proof), or of the Hub as a Compose application (compose.keeper).
"""
UNSAFE = Path("/srv/jupyterhub/unsafe")
"""There while the fence is not in force, as far as the Hub can see: its health check asks for it."""
LOOK_S = 5
_PORT, _TIMEOUT_S = 9, 1


def gateway(connect_url: str) -> str:
    """Return the machine's address on the users' network: the one before the Hub's (users_network.plan)."""
    return str(ipaddress.IPv4Address(urlsplit(connect_url).hostname or "") - 1)


def answers(address: str) -> bool:
    """Whether the machine says anything to a connection from the users' network, be it that it refuses it.

    While the fence is in force it is silent, to the Hub as well.
    """
    try:
        socket.create_connection((address, _PORT), timeout=_TIMEOUT_S).close()
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def refusal(log_message: str) -> ServerError:
    """Nobody's server is started."""
    return ServerError(
        f"No server can be started just now: the network is not safe. {TELL}", reason="fence", log_message=log_message
    )


def insist() -> None:
    """Refuse where a proof found the fence open.

    Raises:
        ServerError: it did, and no later one found it closed.
    """
    try:
        raise refusal(CLOSED.read_text().strip())
    except FileNotFoundError:
        return


def before_start(_image: str) -> None:
    """Let a server start, where a playbook raised the fence.

    Raises:
        ServerError: the network is not safe.
    """
    insist()
    if UNSAFE.exists():
        raise refusal(f"The fence around the users' network is not in force: {WAY_BACK}")


WAY_BACK = "deploy again (make deploy), which puts it in force and proves it; docs/troubleshooting.md"


class Lookout:
    """Sees to it that health and starts depend on the fence, where nothing else on the machine may look after it."""

    def __init__(self, address: str) -> None:
        self.address = address
        UNSAFE.unlink(missing_ok=True)

    def look(self) -> str | None:
        """Return what is to be logged, where it changed."""
        open_now = answers(self.address)
        if open_now == UNSAFE.exists():
            return None
        if open_now:
            UNSAFE.touch()
            return f"The fence around the users' network is not in force, and no server is started: {WAY_BACK}"
        UNSAFE.unlink()
        return "The fence around the users' network is in force again"
