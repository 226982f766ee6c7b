"""How docker_engine interprets an engine's answers and a machine's files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import docker_engine

VERSION = {"Version": "26.1.5", "ApiVersion": "1.45", "Components": [{"Name": "Engine"}]}
INFO = {
    "LiveRestoreEnabled": True,
    "Swarm": {"LocalNodeState": "inactive"},
    "DockerRootDir": "/var/lib/docker",
    "LoggingDriver": "json-file",
    "SecurityOptions": ["name=seccomp,profile=default", "name=cgroupns"],
}


def test_plain_engine() -> None:
    assert docker_engine.describe(VERSION, INFO) == {
        "version": "26.1.5",
        "api_version": "1.45",
        "rootless": False,
        "snap": False,
        "userns_remap": False,
        "podman": False,
        "live_restore": True,
        "swarm_active": False,
        "root_dir": "/var/lib/docker",
        "log_driver": "json-file",
    }


@pytest.mark.parametrize(
    ("kind", "version", "info"),
    [
        ("rootless", {}, {"SecurityOptions": ["name=seccomp", "name=rootless"]}),
        ("userns_remap", {}, {"SecurityOptions": ["name=userns"]}),
        ("snap", {}, {"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}),
        ("podman", {"Components": [{"Name": "Podman Engine"}]}, {}),
        ("swarm_active", {}, {"Swarm": {"LocalNodeState": "active"}}),
        # Locked or joining, but still part of a swarm.
        ("swarm_active", {}, {"Swarm": {"LocalNodeState": "locked"}}),
    ],
)
def test_unusual_engine_is_recognised(kind: str, version: dict[str, Any], info: dict[str, Any]) -> None:
    assert docker_engine.describe(VERSION, INFO)[kind] is False
    assert docker_engine.describe(VERSION | version, INFO | info)[kind] is True


def test_absent_engine_is_described_without_error() -> None:
    assert not any(docker_engine.describe({}, {}).values())


@pytest.mark.parametrize(
    ("driver", "settings", "rotated"),
    [
        ("json-file", {}, False),
        ("json-file", {"log-opts": {"max-file": "3"}}, False),
        ("json-file", {"log-opts": {"max-size": "10m"}}, True),
        ("local", {}, True),
        ("journald", {}, True),
        ("", {"log-opts": {"max-size": "10m"}}, False),
    ],
)
def test_log_rotation(driver: str, settings: dict[str, Any], rotated: bool) -> None:
    assert docker_engine.is_log_rotated(driver, settings) is rotated


@pytest.mark.parametrize("text", ["", "{", "[]", '"text"'])
def test_settings_that_are_not_an_object_are_ignored(tmp_path: Path, text: str) -> None:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    assert docker_engine.read_settings(path) == {}
    assert docker_engine.read_settings(tmp_path / "absent") == {}


def test_age_shows_whether_the_engine_has_read_its_settings(tmp_path: Path) -> None:
    pid, settings = tmp_path / "pid", tmp_path / "daemon.json"
    assert docker_engine.is_older(pid, settings) is False
    pid.touch()
    assert docker_engine.is_older(pid, settings) is False
    settings.touch()
    os.utime(pid, ns=(0, 1_000_000_000))
    os.utime(settings, ns=(0, 1_000_000_001))
    assert docker_engine.is_older(pid, settings) is True
    os.utime(settings, ns=(0, 999_999_999))
    assert docker_engine.is_older(pid, settings) is False


@pytest.mark.parametrize(
    ("content", "podman"),
    [
        (b'#!/bin/sh\nexec /usr/bin/podman "$@"\n', True),
        (b"\x7fELF podman", False),
        (b"#!/bin/sh\nexec nerdctl\n", False),
    ],
)
def test_podman_wrapper(tmp_path: Path, content: bytes, podman: bool) -> None:
    command = tmp_path / "docker"
    command.write_bytes(content)
    assert docker_engine.is_podman_command(str(command)) is podman
    assert docker_engine.is_podman_command(None) is False


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Listen as an engine does and give the next of the listed answers to each request."""
    path = str(tmp_path / "docker.sock")
    answers: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def serve() -> None:
        while answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answers.pop(0))

    thread = threading.Thread(target=serve, daemon=True)
    # The answers are listed by the test, after this.
    start = threading.Timer(0.05, thread.start)
    start.start()
    yield path, answers
    start.join()
    thread.join(timeout=2)
    server.close()


