"""What a user's server can reach, tried by code in the user's kernel."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from e2e.client import Server
from e2e.deployment import Deployment, address_on, docker, inspect

_TRY = """
import concurrent.futures, json, socket
def reached(way):
    host, port = way
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError:
        return False
    return True
ways = json.loads({ways!r})
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(reached, ways.values())))))
"""

Ways = dict[str, tuple[str, int]]


def reached(server: Server, ways: Ways) -> set[str]:
    """Return the names of the ways to which the server could open a TCP connection."""
    answer: dict[str, bool] = json.loads(server.run(_TRY.format(ways=json.dumps(ways))).stdout)
    return {name for name, opened in answer.items() if opened}


@contextmanager
def listeners(deployment: Deployment) -> Iterator[Ways]:
    """Listen on the host, and yield every way there from a container.

    These are the test's own listeners, so that no other program of the host is contacted.
    """
    gateways = {
        network: address_on(network) for network in (deployment.users_network, f"{deployment.name}-control", "bridge")
    }
    own = gateways[deployment.users_network]
    with ExitStack() as stack:
        narrow = stack.enter_context(socket.create_server((own, 0))).getsockname()[1]
        wide = stack.enter_context(socket.create_server(("0.0.0.0", 0))).getsockname()[1]
        # Positive control: from the host itself they are open.
        for address in ((own, narrow), (own, wide), ("127.0.0.1", wide)):
            socket.create_connection(address, timeout=3).close()
        yield {
            "a listener on the gateway of the users' network": (own, narrow),
            **{f"a listener on all addresses, by the gateway of {name}": (ip, wide) for name, ip in gateways.items()},
        }


def addresses(container: str) -> dict[str, str]:
    """Return a container's address on each network."""
    [found] = inspect(container)
    return {network: end["IPAddress"] for network, end in found["NetworkSettings"]["Networks"].items()}


def assert_fenced(deployment: Deployment, server: Server, another: str) -> None:
    """From `server`, Hub and proxy are open; the container `another`, the proxy's API and the host are closed."""
    [target] = addresses(another).values()
    # Positive control: the same port is open to the Hub, on the same network.
    connect = "import socket, sys; socket.create_connection((sys.argv[1], 8888), timeout=3)"
    docker("exec", deployment.hub, "python", "-c", connect, target)
    may: Ways = {"the Hub": ("hub", 8081), "the proxy's public port": ("proxy", 8000)}
    may_not: Ways = {
        "another user's server": (target, 8888),
        **{f"the proxy's API on {network}": (ip, 8001) for network, ip in addresses(deployment.proxy).items()},
        **{
            f"the Hub's port on {network}": (ip, 8081)
            for network, ip in addresses(deployment.hub).items()
            if network != deployment.users_network
        },
    }
    with listeners(deployment) as host:
        opened = reached(server, may | may_not | host)
    wrong = {"open": sorted(opened - may.keys()), "closed": sorted(may.keys() - opened)}
    assert not any(wrong.values()), f"from {server.path}: {wrong}"
