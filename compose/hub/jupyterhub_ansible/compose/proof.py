"""Proof from inside a container of what the users' network lets through: as the role hub proves it (fence_proof)."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker

from ..labels import KIND, PROJECT, not_inherited
from .errors import ComposeError

PROBE = "probe"
_TIMEOUT_S = 30
LISTEN = """
import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
while True:
    server.accept()[0].close()
"""
# Who refuses a connection was reached: what the fence closes stays silent.
TRY = """
import concurrent.futures, json, socket, sys
def reached(way):
    host, _, port = way.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
ways = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(ways)) as pool:
    print(json.dumps(dict(zip(ways, pool.map(reached, ways.values())))))
"""


class Prober:
    """Starts containers of an image with Python in it, on the users' network and on the host's."""

    def __init__(self, client: docker.APIClient, project: str, image: str) -> None:
        self.client, self.project, self.image = client, project, image

    @contextmanager
    def _container(self, network: str, code: str, argument: str) -> Iterator[str]:
        inherited = not_inherited(self.client.inspect_image(self.image))
        made = self.client.create_container(
            self.image,
            entrypoint=["python", "-c", code, argument],
            command=[],
            user="65534",
            labels={**inherited, PROJECT: self.project, KIND: PROBE},
            healthcheck={"Test": ["NONE"]},
            host_config=self.client.create_host_config(
                network_mode=network, cap_drop=["ALL"], security_opt=["no-new-privileges"]
            ),
        )
        try:
            self.client.start(made["Id"])
            yield made["Id"]
        finally:
            self.client.remove_container(made["Id"], force=True, v=True)

    def _said(self, container: str) -> str:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            if said := self.client.logs(container, stdout=True, stderr=True).decode().strip():
                return str(said)
            time.sleep(0.1)
        raise ComposeError("The fence could not be tried: a container that tries it said nothing")

    def reached(self, network: str, gateway: str, ways: Mapping[str, str]) -> dict[str, bool]:
        """Try every way (name to `host:port`) from a container on the network.

        Returns:
            For each name whether it was reached; `another server` and `this machine` are added.
        """
        with (
            self._container(network, LISTEN, "") as other,
            self._container("host", LISTEN, gateway) as machine,
        ):
            networks = self.client.inspect_container(other)["NetworkSettings"]["Networks"]
            listeners = {
                "another server": f"{networks[network]['IPAddress']}:{self._said(other)}",
                "this machine": f"{gateway}:{self._said(machine)}",
            }
            with self._container(network, TRY, json.dumps({**listeners, **ways})) as probe:
                self.client.wait(probe, timeout=_TIMEOUT_S)
                try:
                    found: dict[str, bool] = json.loads(self._said(probe))
                except ValueError:
                    raise ComposeError("The fence could not be tried: the container that tries it failed") from None
                return found

    def remove_leftovers(self) -> None:
        """Remove what a proof that was cut off left behind."""
        labels = [f"{PROJECT}={self.project}", f"{KIND}={PROBE}"]
        for container in self.client.containers(all=True, filters={"label": labels}):
            self.client.remove_container(container["Id"], force=True, v=True)


def insist(reached: Mapping[str, bool], open_ways: Mapping[str, str]) -> None:
    """Insist that the ways of `open_ways` were reached, and no other.

    Raises:
        ComposeError: the fence is not in force, or closes too much.
    """
    wrong: list[Any] = [
        f"{name} is {'open' if was else 'closed'}" for name, was in reached.items() if was != (name in open_ways)
    ]
    if wrong:
        raise ComposeError(
            f"The fence around the users' network is not in force: from a user's server {', '.join(wrong)}."
            " Look for rules of a firewall that accept or drop before it: nft list ruleset"
        )
