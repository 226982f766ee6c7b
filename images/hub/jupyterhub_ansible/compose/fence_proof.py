"""Prove from inside a container what the users' network lets through, as the module fence_proof does for Ansible."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import docker

from ..engine.labels import KIND, PROJECT, not_inherited
from ..rules.probe import NAMES, TRY, closed_ones, open_ones
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


class Prober:
    """Runs probes in containers of an image with Python, on the users' network and on the host's."""

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
                network_mode=network,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                # What the container prints is read; the engine can read logs only of files and journald.
                log_config={"type": "json-file", "config": {"max-size": "1m"}},
            ),
        )
        try:
            self.client.start(made["Id"])
            yield made["Id"]
        finally:
            self.client.remove_container(made["Id"], force=True, v=True)

    def _output(self, container: str) -> str:
        deadline = time.monotonic() + _TIMEOUT_S
        while time.monotonic() < deadline:
            if output := self.client.logs(container, stdout=True, stderr=True).decode().strip():
                return str(output)
            time.sleep(0.1)
        raise ComposeError("The fence could not be tested: the probe container printed nothing")

    def reached(
        self, network: str, gateway: str, open_ways: Mapping[str, str], closed: Mapping[str, str], other_network: str
    ) -> dict[str, bool]:
        """Probe every way (name to `host:port`) from a container on the network.

        Returns:
            Whether each was reached, by name; `another server`, `a container of another network`, `this machine` and
            NAMES are added.
        """
        with (
            self._container(network, LISTEN, "") as other,
            self._container(other_network, LISTEN, "") as apart,
            self._container("host", LISTEN, gateway) as machine,
        ):
            listeners = {
                "another server": self._address(other, network),
                "a container of another network": self._address(apart, other_network),
                "this machine": f"{gateway}:{self._output(machine)}",
            }
            return self._probe_all(network, {**listeners, **open_ways, **closed, NAMES: NAMES}, open_ways)

    def _address(self, container: str, network: str) -> str:
        networks = self.client.inspect_container(container)["NetworkSettings"]["Networks"]
        return f"{networks[network]['IPAddress']}:{self._output(container)}"

    def _probe_all(self, network: str, ways: Mapping[str, str], open_ways: Iterable[str] = ()) -> dict[str, bool]:
        with self._container(network, TRY, json.dumps([ways, [*open_ways]])) as probe:
            self.client.wait(probe, timeout=_TIMEOUT_S)
            try:
                found: dict[str, bool] = json.loads(self._output(probe))
            except ValueError:
                raise ComposeError("The fence could not be tested: the probe container failed") from None
            return found

    def host_resolves_names(self) -> bool:
        """Whether the machine itself can resolve names."""
        return self._probe_all("host", {NAMES: NAMES})[NAMES]

    def remove_leftovers(self) -> None:
        """Remove the containers of an interrupted proof."""
        labels = [f"{PROJECT}={self.project}", f"{KIND}={PROBE}"]
        for container in self.client.containers(all=True, filters={"label": labels}):
            self.client.remove_container(container["Id"], force=True, v=True)


def require(reached: Mapping[str, bool], open_ways: Mapping[str, str]) -> None:
    """Require that the ways of `open_ways` were reached, and no others.

    Raises:
        ComposeError: the fence is not in force, or blocks too much.
    """
    wrong = [f"{name} is open" for name in open_ones(reached, open_ways)]
    wrong += [f"{name} is closed" for name in closed_ones(reached, open_ways)]
    if wrong:
        raise ComposeError(
            f"The fence around the users' network is not in force: from a user's server {', '.join(wrong)}."
            " Look for firewall rules that accept or drop before it: nft list ruleset"
        )
