"""What `make uninstall` says, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.modules.docker_rules import EMPTY
from plugins.plugin_utils import removal

FOUND: dict[str, Any] = {
    "is_backing_up": False,
    "servers": [],
    "containers": ["a-hub", "a-proxy"],
    "networks": [],
    "images": [f"a/hub:{number}" for number in range(12)],
    "untagged": ["sha256:0123456789abcdef"],
    "volumes": ["a-hub", "a-user-ada"],
    "volumes_in_use": [],
    "adopted": [],
    "units": ["a-fence.service"],
    "tables": ["inet a_fence"],
    "slices": [],
    "groups": [],
    "files": [],
    "data": ["/srv/a/hub"],
    "root_is": "",
    "other_hubs": [],
    "shared": {"files": [], "rules": [], "repository": [], "engine_files": ["/run/docker"]},
    "engine": "removed",
    "engine_users": [],
    "data_root": "/var/lib/docker",
    "packages": ["docker.io"],
    "packages_beside": [],
    "packages_kept": {},
    "packages_unrecorded": [],
    "delete_data": False,
    "stop_servers": False,
    "check": False,
}


def message(**more: Any) -> str:
    return removal.message({**FOUND, **more}, "a", "/srv/a", [])


def test_what_is_removed_and_what_stays() -> None:
    assert message().splitlines() == [
        "Removing the Hub a:",
        "  containers (2): a-hub, a-proxy",
        f"  images (13): {', '.join(f'a/hub:{number}' for number in range(8))} and 5 more",
        "  fence and ceiling (2): a-fence.service, inet a_fence",
        "  packages (1): docker.io",
        "  shared files (1): /run/docker",
        "Stays:",
        "  users' files, the Hub's state, audit trail, secrets and certificates (2 volumes, /srv/a): the next"
        " deployment finds them. DELETE_DATA=a deletes them for good",
    ]


def test_data_are_named_before_they_are_deleted() -> None:
    said = message(delete_data=True, check=True)
    assert said.startswith("Would remove the Hub a:")
    assert "data, for good (3): volume a-hub, volume a-user-ada, /srv/a/hub" in said
    assert "the engine (1): /var/lib/docker" in said
    assert "Stays" not in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"other_hubs": ["b"], "shared": {}}, "what it shares with other Hubs on this machine (b)"),
        (
            {"engine": "kept", "engine_users": ["volume x"]},
            "the engine and its packages, since it has something else: volume x",
        ),
        ({"engine": "given-back"}, "the engine, which no recorded run installed"),
        ({"engine": "given-back", "packages_unrecorded": ["docker.io"]}, "apt-get remove docker.io. Do not purge"),
        ({"packages_kept": {"lib": "needed by x"}}, "packages: lib (needed by x)"),
        ({"adopted": ["jhub-user-ann"]}, "volumes without a label of this Hub, which its servers used: jhub-user-ann"),
    ],
)
def test_what_stays_is_explained(more: dict[str, Any], said: str) -> None:
    assert said in message(**more)


def test_nothing_is_left() -> None:
    empty: dict[str, list[str]] = {name: [] for name, value in FOUND.items() if isinstance(value, list)}
    assert message(**empty, shared={}) == "There is nothing left to remove of the Hub a."


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"servers": ["ada"]}, "1 server is running, of ada: "),
        ({"servers": ["ada", "ada", "bob"]}, "3 servers are running, of ada, bob: "),
        ({"engine": "silent"}, "does not answer"),
        ({"is_backing_up": True}, "A backup or a restore of a is running"),
        ({"packages_beside": ["theirs"]}, "apt would change others as well: theirs. Fix: "),
        ({"root_is": "www"}, "/srv/a belongs to something else: it contains www. Fix: correct jupyterhub_root."),
        ({"delete_data": True, "volumes_in_use": ["a-user-ada"]}, "Containers of something else use volumes of a"),
    ],
)
def test_what_is_refused(more: dict[str, Any], said: str) -> None:
    [problem] = removal.problems({**FOUND, **more}, "a", "/srv/a")
    assert said in problem
    assert "Fix: " in problem


def test_what_is_not_refused() -> None:
    for more in ({}, {"servers": ["ada"], "stop_servers": True}, {"volumes_in_use": ["a-user-ada"]}):
        assert removal.problems({**FOUND, **more}, "a", "/srv/a") == []


@pytest.mark.parametrize(
    ("name", "root", "typed", "said"),
    [
        ("a", "/srv/a", "", ""),
        ("a", "/srv/a", "a", ""),
        ("a", "/srv/a", "A", "DELETE_DATA=A: this Hub is called a. Fix: "),
        ("a", "/srv/a", "a ", "DELETE_DATA=a : this Hub is called a."),
        ("", "/srv/", "", "jupyterhub_name: is not a valid prefix"),
        ("a b", "/srv/a", "", "jupyterhub_name: is not a valid prefix"),
        ("a", "/srv", "", "jupyterhub_root: is not a dedicated folder"),
        ("a", "/srv/../etc", "", "jupyterhub_root: is not a dedicated folder"),
    ],
)
def test_names_are_checked_before_anything_else(name: str, root: str, typed: str, said: str) -> None:
    found = removal.misnamed(name, root, typed)
    assert found.startswith(said)
    assert found.endswith("Nothing was changed.") == bool(said)


def test_rules_of_others_are_named() -> None:
    rules = ["iptables -A DOCKER-USER -i eth1 -j DROP"]
    assert f"DOCKER-USER (1): {rules[0]}" in message(shared={**FOUND["shared"], "rules": rules})


FORWARD = "table ip filter {{\n\tchain FORWARD {{\n\t\ttype filter hook forward priority filter; policy {}\n\t}}\n}}\n"


@pytest.mark.parametrize(
    ("table", "is_empty"),
    [
        ("table ip nat {\n}\n", True),
        (FORWARD.format("accept;"), True),
        (FORWARD.format("drop;"), False),
        (FORWARD.format("accept;\n\t\tcounter drop"), False),
        ("table ip filter {\n\tchain X {\n\t}\n}\n", False),
    ],
)
def test_tables_without_a_rule(table: str, is_empty: bool) -> None:
    assert bool(EMPTY.fullmatch(table)) == is_empty
