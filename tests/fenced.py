"""Assertions about what the fence lets through on a throwaway machine, and a network outside the machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.client import eventually
from testinfra.host import Host
from vps import CONNECT, image, inspect, reached, started

FENCE = "/srv/jupyterhub/proxy/fence"
USERS = "jupyterhub-users"
MACHINE, OUTSIDE, METADATA = "198.51.100.1", "198.51.100.2", "169.254.169.254"
# Listeners, and resolvers that know no names (port 53).
SERVE = """
import socket, sys, threading
def resolve(address):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    while True:
        query, client = server.recvfrom(512)
        server.sendto(query[:2] + bytes([0x81, 0x83]) + query[4:], client)
def listen(address, port):
    server = socket.create_server((address, port))
    while True:
        server.accept()[0].close()
for way in sys.argv[1:]:
    address, port = way.split(":")
    serve = (resolve, address) if port == "53" else (listen, address, int(port))
    threading.Thread(target=serve[0], args=serve[1:]).start()
"""
# Prints the resolver's answer about an unknown name (3 is NXDOMAIN), and which of the ways are open.
LOOK_UP = (
    CONNECT.rpartition("print")[0]
    + """
[server] = [line.split()[1] for line in open("/etc/resolv.conf") if line.startswith("nameserver")]
query = bytes([7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4]) + b"test" + bytes([7]) + b"invalid" + bytes([0, 0, 1, 0, 1])
asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asked.settimeout(10)
asked.sendto(query, (server, 53))
try:
    said = asked.recv(512)[3] & 15
except OSError as error:
    said = str(error)
print(json.dumps([said, [name for name, way_is_open in found.items() if way_is_open]]))
"""
)
CONNECT_OFTEN = """
import select, socket, sys, time
host, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
waiting = {}
for _ in range(number):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((host, port))
    waiting[one.fileno()] = one
opened, until = set(), time.monotonic() + 4
poll = select.poll()
for number in waiting:
    poll.register(number, select.POLLOUT)
while time.monotonic() < until:
    for number, events in poll.poll(200):
        poll.unregister(number)
        if not waiting[number].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            opened.add(number)
print(len(opened), flush=True)
if len(sys.argv) > 4:
    time.sleep(60)
"""


@contextmanager
def outside(host: Host) -> Iterator[None]:
    """A network outside the machine with a resolver at the cloud metadata address; another resolver on the machine."""
    host.check_output(
        "ip netns add outside && ip link add out0 type veth peer name out1 netns outside"
        f" && ip addr add {MACHINE}/24 dev out0 && ip link set out0 up"
        f" && ip -n outside addr add {OUTSIDE}/24 dev out1 && ip -n outside addr add {METADATA}/32 dev out1"
        " && ip -n outside link set out1 up && ip -n outside link set lo up"
        f" && ip -n outside route add default via {MACHINE} && ip route add {METADATA}/32 via {OUTSIDE}"
    )
    ways = f"{METADATA}:53 {METADATA}:80 {OUTSIDE}:8099"
    host.check_output(f"systemd-run --quiet --unit test-outside ip netns exec outside python3 -c %s {ways}", SERVE)
    host.check_output(
        f"systemd-run --quiet --unit test-resolver python3 -c %s {MACHINE}:53 {MACHINE}:80 127.0.0.1:53", SERVE
    )
    try:
        # systemd-run does not wait until they listen.
        outside_listens = f"ip netns exec outside ss -ltnH | grep -F {OUTSIDE}:8099"
        machine_listens = f"ss -ltnH | grep -F {MACHINE}:80 && ss -lunH | grep -F 127.0.0.1:53"
        eventually("the listeners", lambda: host.run(f"{outside_listens} && {machine_listens}").rc == 0)
        yield
    finally:
        host.run("systemctl stop test-outside test-resolver; ip link del out0; ip netns del outside")


@contextmanager
def resolver(host: Host, address: str) -> Iterator[None]:
    """Have the machine use this resolver."""
    before = host.file("/etc/resolv.conf").content_string
    # Docker has mounted the file: it can be written, but not replaced.
    host.check_output("printf %%s %s > /etc/resolv.conf", f"nameserver {address}\n")
    try:
        yield
    finally:
        host.check_output("printf %%s %s > /etc/resolv.conf", before)


def assert_names_are_looked_up(host: Host) -> None:
    """Names resolve as on the machine, and the metadata service's HTTP stays closed."""
    run = f"docker run --rm --network {USERS} --entrypoint python {image(host)} -c %s %s"
    ways = json.dumps({"metadata": f"{METADATA}:80", "machine": f"{MACHINE}:80", "outside": f"{OUTSIDE}:8099"})
    with outside(host):
        for address in (METADATA, MACHINE, "127.0.0.1"):
            with resolver(host, address):
                host.check_output(f"{FENCE} keep")
                assert json.loads(host.check_output(run, LOOK_UP, ways)) == [3, ["outside"]], address
    # The unit notices by itself that the machine uses another resolver.
    eventually("the old resolver", lambda: host.check_output(f"{FENCE} check") == "in force")


