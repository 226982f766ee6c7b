"""What the tests create on a bare machine, while scenarios run in parallel."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e import deployment
from project import ROLES

PROJECT = ROLES.parent
MAKE_KEY = PROJECT / "molecule/shared/make-key"


def at_once(command: list[str | Path], times: int = 6) -> list[str]:
    """Run a command several times in parallel, require success, and return the outputs."""
    running = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(times)
    ]
    said = [one.communicate(timeout=60)[0] for one in running]
    assert [one.returncode for one in running] == [0] * times, said
    return said


def test_scenarios_that_start_at_once_make_one_key(tmp_path: Path) -> None:
    key = tmp_path / "ssh/key"
    at_once([MAKE_KEY, key])
    made = key.read_text(), key.with_suffix(".pub").read_text()
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    at_once([MAKE_KEY, key])
    assert made == (key.read_text(), key.with_suffix(".pub").read_text()), "it lets in machines that run"


def test_a_key_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("half")
    at_once([MAKE_KEY, key])
    public = subprocess.check_output(["ssh-keygen", "-y", "-f", key], text=True)
    assert key.with_suffix(".pub").read_text().startswith(public.rsplit(" ", 1)[0].strip())


def _tasks(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every task and play."""
    if isinstance(node, list):
        for item in node:
            yield from _tasks(item)
    elif isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _tasks(value)


PLAYS = sorted(path for path in PROJECT.glob("molecule/*/**/*.yml") if path.name != "molecule.yml")


@pytest.mark.parametrize("play", PLAYS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_shared_things_are_checked_under_their_lock(play: Path) -> None:
    """`creates` is checked before the command takes its lock, so two scenarios could both continue."""
    shared = [task for task in _tasks(yaml.safe_load(play.read_text())) if task.get("delegate_to") == "localhost"]
    assert [task["name"] for task in shared if {"creates", "removes"} & {*task.get("args", {})}] == []


# From a freshly installed engine 20.10; omitted lines have no addresses.
DEFAULT_BRIDGE = {
    "Name": "bridge",
    "Id": "1d634f9a1d2d7d8e9a8a1551b851ff550a29c5a0d749e0316186483d0b361992",
    "IPAM": {"Driver": "default", "Options": None, "Config": [{"Subnet": "172.17.0.0/16"}]},
    "Options": {
        "com.docker.network.bridge.default_bridge": "true",
        "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
        "com.docker.network.bridge.name": "docker0",
        "com.docker.network.driver.mtu": "1500",
    },
}


@pytest.mark.parametrize(
    ("described", "bridge"),
    [
        (DEFAULT_BRIDGE, "docker0"),
        # Without a name of its own.
        ({"Id": "0314866181c7fb2be77c9aa824045fe6", "Options": {}}, "br-0314866181c7"),
        ({"Id": "0314866181c7fb2be77c9aa824045fe6", "Options": None}, "br-0314866181c7"),
    ],
)
def test_the_machine_has_an_address_on_a_bridge_of_a_fresh_engine(
    monkeypatch: pytest.MonkeyPatch, described: dict[str, Any], bridge: str
) -> None:
    monkeypatch.setattr(deployment, "docker", lambda *arguments: json.dumps([described]))
    monkeypatch.setattr(deployment, "address_of", {bridge: "172.17.0.1"}.__getitem__)
    assert deployment.address_on("bridge") == "172.17.0.1"


def test_the_address_of_an_interface() -> None:
    assert deployment.address_of("lo") == "127.0.0.1"
    with pytest.raises(AssertionError, match="nothing0 has no address"):
        deployment.address_of("nothing0")
