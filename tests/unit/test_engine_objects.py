"""What preflight's module `host_report` finds out about the engine's containers, networks and volumes."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import engine_objects

OURS = {"jupyterhub-ansible.project": "team", "jupyterhub-ansible.kind": "proxy"}


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
    assert list(engine_objects.publishers(containers, "team", "8000/tcp")) == [
        {"port": "8000/tcp", "name": "team-proxy", "addresses": ["127.0.0.1"], "ours": True},
        {"port": "8000/tcp", "name": "web", "addresses": ["0.0.0.0"], "ours": False},
    ]
    # The proxy of another Hub is not ours.
    assert [each["ours"] for each in engine_objects.publishers(containers, "other", "8000/tcp")] == [False, False]


@pytest.mark.parametrize(
    ("change", "running"),
    [
        ({}, True),
        ({"State": "exited"}, False),
        ({"Labels": OURS}, False),
        ({"Labels": {"jupyterhub-ansible.project": "other", "jupyterhub-ansible.kind": "user-server"}}, False),
        ({"Labels": None}, False),
    ],
)
def test_running_servers(change: dict[str, Any], running: bool) -> None:
    server = {"Labels": {**OURS, "jupyterhub-ansible.kind": "user-server"}, "State": "running", **change}
    assert engine_objects.servers_running([server], "team") is running


def test_name_conflicts() -> None:
    things = {
        "container": {"team-hub": {}, "team-proxy": OURS, "team-user-a": {}},
        "network": {"team-users": {"jupyterhub-ansible.project": "other"}},
        "volume": {},
    }
    assert list(engine_objects.name_conflicts(things, "team")) == ["container team-hub", "network team-users"]
    assert list(engine_objects.name_conflicts(things, "third")) == []


def test_foreign_containers_on_our_networks() -> None:
    def container(name: str, labels: dict[str, str] | None, *networks: str) -> dict[str, object]:
        return {"Names": [f"/{name}"], "Labels": labels, "NetworkSettings": {"Networks": {key: {} for key in networks}}}

    containers = [
        container("team-hub", OURS, "team-control", "team-users"),
        container("web", None, "bridge", "team-users"),
        container("b-hub", {"jupyterhub-ansible.project": "b"}, "b-users"),
    ]
    assert list(engine_objects.foreign_containers(containers, "team")) == [
        {"container": "web", "network": "team-users"}
    ]
    assert list(engine_objects.foreign_containers([{"Names": None}], "team")) == []


def network(
    name: str, subnet: str = "", *, bridge: str = "", labels: dict[str, str] | None = None
) -> dict[str, object]:
    return {
        "Name": name,
        "Labels": labels,
        "IPAM": {"Config": [{"Subnet": subnet}] if subnet else None},
        "Options": {"com.docker.network.bridge.name": bridge} if bridge else None,
    }


def test_the_bridge_belongs_to_something_else() -> None:
    ours = network("team-users", bridge="br-team")
    assert engine_objects.bridge_holder([network("bridge"), ours], "team") == ""
    assert engine_objects.bridge_holder([network("old", bridge="br-team")], "team") == "the network old"
    assert engine_objects.bridge_holder([network("bridge")], "team") == ""


def test_networks_of_the_engine() -> None:
    networks = [
        network("lan", "192.0.2.0/24"),
        network("team-users", "10.213.0.0/20", labels=OURS),
        network("six", "2001:db8::/64"),
        network("host"),
        {**network("ingress", "10.0.0.0/24"), "Scope": "swarm"},
    ]
    assert list(engine_objects.subnets(networks, "team")) == [
        {"network": "192.0.2.0/24", "interface": "the Docker network lan"},
        # Ours, even if it was re-created with another bridge.
        {"network": "10.213.0.0/20", "interface": ""},
    ]


HUB = {"Id": "abc", "Config": {"Image": "team/hub:1"}}
ANSWERS = {
    # The first name is a link from another container.
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
            # The handler expects a client address.
            return super().get_request()[0], ("engine", 0)

    path = str(tmp_path / "docker.sock")
    with Server(path, Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield path
        server.shutdown()


NOTHING = {
    "publishers": [],
    "name_conflicts": [],
    "foreign_containers": [],
    "bridge_holder": "",
    "subnets": [],
    "own_networks": {},
    "own_containers": {},
    "servers_running": False,
    "has_ingress": False,
    "has_coolify": False,
    "deployed": False,
}


def test_objects_of_an_engine(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_objects, "RUN", tmp_path)
    (tmp_path / "team-hub.settled").write_text("a b\n")
    assert engine_objects.find_objects(engine, "team", ["8000/tcp"]) == {
        **NOTHING,
        "own_networks": {"team-users": {"Name": "team-users", "Labels": OURS}},
        "own_containers": {"team-hub": {"container": HUB, "image": "sha256:1", "stamp": "a b"}},
        "deployed": True,
    }
    others = engine_objects.find_objects(engine, "other", [])
    assert (others["own_networks"], others["own_containers"]) == ({}, {})


def test_without_an_engine_there_are_no_objects(tmp_path: Path) -> None:
    assert engine_objects.find_objects(str(tmp_path / "absent.sock"), "team", ["8000/tcp"]) == NOTHING
