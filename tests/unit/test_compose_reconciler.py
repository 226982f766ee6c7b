"""The Hub as a Compose application: what it makes and keeps around it, against a stand-in for Docker."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from docker.errors import APIError, NotFound
from jupyterhub_ansible.compose import entrypoint, fence, fence_proof, images, networks, reconciler
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.engine.labels import not_inherited
from jupyterhub_ansible.rules import probe, users_network
from jupyterhub_ansible.rules.ranges import wrong_users_subnet
from jupyterhub_ansible.settings import environment_variables
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.spawner import fence_check
from jupyterhub_ansible.spawner.failures import ServerError
from jupyterhub_ansible.spawner.limits import cgroup_parent
from project import ROLES

from plugins.modules import fence_proof as role_s_proof

PLAN = users_network.plan("10.213.0.0/20")
LOG = logging.getLogger("compose")
HUB_IMAGE = {
    "jupyterhub-ansible.kind": "hub",
    "com.docker.compose.project": "hub",
    "com.docker.compose.service": "hub",
}


def refused(status: int, words: str) -> APIError:
    return APIError(words, response=Mock(status_code=status), explanation=words)


def image(number: int, *, slug: str = "base", content_hash: str = "a", tagged: int = 0) -> dict[str, Any]:
    labels = {
        "jupyterhub-ansible.project": "hub",
        "jupyterhub-ansible.kind": "environment",
        images.ENVIRONMENT: slug,
        images.HASH: content_hash,
    }
    return {
        "Id": f"sha256:{number}",
        "Created": f"2026-11-23T14:00:{number:02}Z",
        "Metadata": {"LastTagTime": f"2026-11-23T15:00:{tagged:02}Z"},
        "Config": {"Labels": labels},
        "RepoTags": [f"uuid_env-{slug}:{number}"],
    }


class Engine:
    """The calls of docker.APIClient that are made here, with Docker's answers."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}
        self.stored: list[dict[str, Any]] = []
        self.tags: dict[str, str] = {}
        self.present: dict[str, dict[str, Any]] = {}
        self.said = b"in force\n"
        self.said_to: dict[str, bytes] = {}
        self.no_mounts = False
        self.refuses: APIError | None = None
        self.silent: APIError | None = None
        self.calls: list[str] = []

    # images

    def images(self, name: str | None = None, filters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        if name:
            return [each for each in self.stored if self.tags.get(name) == each["Id"]]
        wanted = [label.partition("=") for label in (filters or {})["label"]]
        return [
            each
            for each in self.stored
            if all(
                each["Config"]["Labels"].get(key) == value if equals else key in each["Config"]["Labels"]
                for key, equals, value in wanted
            )
        ]

    def inspect_image(self, image: str) -> dict[str, Any]:
        if image == "sha256:hub":
            return {"Id": image, "Config": {"Labels": HUB_IMAGE}}
        [found] = [each for each in self.stored if each["Id"] == image]
        return found

    def remove_image(self, name: str) -> None:
        self.calls.append(f"rmi {name}")
        if self.refuses:
            raise self.refuses
        self.stored = [each for each in self.stored if {each["Id"], *each["RepoTags"]}.isdisjoint({name})]

    def tag(self, image: str, repository: str, tag: str, *, force: bool) -> None:
        self.tags[f"{repository}:{tag}"] = image

    # networks

    def networks(self, names: list[str]) -> list[dict[str, Any]]:
        # Docker finds parts of names, too.
        return [each for each in self.made.values() if names[0] in each["Name"]]

    def create_network(self, name: str, **options: Any) -> None:
        if self.refuses:
            raise self.refuses
        pools = (options.get("ipam") or {"Config": [{"Subnet": "172.20.0.0/16"}]})["Config"]
        self.made[name] = {
            "Name": name,
            "Id": f"id-{name}",
            "Options": options.get("options"),
            "IPAM": {"Config": pools},
        }

    def inspect_network(self, name: str) -> dict[str, Any]:
        return self.made[name]

    def connect_container_to_network(self, container: str, network: str, **options: Any) -> None:
        if self.refuses:
            raise self.refuses
        self.calls.append(f"connect {container} {network} {options['ipv4_address']} {options['aliases']}")
        self.of(container)["NetworkSettings"]["Networks"][network] = {
            "NetworkID": self.made[network]["Id"],
            "IPAddress": options["ipv4_address"] or "172.20.0.9",
        }

    def restart(self, container: str, timeout: int) -> None:
        self.calls.append(f"restart {container}")

    def disconnect_container_from_network(self, container: str, network: str, *, force: bool) -> None:
        self.calls.append(f"disconnect {container} {network}")
        del self.of(container)["NetworkSettings"]["Networks"][network]

    # containers

    def add(self, name: str, *, kind: str = "", env: tuple[str, ...] = (), created: int = 1, **labels: str) -> None:
        self.present[name] = {
            "Id": name,
            "Name": f"/{name}",
            "Image": "sha256:hub",
            "Created": created,
            "State": {"Running": True},
            "Config": {"Env": list(env), "Labels": {"jupyterhub-ansible.kind": kind, **labels}},
            "NetworkSettings": {"Networks": {}},
        }

    def of(self, name: str) -> dict[str, Any]:
        if name not in self.present:
            raise NotFound("no such container", response=Mock(status_code=404))
        return self.present[name]

    inspect_container = of

    def containers(self, filters: dict[str, Any] | None = None, **options: Any) -> list[dict[str, Any]]:
        if filters is None:
            assert options == {"all": True}, "one that is stopped has its image, too"
            return [{"Id": each["Id"], "ImageID": each["Image"]} for each in self.present.values()]
        kind = [label.partition("=")[2] for label in filters["label"] if ".kind=" in label]
        found = [each for each in self.present.values() if each["Config"]["Labels"]["jupyterhub-ansible.kind"] in kind]
        return [{"Id": each["Id"], "Created": each["Created"]} for each in found]

    def create_host_config(self, **options: Any) -> dict[str, Any]:
        return options

    def create_container(self, image: str, **options: Any) -> dict[str, str]:
        if self.no_mounts and options["host_config"]["mounts"]:
            raise refused(400, "bind source path does not exist: /run/systemd/resolve")
        self.add(options["name"])
        self.of(options["name"])["Config"]["Labels"] = options["labels"]
        self.of(options["name"])["options"] = options
        return {"Id": options["name"]}

    def start(self, name: str) -> None:
        self.calls.append(f"start {name}")

    def remove_container(self, name: str, **_: Any) -> None:
        self.calls.append(f"remove {name}")
        del self.present[name]

    def exec_create(self, name: str, command: list[str]) -> dict[str, str]:
        if self.silent:
            raise self.silent
        self.of(name)
        if command[1] not in ("rules", "lacks"):
            self.calls.append(f"fence {command[1]}")
        return {"Id": command[1]}

    def exec_start(self, call: str) -> bytes:
        return self.said_to.get(call, {"rules": self.said, "lacks": b""}.get(call, b"loaded\n"))

    def exec_inspect(self, call: str) -> dict[str, int]:
        return {"ExitCode": 0}

    def info(self) -> dict[str, Any]:
        return {"MemTotal": 1, "CgroupDriver": "cgroupfs"}


@pytest.fixture
def engine() -> Engine:
    return Engine()


# --- addresses and names


@pytest.mark.parametrize("subnet", ["10.213.0.0/20", "192.168.7.0/24", "172.16.0.0/16"])
def test_what_can_be_the_users_network(subnet: str) -> None:
    assert wrong_users_subnet(subnet) is None


@pytest.mark.parametrize(
    "subnet", ["8.8.0.0/20", "127.0.0.0/8", "10.0.0.0/8", "10.213.0.0/25", "10.213.0.1/20", "no network"]
)
def test_what_cannot_be_the_users_network(subnet: str) -> None:
    assert wrong_users_subnet(subnet)


def test_another_name_is_that_of_networks_and_images_too() -> None:
    settings = json.loads(json.dumps(EXAMPLE))
    settings["images_environments"][0]["image"] = "example/env-base:built"
    settings["images_environments"].append(
        {**settings["images_environments"][0], "slug": "mine", "image": "registry.example.org/x:1"}
    )
    found = environment_variables.overlaid(settings, {"JUPYTERHUB_NAME": "second"})
    assert (found["jupyterhub_name"], found["deployment"]["users_network"]) == ("second", "second-users")
    assert [each["image"] for each in found["images_environments"]] == [
        "second/env-base:built",
        "registry.example.org/x:1",
    ]


# --- the entrypoint


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> entrypoint.Places:
    monkeypatch.setattr(entrypoint, "HUB_UID", os.getuid())
    monkeypatch.setattr(entrypoint, "PROXY_UID", os.getuid())
    made = entrypoint.Places(tmp_path / "docker.sock", tmp_path / "state", tmp_path / "proxy")
    made.socket.touch()
    made.state.mkdir()
    made.proxy.mkdir()
    return made


def test_secrets_are_made_once(places: entrypoint.Places) -> None:
    assert entrypoint.prepared(places, {}) == places.socket.stat().st_gid
    made = {path.name: path.read_text() for path in places.secrets.iterdir()}
    assert set(made) == {"cookie_secret", "crypt_key", "proxy_token"}
    assert {len(text) for text in made.values()} == {64}
    assert {path.stat().st_mode & 0o777 for path in places.secrets.iterdir()} == {0o600}
    assert places.secrets.stat().st_mode & 0o777 == 0o700
    assert (places.proxy / "token").read_text() == made["proxy_token"]
    entrypoint.prepared(places, {})
    assert {path.name: path.read_text() for path in places.secrets.iterdir()} == made


def test_a_token_that_is_given_is_the_proxy_s(places: entrypoint.Places) -> None:
    mark = places.state / entrypoint.NEW_TOKEN
    for _ in range(2):
        entrypoint.prepared(places, {"CONFIGPROXY_AUTH_TOKEN": "t" * 40})
        assert (places.proxy / "token").read_text() == "t" * 40
        assert not (places.secrets / "proxy_token").exists()
        assert not mark.exists()
    # The proxy that runs has to be told of another.
    entrypoint.prepared(places, {"CONFIGPROXY_AUTH_TOKEN": "u" * 40})
    assert mark.exists()


def test_without_a_socket_it_says_what_to_mount(places: entrypoint.Places) -> None:
    places.socket.unlink()
    with pytest.raises(ComposeError, match=r"Docker's socket is not at .*: No such file"):
        entrypoint.prepared(places, {})


# --- images


def test_an_image_that_was_built_anew_from_a_cache_is_the_last(engine: Engine) -> None:
    engine.stored = [image(1, tagged=9), image(2, tagged=8)]
    images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}