def answer(body: Any, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{json.dumps(body)}".encode()


def test_engine_is_asked_on_its_socket(engine: tuple[str, list[bytes]]) -> None:
    path, answers = engine
    answers += [answer(VERSION), answer(INFO)]
    found = docker_engine.gather(path, 2)
    assert found["running"] is True
    assert found["installed"] is True
    assert found["version"] == "26.1.5"


@pytest.mark.parametrize("reply", [answer({}, "500 Internal Server Error"), b"no HTTP\r\n\r\n", b""])
def test_engine_with_invalid_answers_is_not_running(engine: tuple[str, list[bytes]], reply: bytes) -> None:
    path, answers = engine
    answers.append(reply)
    assert docker_engine.gather(path, 2)["running"] is False


def test_no_engine(tmp_path: Path) -> None:
    assert docker_engine.gather(str(tmp_path / "absent.sock"), 2)["running"] is False


def test_dpkg_was_interrupted_if_it_left_a_journal_and_is_not_running(tmp_path: Path) -> None:
    (tmp_path / "updates").mkdir()
    assert not docker_engine.is_dpkg_interrupted(tmp_path)
    (tmp_path / "updates/0000").touch()
    assert docker_engine.is_dpkg_interrupted(tmp_path)
    # Held by another process, since this kind of lock never blocks its own process.
    lock = "import fcntl, sys; file = open(sys.argv[1], 'a'); fcntl.lockf(file, fcntl.LOCK_EX); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", lock, tmp_path / "lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as dpkg:
        assert dpkg.stdout
        dpkg.stdout.readline()
        assert not docker_engine.is_dpkg_interrupted(tmp_path)
        # While dpkg runs, its packages are not broken.
        (tmp_path / "status").write_text(stanza("now", "install reinstreq half-installed"))
        assert docker_engine.torn_packages(tmp_path) == []
        dpkg.kill()
    assert docker_engine.torn_packages(tmp_path) == ["now:amd64"]


def stanza(name: str, status: str, architecture: str = "amd64") -> str:
    return f"Package: {name}\nStatus: {status}\nArchitecture: {architecture}\nDescription: x\n reinstreq y\n\n"


def test_the_journal_overrides_the_status_of_broken_packages(tmp_path: Path) -> None:
    assert docker_engine.torn_packages(tmp_path) == []
    whole, torn = "install ok installed", "install reinstreq half-installed"
    (tmp_path / "status").write_text(
        stanza("whole", whole) + stanza("libc", torn) + stanza("later", whole) + stanza("mended", torn)
    )
    assert docker_engine.torn_packages(tmp_path) == ["libc:amd64", "mended:amd64"]
    (tmp_path / "updates").mkdir()
    (tmp_path / "updates/0000").write_text(stanza("later", torn) + stanza("doc", torn, "all"))
    (tmp_path / "updates/0001").write_text(stanza("mended", "install ok unpacked"))
    (tmp_path / "updates/0002").write_text(stanza("later", "install reinstreq unpacked"))
    (tmp_path / "updates/tmp.i").write_text(stanza("whole", torn))
    assert docker_engine.torn_packages(tmp_path) == ["doc", "later:amd64", "libc:amd64"]


NAT, FILTER = "-N DOCKER\n", "-N DOCKER\n-A DOCKER ! -i docker0 -o docker0 -j DROP\n"
FORWARD = "-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n-A FORWARD -o docker0 -j DOCKER\n"
FORWARD_OF_NFT = 'table ip filter {\n\tchain FORWARD {\n\t\toifname "docker0" counter packets 0 bytes 0 jump DOCKER\n'
GONE = (1, "iptables: No chain/target/match by that name.")
# iptables 1.8.9, of a chain with a foreign rule and of one that is gone.
INCOMPATIBLE = (1, "iptables v1.8.9 (nf_tables): chain `X' in table `nat' is incompatible, use 'nft' tool.")
GONE_IN_NFT = (1, "Error: No such file or directory\nlist chain ip nat DOCKER")
LOCKED = (4, "Another app is currently holding the xtables lock; still 0s 10 us time ahead to have a chance")
Said = str | tuple[int, str] | None


def commands(folder: Path, said: dict[tuple[str, str, str], Said]) -> None:
    """Install fake iptables and nft, which list or fail as given for a program, table and chain."""
    for program in ("iptables", "nft"):
        lines = ["#!/bin/sh", 'case "$*" in']
        for (who, table, name), answer in said.items():
            pattern = f'"--wait 10 --table {table} --list-rules {name}"'
            if who == "nft":
                pattern = f'"list chain ip {table} {name}"' if table else f'"list table ip {name}"'
            if who == program and answer is not None:
                code, text = (0, answer) if isinstance(answer, str) else answer
                (folder / f"{who}.{table}.{name}").write_text(text)
                to = "" if code == 0 else " >&2"
                lines.append(f"  {pattern}) cat '{folder}/{who}.{table}.{name}'{to}; exit {code} ;;")
        lines += ['  *) echo "unexpected: $*" >&2; exit 9 ;;', "esac"]
        if any(who == program and answer is not None for (who, _, _), answer in said.items()):
            (folder / program).write_text("\n".join(lines) + "\n")
            (folder / program).chmod(0o755)


@pytest.mark.parametrize(
    ("nat", "filters", "forward", "nft", "expected"),
    [
        (NAT, FILTER, FORWARD, {}, True),
        # nft flush ruleset.
        (GONE, GONE, "-P FORWARD ACCEPT\n", {}, False),
        (INCOMPATIBLE, INCOMPATIBLE, "-P FORWARD ACCEPT\n", {"nat": GONE_IN_NFT, "filter": GONE_IN_NFT}, False),
        (GONE, FILTER, FORWARD, {}, False),
        # iptables -F: the chains exist, but nothing jumps to them.
        (NAT, FILTER, "-P FORWARD DROP\n", {}, False),
        # The chain has a rule made with nft, but also Docker's rules.
        (NAT, FILTER, INCOMPATIBLE, {"FORWARD": FORWARD_OF_NFT}, True),
        # None of these means that a rule is missing.
        (NAT, FILTER, INCOMPATIBLE, {}, None),
        (INCOMPATIBLE, FILTER, FORWARD, {"nat": (1, "Error: cache initialization failed")}, None),
        (NAT, LOCKED, FORWARD, {"filter": GONE_IN_NFT}, None),
        (None, None, None, {"filter": GONE_IN_NFT}, None),
    ],
)
def test_rules_of_the_engine(
    nat: Said,
    filters: Said,
    forward: Said,
    nft: dict[str, Said],
    expected: bool | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands(
        tmp_path,
        {
            ("iptables", "nat", "DOCKER"): nat,
            ("iptables", "filter", "DOCKER"): filters,
            ("iptables", "filter", "FORWARD"): forward,
            ("nft", "nat", "DOCKER"): nft.get("nat"),
            ("nft", "filter", "DOCKER"): nft.get("filter"),
            ("nft", "filter", "FORWARD"): nft.get("FORWARD"),
        },
    )
    (tmp_path / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(docker_engine, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert docker_engine.has_rules(INFO) is expected
    assert docker_engine.has_rules({}) is None
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert docker_engine.has_rules(INFO) is None


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("table ip docker-bridges {}", True),
        (GONE_IN_NFT, False),
        ((1, "netlink: Error: cache initialization failed: Operation not permitted"), None),
        (None, None),
    ],
)
def test_rules_of_an_engine_that_uses_nftables(
    listed: Said, expected: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(tmp_path, {("nft", "", "docker-bridges"): listed})
    (tmp_path / "cat").symlink_to("/bin/cat")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(docker_engine, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert docker_engine.has_rules(INFO | {"FirewallBackend": {"Driver": "nftables+firewalld"}}) is expected


def test_an_engine_without_rules(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(str(os.getpid()))
    assert not docker_engine.is_without_rules({}, tmp_path / "pid")
    assert docker_engine.is_without_rules({"iptables": False}, tmp_path / "absent")
    command = ["sh", "-c", "echo; read end", "--iptables=false"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        try:
            assert docker_engine.is_without_rules({}, tmp_path / "pid")
        finally:
            process.terminate()
