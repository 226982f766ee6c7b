"""What preflight's module `host_report` makes of the tables of the kernel and the answers of the engine."""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from plugins.module_utils import kernel_tables
from plugins.module_utils.certificates import certificate_trouble
from plugins.modules import host_report

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1143 1 0 100 0 0 10 0
   1: 0100007F:1F40 0200007F:01BB 01 00000000:00000000 00:00000000 00000000     0        0 1144 1 0
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1145 1 0
"""
TCP6 = """\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1 0
"""
UDP = """\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  201: 00000000:01BB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1147 2 0 0
  202: 0100007F:01BB 0200007F:1F40 01 00000000:00000000 00:00000000 00000000     0        0 1148 2 0 0
"""
ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
br-team\t0000D50A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
"""
OURS = {"jupyterhub-ansible.project": "team", "jupyterhub-ansible.kind": "proxy"}


def test_listeners_of_a_port() -> None:
    assert list(kernel_tables.parse_listeners(TCP, "8000/tcp")) == [("127.0.0.1", "1143")]
    assert list(kernel_tables.parse_listeners(TCP, "22/tcp")) == [("0.0.0.0", "1145")]
    assert list(kernel_tables.parse_listeners(TCP6, "8000/tcp")) == [("::1", "77")]
    assert list(kernel_tables.parse_listeners(UDP, "443/udp")) == [("0.0.0.0", "1147")]
    assert list(kernel_tables.parse_listeners("", "8000/tcp")) == []


def test_networks_without_the_default_route() -> None:
    assert list(kernel_tables.parse_routes(ROUTES)) == [{"network": "10.213.0.0/20", "interface": "br-team"}]


def test_memory() -> None:
    assert kernel_tables.parse_memory("MemTotal:        8140420 kB\nMemFree: 1 kB\n") == 7949


def test_publishers_of_a_port() -> None:
    containers: list[dict[str, Any]] = [
        {
            "Names": ["/team-proxy"],
            "Labels": OURS,
            "Ports": [{"IP": "127.0.0.1", "PrivatePort": 8000, "PublicPort": 8000, "Type": "tcp"}],
        },
        {
            "Names": ["/web"],
            "Labels": None,
            "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "tcp"}],
        },
        {"Names": ["/games"], "Ports": [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8000, "Type": "udp"}]},
        {"Names": ["/inner"], "Labels": {}, "Ports": [{"PrivatePort": 8000}]},
        {"Names": ["/stopped"], "Labels": {}, "Ports": None},
    ]
    assert list(host_report.publishers(containers, "team", "8000/tcp")) == [
        {"port": "8000/tcp", "name": "team-proxy", "addresses": ["127.0.0.1"], "ours": True},
        {"port": "8000/tcp", "name": "web", "addresses": ["0.0.0.0"], "ours": False},
    ]
    # The proxy of another Hub is not ours.
    assert [each["ours"] for each in host_report.publishers(containers, "other", "8000/tcp")] == [False, False]


def test_strangers_bear_our_names_without_our_label() -> None:
    things = {
        "container": {"team-hub": {}, "team-proxy": OURS, "team-user-a": {}},
        "network": {"team-users": {"jupyterhub-ansible.project": "other"}},
        "volume": {},
    }
    assert list(host_report.strangers(things, "team")) == ["container team-hub", "network team-users"]
    assert list(host_report.strangers(things, "third")) == []


def test_guests_are_on_our_networks_without_our_label() -> None:
    def container(name: str, labels: dict[str, str] | None, *networks: str) -> dict[str, object]:
        return {"Names": [f"/{name}"], "Labels": labels, "NetworkSettings": {"Networks": {key: {} for key in networks}}}

    containers = [
        container("team-hub", OURS, "team-control", "team-users"),
        container("web", None, "bridge", "team-users"),
        container("b-hub", {"jupyterhub-ansible.project": "b"}, "b-users"),
    ]
    assert list(host_report.guests(containers, "team")) == [{"container": "web", "network": "team-users"}]
    assert list(host_report.guests([{"Names": None}], "team")) == []


def network(
    name: str, subnet: str = "", *, bridge: str = "", labels: dict[str, str] | None = None
) -> dict[str, object]:
    return {
        "Name": name,
        "Labels": labels,
        "IPAM": {"Config": [{"Subnet": subnet}] if subnet else None},
        "Options": {"com.docker.network.bridge.name": bridge} if bridge else None,
    }


def test_the_bridge_of_the_users_network_is_somebody_else_s() -> None:
    ours = network("team-users", bridge="br-team")
    assert host_report.bridge_holder([network("bridge"), ours], "team") == ""
    assert host_report.bridge_holder([network("old", bridge="br-team")], "team") == "the network old"
    assert host_report.bridge_holder([network("bridge")], "team") == ""


def test_networks_of_the_engine() -> None:
    networks = [
        network("lan", "192.0.2.0/24"),
        network("team-users", "10.213.0.0/20", labels=OURS),
        network("six", "2001:db8::/64"),
        network("host"),
        {**network("ingress", "10.0.0.0/24"), "Scope": "swarm"},
    ]
    assert list(host_report.subnets(networks, "team")) == [
        {"network": "192.0.2.0/24", "interface": "the Docker network lan"},
        # Ours, also where somebody made it anew with another bridge.
        {"network": "10.213.0.0/20", "interface": ""},
    ]


