"""What preflight's module `host_report` finds out about the machine, its kernel and certificates."""

from __future__ import annotations

import json
import os
import socket
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

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
from project import ROLES

from plugins.module_utils import hub_folder, kernel_tables
from plugins.module_utils.certificates import certificate_problem
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


def route(network: str, table: int, kind: int = 1, interface: int = 1) -> tuple[int, bytes]:
    """Return what rtnetlink says of a route: a number of a table above 255 is in an attribute only."""
    address, _, bits = network.partition("/")
    head = struct.pack("=BBBBBBBBI", socket.AF_INET, int(bits), 0, 0, min(table, 252), 4, 0, kind, 0)
    destination = struct.pack("=HH4s", 8, 1, socket.inet_aton(address))
    rest = struct.pack("=HHI", 8, 4, interface) + struct.pack("=HHI", 8, 15, table)
    return 24, head + (destination if int(bits) else b"") + rest


def test_listeners_of_a_port() -> None:
    assert list(kernel_tables.parse_listeners(TCP, "8000/tcp")) == [("127.0.0.1", "1143")]
    assert list(kernel_tables.parse_listeners(TCP, "22/tcp")) == [("0.0.0.0", "1145")]
    assert list(kernel_tables.parse_listeners(TCP6, "8000/tcp")) == [("::1", "77")]
    assert list(kernel_tables.parse_listeners(UDP, "443/udp")) == [("0.0.0.0", "1147")]
    assert list(kernel_tables.parse_listeners("", "8000/tcp")) == []


def test_networks_of_all_routing_tables() -> None:
    messages = [
        route("0.0.0.0/0", 254),
        route("10.213.0.0/20", 254),
        route("10.213.0.1/32", 255, kind=2),  # An address of the machine itself.
        route("10.213.15.255/32", 255, kind=3),
        route("100.64.0.0/10", 51820),
        route("10.0.0.0/8", 100, kind=7, interface=2**31 - 1),
    ]
    assert list(kernel_tables.parse_routes(messages)) == [
        {"network": "10.213.0.0/20", "interface": "lo", "table": 254},
        {"network": "100.64.0.0/10", "interface": "lo", "table": 51820},
        {"network": "10.0.0.0/8", "interface": "an interface that is gone", "table": 100},
    ]


def test_this_machines_routes_are_those_of_the_kernels_table() -> None:
    lines = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    main = {(kernel_tables.parse_address(line[1]), line[0]) for line in lines if int(line[7], 16)}
    found = {(each["network"].partition("/")[0], each["interface"]) for each in kernel_tables.routes()}
    assert main
    assert main <= found


def test_memory() -> None:
    assert kernel_tables.parse_memory("MemTotal:        8140420 kB\nMemFree: 1 kB\n") == 7949


def test_a_folder_that_something_else_uses(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    assert hub_folder.foreign_root(root, "team") == ""
    root.mkdir()
    (root / "lost+found").mkdir()
    assert hub_folder.foreign_root(root, "team") == ""
    for name in ("cookie_secret", "hub", "jupyterhub.sqlite", "ssl"):
        (root / name).mkdir()
    assert hub_folder.foreign_root(root, "team") == "cookie_secret, hub, jupyterhub.sqlite, ..."
    (root / "hub/secrets").mkdir()
    assert hub_folder.foreign_root(root, "team") == ""
    (root / "hub/hub.json").write_text("damaged by hand")
    assert hub_folder.foreign_root(root, "team") == ""
    (root / "hub/hub.json").write_text("[]")
    assert hub_folder.foreign_root(root, "team") == ""
    for key in ("jupyterhub_name", "name"):
        (root / "hub/hub.json").write_text(json.dumps({key: "team"}))
        assert hub_folder.foreign_root(root, "team") == ""
        assert hub_folder.foreign_root(root, "other") == "the Hub team"
    (tmp_path / "file").touch()
    assert hub_folder.foreign_root(tmp_path / "file", "team") == "a file"
    # What `make uninstall DELETE_DATA=...` leaves: the key of the backups.
    (tmp_path / "left/backup/secrets").mkdir(parents=True)
    assert hub_folder.foreign_root(tmp_path / "left", "team") == ""


def test_disk_of_a_folder_that_does_not_exist_yet(tmp_path: Path) -> None:
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
    ("certificate", "key", "host", "problem"),
    [
        ("good.pem", "good.key", "hub.example.net", ""),
        ("good.pem", "good.key", "other.example.net", "it is not for other.example.net"),
        ("old.pem", "old.key", "hub.example.net", "it has expired"),
        ("good.pem", "other.key", "hub.example.net", "the key belongs to another certificate"),
        ("good.pem", "good.locked", "hub.example.net", "one of them is not a PEM file, or the key has a passphrase"),
        ("good.key", "good.key", "hub.example.net", "one of them is not a PEM file, or the key has a passphrase"),
        # Reported separately.
        ("absent.pem", "good.key", "hub.example.net", ""),
    ],
)
def test_the_operators_own_certificate(certificates: Path, certificate: str, key: str, host: str, problem: str) -> None:
    files = {"certificate_file": str(certificates / certificate), "key_file": str(certificates / key)}
    assert certificate_problem(files, host) == problem


def test_the_addresses_of_a_name() -> None:
    assert host_report.addresses_of("127.0.0.1") == ["127.0.0.1"]
    assert host_report.addresses_of("nothing.invalid") == []
    assert host_report.addresses_of("") == []


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian\n', ("Debian", "12", "12")),
        ('NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n', ("Ubuntu", "24", "24.04")),
        # Debian unstable has no version number.
        ("ID=debian\n", ("Debian", "", "")),
        ("", ("", "", "")),
    ],
)
def test_facts_have_ansibles_names(release: str, expected: tuple[str, str, str]) -> None:
    facts = host_report.facts(release, "x86_64")
    names = ("distribution", "distribution_major_version", "distribution_version")
    assert tuple(facts[name] for name in names) == expected
    assert facts["architecture"] == "x86_64"
    assert facts["service_mgr"]


@pytest.mark.parametrize(
    ("given", "made", "expected"),
    [("another", True, True), ("the key", True, False), (None, True, False), ("another", False, False)],
)
def test_a_key_that_is_not_the_repository_s(tmp_path: Path, given: str | None, made: bool, expected: bool) -> None:
    assert not hub_folder.has_other_key(tmp_path, given)
    for folder in ("secrets", "state"):
        (tmp_path / "backup" / folder).mkdir(parents=True)
    (tmp_path / "backup/secrets/password").write_text("the key\n")
    if made:
        (tmp_path / "backup/state/repository.json").write_text("{}")
    assert hub_folder.has_other_key(tmp_path, given) is expected


def test_units_of_the_operator_are_told_from_ours(tmp_path: Path) -> None:
    root = Path("/srv/hub")
    assert hub_folder.foreign_units(root, "hub", tmp_path) == []
    for kind in ("service", "timer"):
        text = (ROLES / f"backup/templates/backup.{kind}.j2").read_text()
        for field, value in (("{{ __backup_folder }}", "/srv/hub/backup"), ("{{ jupyterhub_name }}", "hub")):
            text = text.replace(field, value)
        (tmp_path / f"hub-backup.{kind}").write_text(text)
    assert hub_folder.foreign_units(root, "hub", tmp_path) == []
    for kind in ("service", "timer"):
        (tmp_path / f"hub-backup.{kind}").write_text("[Unit]\nDescription=Mine\n")
    assert hub_folder.foreign_units(root, "hub", tmp_path) == ["hub-backup.service", "hub-backup.timer"]
