"""What `make uninstall` takes for a Hub's in the engine: what has its label, and what its builds named."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from project import run_module

from plugins.module_utils import engine_removal

PROJECT, KIND = "jupyterhub-ansible.project", "jupyterhub-ansible.kind"
HASH = "0123456789abcdef"
ANONYMOUS = "a" * 64


def container(name: str, hub: str = "", kind: str = "", image: str = "", **more: Any) -> dict[str, Any]:
    labels = {PROJECT: hub, KIND: kind, "jupyterhub-ansible.user": name} if hub else {}
    return {"Names": [f"/{name}"], "Labels": labels, "ImageID": image, "State": "running", "Mounts": [], **more}


def image(ref: str, number: int, *, made: bool = True, **more: Any) -> dict[str, Any]:
    labels = {KIND: "hub", "jupyterhub-ansible.content-hash": HASH} if made else None
    return {"Id": f"sha256:{number:012}", "RepoTags": [ref] if ref else None, "Labels": labels, **more}


def volume(name: str, hub: str = "") -> dict[str, Any]:
    return {"Name": name, "Labels": {PROJECT: hub} if hub else None}


def network(name: str, hub: str = "") -> dict[str, Any]:
    return {"Name": name, "Labels": {PROJECT: hub} if hub else {}}


def plan(name: str = "a", pulled: tuple[str, ...] = (), sole: bool = True, **things: list[Any]) -> dict[str, Any]:
    kinds: dict[str, list[Any]] = {"containers": [], "networks": [], "volumes": [], "images": []}
    return engine_removal.plan({**kinds, **things}, name, pulled, sole)


def test_a_hub_whose_name_begins_like_another_s_is_told_apart() -> None:
    found = plan(
        containers=[
            container("a-proxy", "a", "proxy"),
            container("a-hub", "a", "hub"),
            container("a-b-hub", "a-b", "hub"),
        ],
        networks=[network("bridge"), network("a-users", "a"), network("a-b-users", "a-b")],
        volumes=[volume("a-hub", "a"), volume("a-b-hub", "a-b")],
        images=[image(f"a/hub:{HASH}", 1), image(f"a-b/hub:{HASH}", 2)],
    )
    assert (found["containers"], found["networks"], found["volumes"]) == (["a-proxy", "a-hub"], ["a-users"], ["a-hub"])
    assert found["images"] == [f"a/hub:{HASH}"]
    assert found["others"] == ["container a-b-hub", "network a-b-users", "volume a-b-hub", f"image a-b/hub:{HASH}"]


def test_names_without_our_label_are_somebody_else_s() -> None:
    found = plan(
        containers=[container("a-hub")], networks=[network("a-users")], volumes=[volume("a-user-ada"), volume("a-hub")]
    )
    assert [found[kind] for kind in ("containers", "networks", "volumes")] == [[], [], []]
    assert len(found["others"]) == 4


@pytest.mark.parametrize(
    ("made", "removed"),
    [
        (image(f"a/hub:{HASH}", 1), [f"a/hub:{HASH}"]),
        # The operator's own, built on ours or not.
        (image("a/mine:latest", 1), []),
        (image("a/mine:fedcba9876543210", 1), []),
        (image(f"a/mine:{HASH}", 1, made=False), []),
        # A base from a registry has no label.
        (image("a/os:fedcba9876543210", 1, made=False), ["a/os:fedcba9876543210"]),
        (image("a/os:latest", 1, made=False), []),
    ],
)
def test_images_that_builds_made(made: dict[str, Any], removed: list[str]) -> None:
    assert plan(images=[made])["images"] == removed


def test_images_that_were_pulled_or_have_no_name_go_with_the_last_hub() -> None:
    images = [
        image("debian:trixie-slim", 1, made=False),
        image("", 2),
        image("", 3, made=False),
        image("x:1", 4, made=False),
    ]
    found = plan(pulled=("debian:trixie-slim", "gone:1"), images=images)
    assert (found["images"], found["untagged"]) == (["debian:trixie-slim"], ["sha256:000000000002"])
    assert found["others"] == ["image 000000000003", "image x:1"]
    found = plan(pulled=("debian:trixie-slim",), images=images, sole=False)
    assert (found["images"], found["untagged"]) == ([], [])


def test_what_somebody_else_uses_stays() -> None:
    found = plan(
        containers=[container("web", image="sha256:000000000001", Mounts=[{"Name": "a-user-ada"}])],
        images=[image(f"a/hub:{HASH}", 1), image("", 2), image("child:1", 3, ParentId="sha256:000000000002")],
        volumes=[volume("a-user-ada", "a"), volume("a-user-bob", "a")],
    )
    assert (found["images"], found["untagged"]) == ([], [])
    assert (found["volumes"], found["volumes_in_use"]) == (["a-user-bob"], ["a-user-ada"])
    assert "container web" in found["others"]


def test_volumes_without_a_label() -> None:
    """Those that an image declares go with their container; those of another scheme stay, whoever used them."""
    mounts = [{"Name": name} for name in ("jhub-user-ada", ANONYMOUS, "a-user-ada", "")]
    found = plan(
        containers=[container("ada", "a", "user-server", Mounts=mounts)],
        volumes=[volume("jhub-user-ada"), volume(ANONYMOUS), volume("a-user-ada", "a")],
    )
    assert found["adopted"] == ["jhub-user-ada"]
    assert found["others"] == ["volume jhub-user-ada"]
    assert found["volumes"] == ["a-user-ada"]


def test_running_servers() -> None:
    servers = [container("ada", "a", "user-server"), container("bob", "a", "user-server", State="exited")]
    found = plan(containers=[*servers, container("eve", "b", "user-server"), container("a-hub", "a", "hub")])
    assert found["servers"] == ["ada"]
    assert found["containers"][0] == "a-hub", "so that it starts no others meanwhile"
    assert engine_removal.other_hubs({"containers": [container("x", "b")], "networks": [network("y")]}, "a") == {"b"}


class Answers:
    """An engine's answers by URL, at a socket; any other request fails."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "docker.sock")
        self.by_url: dict[str, Any] = {
            "/containers/json?all=1": [],
            "/networks": [network("bridge")],
            "/images/json": [],
            "/volumes": {"Volumes": None},
        }
        answers = self.by_url

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path in answers else 500)
                self.end_headers()
                self.wfile.write(json.dumps(answers.get(self.path)).encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

            def address_string(self) -> str:
                return ""

        self.server = socketserver.ThreadingUnixStreamServer(self.socket, Handler)

    def emptied(self, **more: Any) -> dict[str, Any]:
        """Run the last check before the engine is removed."""
        return run_module("engine_emptied", {"name": "a", "keeps_volumes": True, "socket": self.socket, **more})


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    engine = Answers(tmp_path)
    threading.Thread(target=engine.server.serve_forever, args=(0.01,), daemon=True).start()
    yield engine
    engine.server.shutdown()
    engine.server.server_close()


def test_an_engine_that_does_not_answer_everything_is_not_empty(answers: Answers, tmp_path: Path) -> None:
    assert engine_removal.listed(answers.socket) == {**engine_removal.NOTHING, "networks": [network("bridge")]}
    assert engine_removal.listed(str(tmp_path / "none.sock")) is None
    for url in tuple(answers.by_url):
        answer = answers.by_url.pop(url)
        assert engine_removal.listed(answers.socket) is None, url
        failed = answers.emptied()
        assert failed["failed"]
        assert "does not answer any more" in failed["msg"]
        answers.by_url[url] = answer


@pytest.mark.parametrize(
    ("url", "answer", "more", "left"),
    [
        ("/volumes", {"Volumes": [volume("a-user-ada", "a")]}, {}, ""),
        ("/volumes", {"Volumes": [volume("a-user-ada", "a")]}, {"keeps_volumes": False}, "volume a-user-ada"),
        ("/volumes", {"Volumes": [volume("theirs")]}, {}, "volume theirs"),
        ("/containers/json?all=1", [container("web")], {}, "container web"),
        ("/containers/json?all=1", [container("ada", "a", "user-server")], {}, "container ada"),
        ("/networks", [network("theirs")], {}, "network theirs"),
        ("/images/json", [image("theirs:1", 1, made=False)], {}, "image theirs:1"),
    ],
)
def test_what_came_meanwhile_keeps_the_engine(
    answers: Answers, url: str, answer: Any, more: dict[str, Any], left: str
) -> None:
    answers.by_url[url] = answer
    found = answers.emptied(**more)
    assert found.get("failed", False) == bool(left)
    assert f"something else by now: {left}. Fix: repeat" in found.get("msg", "") or not left