def test_what_somebody_built_on_top_is_not_the_last(engine: Engine) -> None:
    engine.stored = [image(1), {**image(2), "RepoTags": ["mine:1"]}]
    images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    # One that lost its names, or has one more, may be it.
    for names in ([], ["golden:1", "hub-env-base:latest"]):
        engine.stored[1]["RepoTags"] = names
        images.Images(engine, "hub", {}, LOG).tag(["hub/env-base:built"])
        assert engine.tags == {"hub/env-base:built": "sha256:2"}
        engine.tags.clear()


def test_the_last_image_of_an_environment_gets_its_name(engine: Engine) -> None:
    engine.stored = [image(1), image(3, slug="datascience"), image(2)]
    found = images.Images(engine, "hub", {}, LOG)
    assert found.tag(["hub/env-base:built", "hub/env-gone:built", "quay.io/x:1"]) == ["hub/env-gone:built"]
    assert engine.tags == {"hub/env-base:built": "sha256:2"}


def test_after_a_return_to_an_older_commit_its_own_image_is_taken(engine: Engine) -> None:
    engine.stored = [image(1, content_hash="old"), image(2, content_hash="new")]
    images.Images(engine, "hub", {"base": "old"}, LOG).tag(["hub/env-base:built"])
    assert engine.tags == {"hub/env-base:built": "sha256:1"}