def assert_published_ports_are_closed(host: Host) -> None:
    """Ports that the machine forwards are as closed as its own; Docker's rules cover only the ports it publishes."""
    with outside(host):
        host.check_output(
            "nft add table ip test_nat"
            " && nft add chain ip test_nat prerouting '{ type nat hook prerouting priority -110; }'"
            f" && nft add rule ip test_nat prerouting ip daddr {MACHINE} tcp dport 7777 dnat to {OUTSIDE}:8099"
        )
        try:
            ways = {"published": f"{MACHINE}:7777", "direct": f"{OUTSIDE}:8099"}
            assert reached(host, USERS, ways) == {"published": False, "direct": True}
        finally:
            host.check_output("nft delete table ip test_nat")


def assert_connections_are_bounded(host: Host) -> None:
    """One container's connections leave room for those of others."""
    container = host.check_output(
        "docker run --detach --network %s --entrypoint python %s -c %s proxy 8000 400 stay",
        USERS, image(host), CONNECT_OFTEN,
    )  # fmt: skip
    try:
        logs = f"docker logs {container}"
        eventually("its connections", lambda: host.check_output(logs) != "")
        assert 200 < int(host.check_output(logs)) <= 250
        assert reached(host, USERS, {"another server's": "proxy:8000"}) == {"another server's": True}
        # The proxy itself is not limited: browsers' connections pass through it.
        assert not host.run("nft list set inet jupyterhub_fence doors | grep -F 10.213.0.3").stdout
    finally:
        host.check_output("docker rm --force %s", container)


def assert_flushed_rules_come_back(host: Host) -> None:
    """They come back within seconds without anybody's help, and the journal says so."""
    host.check_output("nft flush ruleset")
    eventually("the fence", lambda: host.check_output(f"{FENCE} check") == "in force")
    # It is logged after that.
    journal = "journalctl --unit jupyterhub-fence --output cat --lines 5"
    eventually("the last line", lambda: "Docker's own rules are gone, too" in host.check_output(journal), 20)
    assert "Another program had removed or changed the fence" in host.check_output(journal)


def containers(host: Host) -> dict[str, str]:
    """Return when each container was started."""
    return {name: started(host, name) for name in host.check_output("docker ps --format '{{.Names}}'").split()}


def assert_shut(host: Host) -> None:
    """Servers reach Hub and proxy only, and Hub and proxy reach servers, even without br_netfilter."""
    control = inspect(host, "jupyterhub-proxy")["NetworkSettings"]["Networks"]["jupyterhub-control"]["IPAddress"]
    run = f"docker run --detach --network {USERS} --entrypoint python {image(host)} -c %s 0.0.0.0:8888"
    other = host.check_output(run, SERVE)
    try:
        address = inspect(host, other)["NetworkSettings"]["Networks"][USERS]["IPAddress"]
        ways = {
            "proxy": "proxy:8000",
            "other": f"{address}:8888",
            "api": f"{control}:8001",
            "outside": f"{OUTSIDE}:8099",
        }
        with outside(host):
            for filtered in (1, 0):
                host.check_output(f"echo {filtered} > /proc/sys/net/bridge/bridge-nf-call-iptables")
                found = reached(host, USERS, ways)
                assert found == {"proxy": True, "other": False, "api": False, "outside": False}, json.dumps(filtered)
            hub = {"other": f"{address}:8888"}
            assert reached(host, "container:jupyterhub-proxy", hub) == {"other": True}
    finally:
        host.check_output(f"echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables; docker rm --force {other}")
