"""Proxies of the image that was built, each with its own settings, between two sides of one peer.

The peer (peer.py) sends requests, and is also the server behind the proxies.  Peer and proxies are on two networks:
`front`, where another proxy in front of ours would be, and `users`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host
from vps import image

PEER = (Path(__file__).parent / "testinfra/proxy/peer.py").read_text()
NAME = "test-proxies"
FRONT, USERS = f"{NAME}-front", f"{NAME}-users"
SUBNETS = {FRONT: ("10.213.248.0/24", "fd00:213:248::/64"), USERS: ("10.213.249.0/24", "fd00:213:249::/64")}
# The peer's addresses.
ME, ME_AS_USER, ME_6 = "10.213.248.9", "10.213.249.9", "fd00:213:248::9"


@dataclass(frozen=True)
class Proxy:
    """A proxy with its own settings, at `.<at>` in both networks."""

    at: int
    trusted: str = ""
    untrusted: str = ""

    @property
    def front(self) -> str:
        return f"10.213.248.{self.at}"

    @property
    def front_6(self) -> str:
        return f"fd00:213:248::{self.at}"

    @property
    def users(self) -> str:
        return f"10.213.249.{self.at}"


NOBODY = Proxy(20)
LISTED = Proxy(21, f"{ME}, 192.0.2.0/24,2001:db8:1::/48, {ME_6}")
NEIGHBOURS = Proxy(22, "neighbours", "10.213.249.0/24, fd00:213:249::/64")
EVERYBODY = Proxy(23, "0.0.0.0/0,::/0", "10.213.249.0/24")
OPEN = Proxy(24, "neighbours")
MAPPED = Proxy(25, "::ffff:10.213.248.0/120")
PROXIES = (NOBODY, LISTED, NEIGHBOURS, EVERYBODY, OPEN, MAPPED)

UPGRADE = (
    *("Connection: Upgrade", "Upgrade: websocket"),
    *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MTIzNDU2Nzg5MGFiY2RlZg=="),
)  # fmt: skip

Ask = Callable[..., list[Any]]


def request(path: str, *lines: str, host: str = "hub.example", method: str = "GET") -> list[str]:
    """Return the first lines of a request."""
    return [f"{method} {path} HTTP/1.1", f"Host: {host}", *lines]


def proxy_image(host: Host) -> str:
    """Return the id of the proxy's image."""
    images: str = host.check_output("docker image ls --filter label=jupyterhub-ansible.kind=proxy --format '{{.ID}}'")
    return images.split()[0]


def run_proxy(host: Host, at: Proxy, *options: str, run_options: tuple[str, ...] = ()) -> str:
    """Start a proxy on `front`, then attach it to `users`, as the deployment does."""
    name = f"{NAME}-{at.at}"
    command = ["docker", "run", "--detach", "--name", name, "--network", FRONT, "--ip", at.front, "--ip6", at.front_6]
    command += ["--env", f"TRUSTED_PROXIES={at.trusted}", "--env", f"UNTRUSTED_NETWORKS={at.untrusted}", *run_options]
    # The public port listens on :: if it can, and then sees mapped IPv4 addresses.
    command += [proxy_image(host), "--port=8000", "--api-ip=0.0.0.0", "--api-port=8001", *options]
    host.check_output(" ".join(["%s"] * len(command)), *command)
    host.check_output("docker network connect --ip %s %s %s", at.users, USERS, name)
    return name


def wait(host: Host, name: str) -> None:
    """Wait until the proxy answers."""
    script = "for _ in $(seq 600); do healthcheck 8000 /_chp_healthz && exit; sleep 0.1; done; exit 1"
    host.check_output("docker exec %s sh -c %s", name, script)


@contextmanager
def networks_and_peer(host: Host, proxies: Iterable[Proxy]) -> Iterator[Ask]:
    """Start networks, peer and proxies; yield a function that sends requests from the peer."""

    def ask(questions: list[dict[str, Any]], within: str = "") -> list[Any]:
        """Send all requests in one go; with `within`, from inside that container's network."""
        where = f"docker run --rm --network container:{within} --entrypoint python {image(host)}"
        how = where if within else f"docker exec {NAME}-peer python"
        answers: list[Any] = json.loads(host.check_output(how + " -c %s ask %s", PEER, json.dumps(questions)))
        return answers

    def remove() -> None:
        # One by one: removed at once, they can leave a network that the engine believes in use (seen with 20.10).
        host.run(
            f"docker ps --all --quiet --filter name=^{NAME}- | xargs --max-args 1 --no-run-if-empty docker rm --force"
        )
        host.run(f"docker network rm {FRONT} {USERS}")

    remove()
    try:
        for network, (four, six) in SUBNETS.items():
            host.check_output("docker network create --subnet %s --ipv6 --subnet %s %s", four, six, network)
        peer = f"docker run --detach --name {NAME}-peer --network {FRONT} --ip {ME} --ip6 {ME_6} --network-alias server"
        host.check_output(f"{peer} --entrypoint python {image(host)} -c %s serve", PEER)
        host.check_output(f"docker network connect --ip {ME_AS_USER} {USERS} {NAME}-peer")
        for name in [run_proxy(host, proxy, "--default-target=http://server:9000") for proxy in proxies]:
            wait(host, name)
        yield ask
    finally:
        remove()