def test_an_image_of_another_hub_is_not_ours(engine: Engine) -> None:
    engine.stored = [image(1)]
    assert images.Images(engine, "other", {}, LOG).tag(["other/env-base:built"])
    assert not engine.tags


def removed(engine: Engine, *catalogue: str) -> list[str]:
    before = {each["Id"] for each in engine.stored}
    images.Images(engine, "hub", {}, LOG).remove_old(catalogue)
    return sorted(before - {each["Id"] for each in engine.stored})


def test_of_each_environment_the_last_two_images_stay(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.stored += [image(number, slug="datascience") for number in (5, 6)]
    # One that was returned to is the last, as it was named again.
    engine.stored += [image(9, slug="gone", tagged=9), image(8, slug="gone"), image(7, slug="gone")]
    assert removed(engine) == ["sha256:1", "sha256:2", "sha256:7"]
    assert removed(engine) == []


def test_an_old_image_is_removed_by_all_its_names_or_by_its_id(engine: Engine) -> None:
    named = {**image(1), "RepoTags": ["uuid_env-base:1", "uuid_env-base:2", "hub-env-base:latest"]}
    engine.stored = [named, {**image(2), "RepoTags": []}, image(3), image(4)]
    removed(engine)
    assert engine.calls == ["rmi sha256:2", "rmi uuid_env-base:1", "rmi uuid_env-base:2", "rmi hub-env-base:latest"]


def test_an_old_image_that_somebody_uses_stays(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.add("a-server-of-yesterday")
    engine.of("a-server-of-yesterday")["Image"] = "sha256:1"
    assert removed(engine, "uuid_env-base:2") == []


@pytest.mark.parametrize("name", ["mine:1", "registry.example.org/my-env-base:1", "hub/env-base:golden"])
def test_what_somebody_built_on_top_or_named_stays_and_counts_for_nothing(engine: Engine, name: str) -> None:
    engine.stored = [{**image(1), "RepoTags": [name]}, image(2), image(3)]
    engine.stored += [{**image(number), "RepoTags": [f"mine:{number}"]} for number in (4, 5)]
    assert removed(engine) == []


def test_an_image_of_another_hub_or_kind_is_not_removed(engine: Engine) -> None:
    engine.stored = [image(number) for number in (1, 2, 3)]
    engine.stored[0]["Config"]["Labels"]["jupyterhub-ansible.project"] = "other"
    assert removed(engine) == []
    engine.stored = [image(number) for number in (1, 2, 3)]
    engine.stored[0]["Config"]["Labels"]["jupyterhub-ansible.kind"] = "hub"
    assert removed(engine) == []


def test_an_old_image_that_cannot_be_removed_is_told(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.stored = [image(number) for number in (1, 2, 3, 4)]
    engine.refuses = refused(409, "image is being used by stopped container 123")
    assert removed(engine) == []
    assert engine.calls == ["rmi uuid_env-base:2", "rmi uuid_env-base:1"], "the next one is tried, too"
    assert "The old image sha256:1 cannot be removed" in caplog.text


@pytest.mark.parametrize("name", ["hub/env-base", "hub/env-base:1", "other/env-base:built", "base:built"])
def test_names_that_are_no_environment_s(name: str) -> None:
    assert images.slug_of("hub", name) is None
    assert images.slug_of("hub", images.reference("hub", "base")) == "base"


# --- networks


@pytest.fixture
def both(engine: Engine) -> networks.Networks:
    made = networks.Networks(engine, "hub", PLAN)
    made.make()
    return made


def attach(both: networks.Networks, engine: Engine, name: str) -> bool:
    return both.attach(engine.of(name), api="proxy-api", alias="proxy", address=PLAN.proxy)


def test_networks_are_made_once_and_are_those_of_the_role(engine: Engine, both: networks.Networks) -> None:
    users = engine.made["hub-users"]
    assert users["Options"] == {"com.docker.network.bridge.name": "br-hub"}
    assert users["IPAM"]["Config"] == [
        {"Subnet": PLAN.subnet, "Gateway": PLAN.gateway, "IPRange": PLAN.range, "AuxiliaryAddresses": None}
    ]
    engine.refuses = refused(409, "exists")
    both.make()
    assert set(engine.made) == {"hub-users", "hub-control"}


def test_another_subnet_than_before_is_told_with_its_fix(engine: Engine, both: networks.Networks) -> None:
    other = networks.Networks(engine, "hub", users_network.plan("10.214.0.0/20"))
    with pytest.raises(
        ComposeError, match=r"has the subnet 10\.213\.0\.0/20, and should .* docker network rm hub-users"
    ):
        other.make()


def test_a_subnet_that_is_taken_is_told(engine: Engine) -> None:
    engine.refuses = refused(403, "Pool overlaps with other one on this address space")
    with pytest.raises(ComposeError, match=r"Pool overlaps .*JUPYTERHUB_USERS_SUBNET"):
        networks.Networks(engine, "hub", PLAN).make()


def test_a_container_is_attached_where_it_is_not(engine: Engine, both: networks.Networks) -> None:
    engine.add("p")
    assert attach(both, engine, "p")
    assert engine.calls == [
        f"connect p hub-users {PLAN.proxy} ['proxy']",
        "connect p hub-control None ['proxy-api']",
    ]
    assert not attach(both, engine, "p")
    # Removed and made anew by somebody, under the same name.
    engine.made["hub-users"]["Id"] = "new"
    engine.calls.clear()
    assert attach(both, engine, "p")
    assert engine.calls == ["disconnect p hub-users", f"connect p hub-users {PLAN.proxy} ['proxy']"]


def test_an_address_that_is_held_is_told(engine: Engine, both: networks.Networks) -> None:
    engine.add("p")
    engine.refuses = refused(403, "Address already in use")
    with pytest.raises(ComposeError, match="p cannot be attached to hub-users: Address already in use"):
        attach(both, engine, "p")


def test_the_proxy_is_the_one_that_has_the_address_or_else_the_newest_of_this_hub(
    engine: Engine, both: networks.Networks
) -> None:
    address = "10.213.0.3"
    assert both.proxy(address) is None
    engine.add("old", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",), created=1)
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",), created=2)
    engine.add("another-hub-s", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub-2",), created=3)
    found = both.proxy(address)
    assert found
    assert found["Id"] == "new"
    both.make()
    both.attach(engine.of("old"), api="proxy-api", alias="proxy", address=address)
    found = both.proxy(address)
    assert found
    assert found["Id"] == "old"


# --- the fence


@pytest.fixture
def raised(engine: Engine) -> fence.Fence:
    return fence.Fence(engine, "a-hub", PLAN, 512, "sha256:hub")


@pytest.mark.parametrize(
    ("driver", "project", "expected"),
    [
        ("cgroupfs", "hub", "hub-users"),
        ("systemd", "hub", "hub.slice/hub-users.slice"),
        ("systemd", "a-hub", "a.slice/a-hub.slice/a-hub-users.slice"),
    ],
)
def test_the_ceiling_is_where_the_spawner_starts_servers(driver: str, project: str, expected: str) -> None:
    assert fence.group(project, driver) == expected
    assert expected.endswith(cgroup_parent(project, driver).lstrip("/"))


@pytest.mark.parametrize("number", [0, 1])
def test_the_scripts_have_the_settings_that_the_role_gives_them(raised: fence.Fence, number: int) -> None:
    tasks = yaml.safe_load((ROLES / "network/tasks/watched.yml").read_text())
    given = tasks[number]["local.jupyterhub.settled"]["arguments"]["settings"]
    assert {line.partition("=")[0] for line in raised.settings[number].splitlines()} == given.keys()


def test_the_settings_of_the_scripts(raised: fence.Fence) -> None:
    assert [text.splitlines() for text in raised.settings] == [
        [
            "name=a-hub",
            "bridge=br-a-hub",
            "table=a_hub_fence",
            f"subnet={PLAN.subnet}",
            f"hub={PLAN.hub}",
            f"proxy={PLAN.proxy}",
        ],
        ["name=a-hub", "reserve_mb=512", "group=a-hub-users"],
    ]


def test_the_helper_is_made_once_and_anew_when_it_is_to_be_another(engine: Engine, raised: fence.Fence) -> None:
    raised.keep()
    raised.keep()
    assert engine.calls == ["start a-hub-fence"]
    host = engine.of("a-hub-fence")["options"]["host_config"]
    assert host["network_mode"] == "host"
    assert host["cap_drop"] == ["ALL"]
    assert host["restart_policy"] == {"Name": "unless-stopped"}, "it is back after a reboot"
    fence.Fence(engine, "a-hub", PLAN, 1024, "sha256:hub").keep()
    assert engine.calls == ["start a-hub-fence", "remove a-hub-fence", "start a-hub-fence"]


def test_a_helper_that_ended_is_made_anew(engine: Engine, raised: fence.Fence) -> None:
    raised.keep()
    engine.of("a-hub-fence")["State"]["Running"] = False
    raised.keep()
    assert engine.calls[1:] == ["remove a-hub-fence", "start a-hub-fence"]


def test_a_stranger_s_container_is_left_alone(engine: Engine, raised: fence.Fence) -> None:
    engine.add("a-hub-fence")
    with pytest.raises(ComposeError, match="A container of somebody else is called a-hub-fence"):
        raised.keep()


@pytest.mark.parametrize(
    ("said", "expected"), [(b"in force\n2026\n", "in force\n2026"), (b"not in force\n", ""), (b"", "")]
)
def test_the_helper_is_asked(engine: Engine, raised: fence.Fence, said: bytes, expected: str) -> None:
    assert not raised.in_force(), "there is none"
    raised.keep()
    engine.said = said
    assert raised.in_force() == expected


def test_the_helper_sees_the_resolvers_behind_a_stub_where_there_are_any(engine: Engine, raised: fence.Fence) -> None:
    raised.keep()
    [mount] = engine.of("a-hub-fence")["options"]["host_config"]["mounts"]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("/run/systemd/resolve", "/host/resolve", True)
    del engine.present["a-hub-fence"]
    engine.no_mounts = True
    raised.keep()
    assert engine.of("a-hub-fence")["options"]["host_config"]["mounts"] == []


def test_the_helper_watches(tmp_path: Path) -> None:
    """It runs the image's two scripts, with the settings that it is given."""
    there, run = tmp_path / "image", tmp_path / "run"
    for folder in (there, run):
        folder.mkdir()
    for name in ("fence", "ceiling"):
        (there / name).write_text('#!/bin/sh\n. "$0.conf"; echo "$0 $1 $what"\n')
        (there / name).chmod(0o755)
    keep = fence.KEEP.replace("/usr/local/share/jupyterhub", str(there)).replace("/run", str(run))
    command = ["sh", "-ec", keep.replace("watch &", "watch"), "keep-fence", "what=rules\n", "what=memory\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{run}/ceiling watch memory", f"{run}/fence watch rules"]


# --- the proof


def test_what_is_open_and_what_is_closed() -> None:
    ways = {"the Hub": "hub:8081"}
    fence_proof.insist({"the Hub": True, "another server": False}, ways)
    with pytest.raises(ComposeError, match="from a user's server another server is open, the Hub is closed"):
        fence_proof.insist({"the Hub": False, "another server": True}, ways)


def test_who_refuses_was_reached_and_who_is_silent_was_not() -> None:
    """And for a way that must be closed, to a listener, it was a firewall that refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as closed:
            refusing = closed.getsockname()[1]
        ways = {"listens": f"127.0.0.1:{port}", "refuses": f"127.0.0.1:{refusing}", "nobody": "nobody.invalid:9"}
        ways["rejected"] = ways["refuses"]
        tried = json.dumps([ways, ["refuses", "nobody"]])
        done = subprocess.run(["python3", "-c", probe.TRY, tried], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"listens": True, "refuses": True, "nobody": False, "rejected": False}


def test_the_role_tells_the_hub_by_the_same_file() -> None:
    assert str(fence_check.CLOSED) == role_s_proof.CLOSED


@pytest.mark.parametrize(("code", "expected"), [(0, True), (3, True), (2, False), (5, False)])
def test_that_a_name_is_unknown_is_an_answer(tmp_path: Path, code: int, expected: bool) -> None:
    """And that a resolver failed is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))

        def answer() -> None:
            asked, client = resolver.recvfrom(512)
            resolver.sendto(asked[:2] + bytes([0x81, 0x80 | code]) + asked[4:], client)

        thread = threading.Thread(target=answer)
        thread.start()
        (tmp_path / "resolv.conf").write_text("search example.org\nnameserver 127.0.0.1\n")
        code_of_it = probe.TRY.replace("/etc/resolv.conf", str(tmp_path / "resolv.conf")).replace(
            "(server, 53)", f"(server, {resolver.getsockname()[1]})"
        )
        ways = json.dumps([{probe.NAMES: probe.NAMES}, []])
        done = subprocess.run(["python3", "-c", code_of_it, ways], capture_output=True, text=True, check=True)
        thread.join(timeout=10)
    assert json.loads(done.stdout) == {probe.NAMES: expected}


# --- all of it


@pytest.fixture
def prober() -> Any:
    found = {"the Hub": True, "the proxy's public port": True, "another server": False, probe.NAMES: True}
    looks_up = Mock(return_value=True)
    return SimpleNamespace(remove_leftovers=Mock(), reached=Mock(return_value=found), machine_looks_names_up=looks_up)


@pytest.fixture
def kept(
    engine: Engine, raised: fence.Fence, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> reconciler.Keeper:
    monkeypatch.setattr(reconciler, "own_id", lambda: "me")
    monkeypatch.setattr(reconciler, "ABLE", tmp_path / "able")
    monkeypatch.setattr(reconciler, "STAMP", tmp_path / "stamp")
    monkeypatch.setattr(reconciler, "NEW_TOKEN", tmp_path / "new-proxy-token")
    monkeypatch.setattr(reconciler, "PATIENCE_S", 0)
    monkeypatch.setattr(reconciler, "PAUSE_S", 0)
    monkeypatch.setattr(fence_check, "CLOSED", tmp_path / "closed")
    engine.add("me", kind="compose-hub")
    engine.add("p", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    engine.stored = [image(1)]
    settings = json.loads(json.dumps(EXAMPLE))
    settings |= {"jupyterhub_name": "hub", "compose": {}}
    settings["deployment"]["users_network"] = "hub-users"
    settings["images_environments"][0]["image"] = "hub/env-base:built"
    made = reconciler.Keeper(Settings.model_validate_json(json.dumps(settings)), LOG, engine)
    made.prober = prober
    return made


def test_a_proxy_that_runs_with_another_token_is_restarted_once(
    engine: Engine, kept: reconciler.Keeper, tmp_path: Path
) -> None:
    (tmp_path / "new-proxy-token").touch()
    kept.prepare()
    kept.prepare()
    assert [call for call in engine.calls if call.startswith("restart")] == ["restart p"]


def test_everything_is_made_and_proved_before_the_hub_starts(
    engine: Engine, kept: reconciler.Keeper, prober: Any, tmp_path: Path
) -> None:
    kept.prepare()
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    assert [call for call in engine.calls if call.startswith("connect")] == [
        f"connect me hub-users {PLAN.hub} ['hub']",
        "connect me hub-control None ['hub']",
        f"connect p hub-users {PLAN.proxy} ['proxy']",
        "connect p hub-control None ['proxy-api']",
    ]
    assert (tmp_path / "able").exists()
    [(_, gateway, _, closed, _)] = [call.args for call in prober.reached.call_args_list]
    assert gateway == PLAN.gateway
    assert closed["the proxy's API on the control network"] == "172.20.0.9:8001"


def test_limits_of_the_kernel_that_nobody_raised(
    kept: reconciler.Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """From inside a container they can only be reported."""
    lines: list[str] = []
    monkeypatch.setattr("jupyterhub_ansible.engine.kernel_limits.low", lambda: lines)
    kept.prepare()
    assert "sysctl" not in caplog.text
    lines.append("kernel.pty.max = 1048576")
    kept.prepare()
    assert "run sysctl --system: kernel.pty.max = 1048576" in caplog.text


def test_a_proof_is_not_repeated_for_the_same_containers(kept: reconciler.Keeper, prober: Any, engine: Engine) -> None:
    kept.prepare()
    kept.prepare()
    assert prober.reached.call_count == 1
    engine.of("p")["Id"] = "q"
    engine.present["q"] = engine.of("p")
    kept.prepare()
    assert prober.reached.call_count == 2


def test_rules_that_were_loaded_again_are_proved_again(kept: reconciler.Keeper, prober: Any, engine: Engine) -> None:
    kept.prepare()
    kept.look()
    assert prober.reached.call_count == 1
    engine.said = b"in force\nlater\n"
    kept.look()
    kept.look()
    assert prober.reached.call_count == 2


def test_rules_that_were_loaded_while_they_were_tried_are_tried_again(
    engine: Engine, kept: reconciler.Keeper, prober: Any, tmp_path: Path
) -> None:
    good = prober.reached.return_value

    def load(*_: Any) -> dict[str, bool]:
        engine.said = b"in force\nlater\n"
        return dict(good)

    prober.reached.side_effect = load
    kept.prepare()
    assert not (tmp_path / "stamp").exists()
    kept.look()
    assert (tmp_path / "stamp").exists()
    assert prober.reached.call_count == 2


def test_what_is_open_three_times_in_a_row_is_closed(
    engine: Engine, kept: reconciler.Keeper, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the Hub stays: with one that ended, Docker would open it again and again, and nobody's server be reached."""
    monkeypatch.setattr(reconciler, "_TRUSTED_S", 0)
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    kept.prepare()
    assert prober.reached.call_count == 3
    assert [call for call in engine.calls if call.startswith("fence")] == ["fence open", "fence shut"]
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()
    with pytest.raises(ServerError, match=r"another server could be reached.*docker compose restart hub") as error:
        kept.before_start("hub/env-base:built")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    # It is opened to see whether it is mended at a start, and then once.
    kept.look()
    assert prober.reached.call_count == 3
    kept.prepare()
    assert prober.reached.call_count == 4
    assert engine.calls[-1] == "fence shut"
    prober.reached.side_effect = ComposeError("The fence could not be tried")
    kept.prepare()
    assert engine.calls[-1] == "fence shut"
    assert not (tmp_path / "able").exists()
    prober.reached.side_effect = None
    prober.reached.return_value = good
    kept.prepare()
    kept.look()
    kept.before_start("hub/env-base:built")
    assert engine.calls[-1] == "fence open"
    assert (tmp_path / "able").exists()


def test_what_was_closed_is_tried_again_after_a_pause(
    engine: Engine, kept: reconciler.Keeper, prober: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = prober.reached.return_value
    prober.reached.return_value = {**good, "another server": True}
    kept.prepare()
    # Docker, which starts a Hub again that failed, has mended nothing.
    engine.of("me")["RestartCount"] = 1
    kept.prepare()
    assert engine.calls[-1] == "fence shut"
    del engine.present["hub-fence"]
    kept.look()
    assert engine.calls[-2:] == ["start hub-fence", "fence shut"], "a helper that was made again opens it"
    assert prober.reached.call_count == 3
    assert not (tmp_path / "able").exists()
    monkeypatch.setattr(reconciler, "RETRY_S", 0)
    kept.prepare()
    assert prober.reached.call_count == 4
    prober.reached.return_value = good
    kept.look()
    assert prober.reached.call_count == 5
    assert (tmp_path / "able").exists()
    kept.before_start("hub/env-base:built")


@pytest.mark.parametrize("said", [b"", b"fence: not found\n"])
def test_a_fence_that_does_not_shut_is_reported_and_no_server_starts(
    engine: Engine, kept: reconciler.Keeper, prober: Any, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {"another server": True}
    engine.said_to["shut"] = said
    kept.prepare()
    assert "The fence does not shut; why: docker logs hub-fence" in caplog.text
    with pytest.raises(ServerError, match="another server could be reached"):
        kept.before_start("hub/env-base:built")


def test_a_fence_that_does_not_open_is_not_proved(engine: Engine, kept: reconciler.Keeper, prober: Any) -> None:
    engine.said_to["open"] = b""
    with pytest.raises(ComposeError, match="The fence does not open"):
        kept.prepare()
    assert prober.reached.call_count == 0


def test_what_was_closed_is_closed_again_whatever_fails(
    engine: Engine, kept: reconciler.Keeper, prober: Any, tmp_path: Path
) -> None:
    (tmp_path / "closed").write_text("another server could be reached\n")
    prober.reached.side_effect = KeyError("IPAddress")
    with pytest.raises(KeyError):
        kept.prepare()
    assert engine.calls[-1] == "fence shut"


def test_what_was_open_once_was_an_accident(
    engine: Engine, kept: reconciler.Keeper, prober: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a firewall that was reloaded, which takes some seconds."""
    pauses: list[int] = []
    monkeypatch.setattr(reconciler, "PAUSE_S", 7)
    monkeypatch.setattr("time.sleep", pauses.append)
    good = prober.reached.return_value
    prober.reached.side_effect = [{**good, "another server": True}, {**good, "another server": True}, good]
    kept.prepare()
    assert "fence shut" not in engine.calls
    assert pauses == [0, 7, 7]


def test_without_proof_the_hub_does_not_start(kept: reconciler.Keeper, prober: Any, tmp_path: Path) -> None:
    prober.reached.return_value |= {"the Hub": False}
    with pytest.raises(ComposeError, match="the Hub is closed"):
        kept.prepare()
    assert not (tmp_path / "able").exists()
    assert not (tmp_path / "stamp").exists()


@pytest.mark.parametrize("machine", [True, False])
def test_names_that_nobody_looks_up_are_reported_only(
    kept: reconciler.Keeper, prober: Any, machine: bool, caplog: pytest.LogCaptureFixture
) -> None:
    prober.reached.return_value |= {probe.NAMES: False}
    prober.machine_looks_names_up.return_value = machine
    kept.prepare()
    assert ("no name is looked up" in caplog.text) is machine


def test_what_the_kernel_cannot_do_is_said(
    engine: Engine, kept: reconciler.Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    engine.said_to["lacks"] = b"this kernel cannot count\n"
    kept.prepare()
    assert "The fence: this kernel cannot count" in caplog.text


@pytest.mark.parametrize(("gone", "message"), [("p", "The proxy does not run"), ("fence", "is not in force")])
def test_without_proxy_or_fence_the_hub_does_not_start(
    engine: Engine, kept: reconciler.Keeper, gone: str, message: str
) -> None:
    if gone == "p":
        del engine.present["p"]
    else:
        engine.said = b"not in force"
    with pytest.raises(ComposeError, match=message):
        kept.prepare()


def test_a_new_proxy_is_attached_and_told_of(engine: Engine, kept: reconciler.Keeper) -> None:
    kept.prepare()
    assert kept.look() is False
    del engine.present["p"]
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    assert kept.look() is True
    assert kept.look() is False


def test_the_proxy_s_addresses_are_known_on_all_networks(engine: Engine, kept: reconciler.Keeper) -> None:
    kept.prepare()
    assert kept.proxy_addresses == {PLAN.proxy, "172.20.0.9"}
    del engine.present["p"]
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",))
    engine.of("new")["NetworkSettings"]["Networks"]["coolify"] = {"IPAddress": "10.0.1.7", "NetworkID": "c"}
    kept.look()
    assert kept.proxy_addresses == {PLAN.proxy, "172.20.0.9", "10.0.1.7"}


def test_health_tells_what_is_missing(
    engine: Engine, kept: reconciler.Keeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept.prepare()
    engine.said = b"not in force"
    kept.look()
    assert not (tmp_path / "able").exists()
    assert "is not in force; why: docker logs hub-fence" in caplog.text
    engine.said = b"in force"
    kept.look()
    assert (tmp_path / "able").exists()
    # As of a helper that is paused.
    engine.silent = refused(409, "Container hub-fence is paused, unpause the container before exec")
    kept.look()
    assert not (tmp_path / "able").exists()


def test_no_server_starts_without_the_fence(
    engine: Engine, kept: reconciler.Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "_TRUSTED_S", 0)
    kept.prepare()
    kept.before_start("hub/env-base:built")
    engine.said = b"not in force"
    with pytest.raises(ServerError) as error:
        kept.before_start("hub/env-base:built")
    assert error.value.jupyterhub_message.startswith("No server can be started just now: the network is not safe.")
    del engine.present["hub-fence"]
    engine.said = b"in force"
    with pytest.raises(ServerError, match="The fence is not in force"):
        kept.before_start("hub/env-base:built")


def test_an_image_that_lost_its_name_is_found_again(engine: Engine, kept: reconciler.Keeper) -> None:
    kept.prepare()
    engine.tags.clear()
    kept.before_start("hub/env-base:built")
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    engine.stored.clear()
    engine.tags.clear()
    with pytest.raises(ServerError, match="image hub/env-base:built is missing"):
        kept.before_start("hub/env-base:built")
    kept.before_start("registry.example.org/x:1")


def test_own_id_is_that_of_docker_s_folder(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 8:1 /docker/containers/{'a' * 64}/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n")
    assert reconciler.own_id(mounts) == "a" * 64
    mounts.write_text("1 2 8:1 / / rw - ext4 /dev/sda1 rw\n")
    with pytest.raises(ComposeError, match="The Hub runs in no container"):
        reconciler.own_id(mounts)


def test_the_helper_passes_for_no_service_of_compose(engine: Engine, raised: fence.Fence) -> None:
    raised.keep()
    assert engine.of("a-hub-fence")["options"]["labels"] == {
        "com.docker.compose.project": "",
        "com.docker.compose.service": "",
        "jupyterhub-ansible.project": "a-hub",
        "jupyterhub-ansible.kind": "fence",
        fence.CONFIG_HASH: raised.digest,
    }


def test_labels_that_a_container_must_not_have_of_its_image() -> None:
    label = {"traefik.enable": "true", "coolify.managed": "true", "jupyterhub-ansible.environment": "base"}
    assert not_inherited({"Config": {"Labels": label}}) == {"traefik.enable": "", "coolify.managed": "false"}
    for none in ({"Labels": None}, {}):
        assert not_inherited({"Config": none}) == {}


def test_a_hub_of_another_carrier_is_left_alone(engine: Engine, kept: reconciler.Keeper, prober: Any) -> None:
    """One that Ansible deployed, whose names even hold this one's."""
    theirs = {"jupyterhub-ansible.kind": "environment", images.HASH: "a", "coolify.managed": "true"}
    of_theirs = [
        {**image(number), "Config": {"Labels": theirs}, "RepoTags": [f"a-hub/env-base:{number}"]}
        for number in range(4, 9)
    ]
    engine.stored = [image(1), *of_theirs]
    for name in ("a-hub-users", "a-hub-control"):
        engine.create_network(name)
    for kind in ("hub", "proxy", "user-server"):
        engine.add(f"a-hub-{kind}", kind=kind, env=("JUPYTERHUB_NAME=hub",))
        engine.of(f"a-hub-{kind}")["Config"]["Labels"]["jupyterhub-ansible.project"] = "a-hub"
    before = {name: json.dumps(engine.of(name)) for name in engine.present if name.startswith("a-hub")}
    kept.prepare()
    kept.look()
    kept.remove_old_images()
    assert {name: json.dumps(engine.of(name)) for name in before} == before
    assert not [call for call in engine.calls if "a-hub" in call]
    assert engine.stored == [image(1), *of_theirs]
    assert engine.tags == {"hub/env-base:built": "sha256:1"}
    assert set(engine.made) == {"hub-users", "hub-control", "a-hub-users", "a-hub-control"}
    # Neither table nor bridge is theirs.
    assert {"table=hub_fence", "bridge=br-hub"} <= set(kept.fence.settings[0].splitlines())