def test_a_folder_that_is_used_by_something_else(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    assert host_report.foreign_root(root, "team") == ""
    root.mkdir()
    (root / "lost+found").mkdir()
    assert host_report.foreign_root(root, "team") == ""
    for name in ("cookie_secret", "hub", "jupyterhub.sqlite", "ssl"):
        (root / name).mkdir()
    assert host_report.foreign_root(root, "team") == "cookie_secret, hub, jupyterhub.sqlite, ..."
    (root / "hub/secrets").mkdir()
    assert host_report.foreign_root(root, "team") == ""
    (root / "hub/hub.json").write_text("damaged by hand")
    assert host_report.foreign_root(root, "team") == ""
    (root / "hub/hub.json").write_text('{"name": "team"}')
    assert host_report.foreign_root(root, "team") == ""
    assert host_report.foreign_root(root, "other") == "the Hub team"
    (tmp_path / "file").touch()
    assert host_report.foreign_root(tmp_path / "file", "team") == "a file"


def test_disk_of_a_folder_that_is_yet_to_be_made(tmp_path: Path) -> None:
    assert host_report.free_mb(tmp_path / "a" / "b") == host_report.free_mb(tmp_path)


def test_addresses_of_this_machine() -> None:
    assert host_report.is_local("127.0.0.1")
    assert host_report.is_local("0.0.0.0")
    assert not host_report.is_local("203.0.113.7")


def test_the_program_behind_a_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = list(kernel_tables.parse_listeners(kernel_tables.read("/proc/net/tcp"), f"{port}/tcp"))
        assert [address for address, _ in found] == ["127.0.0.1"]
        assert kernel_tables.program_of(found[0][1]) == Path(f"/proc/{os.getpid()}/comm").read_text().strip()
    assert kernel_tables.program_of("0") == ""


HUB = {"Id": "abc", "Config": {"Image": "team/hub:1"}}
ANSWERS = {
    # The second name is a link to it from another container.
    "/containers/json?all=1": [{"Names": ["/web/hub", "/team-hub"], "Labels": OURS, "Ports": []}],
    "/containers/team-hub/json": HUB,
    "/images/team/hub:1/json": {"Id": "sha256:1"},
    "/networks": [{"Name": "team-users", "Labels": OURS}, {"Name": "bridge", "Labels": {}}],
}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """A socket that answers like an engine."""

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = ANSWERS.get(self.path)
            self.send_response(404 if answer is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(socketserver.UnixStreamServer):
        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            # The handler wants to know who asks.
            return super().get_request()[0], ("engine", 0)

    path = str(tmp_path / "docker.sock")
    with Server(path, Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


NOTHING = {
    "publishers": [],
    "strangers": [],
    "guests": [],
    "bridge_holder": "",
    "subnets": [],
    "own_networks": {},
    "own_containers": {},
    "has_ingress": False,
    "has_coolify": False,
    "deployed": False,
}


def test_the_engine_is_asked(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_report, "RUN", tmp_path)
    (tmp_path / "team-hub.settled").write_text("a b\n")
    assert host_report.ask_engine(engine, "team", ["8000/tcp"]) == {
        **NOTHING,
        "own_networks": {"team-users": {"Name": "team-users", "Labels": OURS}},
        "own_containers": {"team-hub": {"container": HUB, "image": "sha256:1", "stamp": "a b"}},
        "deployed": True,
    }
    others = host_report.ask_engine(engine, "other", [])
    assert (others["own_networks"], others["own_containers"]) == ({}, {})


def test_without_an_engine_nothing_is_ours(tmp_path: Path) -> None:
    assert host_report.ask_engine(str(tmp_path / "absent.sock"), "team", ["8000/tcp"]) == NOTHING


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hub.example.net, one that has expired, and their keys."""
    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("hub.example.net")])
    nobody = x509.Name([])
    for name, ends in (("good", now + timedelta(days=2)), ("old", now - timedelta(days=1)), ("other", now)):
        key = ec.generate_private_key(ec.SECP256R1())
        about = x509.CertificateBuilder().subject_name(nobody).issuer_name(nobody).public_key(key.public_key())
        about = about.serial_number(1).not_valid_before(now - timedelta(days=3)).not_valid_after(ends)
        made = about.add_extension(names, critical=True).sign(key, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(made.public_bytes(Encoding.PEM))
        (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        locked = BestAvailableEncryption(b"canary")
        (folder / f"{name}.locked").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "host", "trouble"),
    [
        ("good.pem", "good.key", "hub.example.net", ""),
        ("good.pem", "good.key", "other.example.net", "it is not for other.example.net"),
        ("old.pem", "old.key", "hub.example.net", "it has expired"),
        ("good.pem", "other.key", "hub.example.net", "the key is that of another certificate"),
        ("good.pem", "good.locked", "hub.example.net", "one of them is no PEM file, or the key has a passphrase"),
        ("good.key", "good.key", "hub.example.net", "one of them is no PEM file, or the key has a passphrase"),
        # Told by itself.
        ("absent.pem", "good.key", "hub.example.net", ""),
    ],
)
def test_a_certificate_of_ones_own(certificates: Path, certificate: str, key: str, host: str, trouble: str) -> None:
    files = {"certificate_file": str(certificates / certificate), "key_file": str(certificates / key)}
    assert certificate_trouble(files, host) == trouble


def test_the_addresses_of_a_name() -> None:
    assert host_report.addresses_of("127.0.0.1") == ["127.0.0.1"]
    assert host_report.addresses_of("nothing.invalid") == []
    assert host_report.addresses_of("") == []


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', ("Debian", "12", "12")),
        ('NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n', ("Ubuntu", "24", "24.04")),
        # Debian's unstable has no number.
        ("ID=debian\n", ("Debian", "", "")),
        ("", ("", "", "")),
    ],
)
def test_facts_by_the_names_that_ansible_has(release: str, expected: tuple[str, str, str]) -> None:
    facts = host_report.facts(release, "x86_64")
    names = ("distribution", "distribution_major_version", "distribution_version")
    assert tuple(facts[name] for name in names) == expected
    assert facts["architecture"] == "x86_64"
    assert facts["service_mgr"]
