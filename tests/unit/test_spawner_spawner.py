"""The spawner against a stand-in for Docker: it touches only what is its user's."""

import asyncio
import itertools
import json
import logging
import threading
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import jupyterhub_challenge
import pytest
import requests
from aiohttp import web
from docker.errors import APIError, NotFound
from docker.types import HostConfig
from jupyterhub_ansible.engine import run_as
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.settings.model import Environment
from jupyterhub_ansible.spawner import addresses, failures, queue
from jupyterhub_ansible.spawner.addresses import Addresses
from jupyterhub_ansible.spawner.failures import ServerError
from jupyterhub_ansible.spawner.homes import HomesError
from jupyterhub_ansible.spawner.limits import HARDENING
from jupyterhub_ansible.spawner.memory import Claim, waiting_message
from jupyterhub_ansible.spawner.queue import Queue
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from traitlets.config import Config

GB = 1024**3
BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
OTHER = BASE.model_copy(update={"slug": "other", "image": "x/other:1", "default_url": "/tree", "home": "/data"})


class Containers(dict[str, dict[str, Any]]):
    """By name; called as docker.APIClient.containers, it lists them."""

    def __call__(self, filters: Any, **which: bool) -> list[dict[str, Any]]:
        return [
            {**each, "Labels": each["Config"]["Labels"], "State": "running" if each["State"]["Running"] else "exited"}
            for each in self.values()
        ]


class FakeDocker:
    """The few calls of docker.APIClient that a spawner makes, with Docker's answers."""

    def __init__(self) -> None:
        self.containers = Containers()
        self.volumes: dict[str, dict[str, Any]] = {}
        self.images = {"x/base:1", "x/other:1"}
        self.image_labels: dict[str, dict[str, str]] = {}
        self.networks = {"users": "127.0.0.0/8"}
        self.addresses = "127.0.0.0/25"
        self.elsewhere: dict[str, str] = {}
        self.image_users: dict[str, str] = {}
        # What `id -u` says, as each user.
        self.uids: dict[str, str] = {}
        self.probes: list[dict[str, Any]] = []
        self.log = b"the last words"
        self.used = 0
        self.pulled: list[dict[str, Any]] = []
        self._ids = itertools.count()

    def info(self) -> dict[str, Any]:
        return {"MemTotal": 8 * GB, "LoggingDriver": "json-file", "CgroupDriver": "cgroupfs"}

    def _find(self, name_or_id: str) -> dict[str, Any]:
        for name, container in self.containers.items():
            if name_or_id in (name, container["Id"]):
                return container
        raise NotFound("no such container", response=Mock(status_code=404))

    def inspect_image(self, image: str) -> dict[str, Any]:
        if image not in self.images:
            raise NotFound("no such image", response=Mock(status_code=404))
        user = self.image_users.get(image, "1000")
        return {
            "Id": f"id-of-{image}",
            "Config": {"Cmd": ["serve"], "Labels": self.image_labels.get(image), "User": user},
        }

    def inspect_container(self, name_or_id: str) -> dict[str, Any]:
        return self._find(name_or_id)

    def create_host_config(self, **options: Any) -> Any:
        return HostConfig(version="1.41", **options)

    def inspect_network(self, name: str) -> dict[str, Any]:
        if name not in self.networks:
            raise NotFound("no such network", response=Mock(status_code=404))
        pool = {"Subnet": self.networks[name], "IPRange": self.addresses, "Gateway": "127.0.0.14"}
        return {"IPAM": {"Config": [pool]}}

    def create_container(
        self,
        image: str,
        labels: dict[str, str] | None,
        name: str = "",
        networking_config: Any = None,
        **options: Any,
    ) -> dict[str, Any]:
        options["image"] = image
        if options.get("entrypoint") == ["id", "-u"]:
            name = "probe"
            self.probes.append(options)
        if name in self.containers:
            raise APIError("name in use", response=Mock(status_code=409))
        chosen = (networking_config or {"EndpointsConfig": {"users": {"IPAMConfig": None}}})["EndpointsConfig"]
        self.containers[name] = {
            "Id": f"id-of-{name}-{next(self._ids)}",
            "Config": {"Labels": labels, "Env": []},
            "State": {"Running": False, "ExitCode": 0, "Error": "", "FinishedAt": ""},
            "HostConfig": {"Memory": 64 * 1024**2},
            "NetworkSettings": {"Networks": {name: {"IPAddress": "", **chosen[name]} for name in chosen}},
            "options": options,
        }
        return self.containers[name]

    def start(self, name_or_id: str) -> None:
        container = self._find(name_or_id)
        if name_or_id.startswith("id-of-probe") and container["options"]["user"] not in self.uids:
            raise APIError("unable to find user", response=Mock(status_code=400))
        for endpoint in container["NetworkSettings"]["Networks"].values():
            self._attach(endpoint)
        container["State"]["Running"] = True

    def _attach(self, endpoint: dict[str, Any]) -> None:
        address = (endpoint["IPAMConfig"] or {"IPv4Address": "127.0.0.13"})["IPv4Address"]
        held = [
            each["NetworkSettings"]["Networks"].get("users", {}).get("IPAddress") for each in self.containers.values()
        ]
        if address in (*held, *self.elsewhere):
            raise APIError("500", response=Mock(status_code=403), explanation="Address already in use")
        endpoint["IPAddress"] = address

    def wait(self, name_or_id: str, timeout: int) -> None:
        self.stop(name_or_id)

    def stop(self, name_or_id: str) -> None:
        container = self._find(name_or_id)
        container["State"]["Running"] = False
        for endpoint in container["NetworkSettings"]["Networks"].values():
            endpoint["IPAddress"] = ""

    def remove_container(self, name_or_id: str, v: bool, force: bool = False) -> None:
        container = self._find(name_or_id)
        if container["State"]["Running"] and not force:
            raise APIError("is running", response=Mock(status_code=409))
        [name] = [name for name, other in self.containers.items() if other is container]
        del self.containers[name]

    def disconnect_container_from_network(self, name_or_id: str, network: str) -> None:
        del self._find(name_or_id)["NetworkSettings"]["Networks"][network]

    def connect_container_to_network(self, name_or_id: str, network: str, ipv4_address: str) -> None:
        container = self._find(name_or_id)
        endpoint = {"IPAddress": "", "IPAMConfig": {"IPv4Address": ipv4_address}}
        if container["State"]["Running"]:
            self._attach(endpoint)
        container["NetworkSettings"]["Networks"][network] = endpoint

    def stats(self, name_or_id: str, stream: bool, one_shot: bool) -> dict[str, Any]:
        self._find(name_or_id)
        return {"memory_stats": {"usage": self.used}}

    def pull(self, repository: str, tag: str, stream: bool, decode: bool) -> Iterator[dict[str, Any]]:
        yield from self.pulled
        self.images.add(f"{repository}:{tag}")

    def logs(self, name_or_id: str, tail: int, **_: bool) -> bytes:
        if user := self._find(name_or_id)["options"].get("user", "") if name_or_id.startswith("id-of-probe") else "":
            return f"{self.uids[user]}\n".encode()
        return self.log

    def create_volume(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        if name in self.volumes:
            # What moby 26.1 answers after a restart of the engine.
            return {"Name": name, "Labels": None}
        self.volumes[name] = {"Name": name, "Labels": labels}
        return self.volumes[name]

    def inspect_volume(self, name: str) -> dict[str, Any]:
        return self.volumes[name]


class FakeProxy:
    """The proxy's API: which address each server's path leads to."""

    def __init__(self) -> None:
        self.routes: dict[str, str] = {}

    async def get_all_routes(self) -> dict[str, Any]:
        return {spec: {"target": f"http://{address}:8888", "data": {}} for spec, address in self.routes.items()}

    async def delete_user(self, user: Any, server: str) -> None:
        self.routes.pop(f"/user/{user.name}/{server}", None)
        if server in user.spawners:
            user.spawners[server].unrouted = True

    async def add_user(self, user: Any, server: str) -> None:
        mine = user.spawners[server]
        self.routes[mine.proxy_spec] = mine.server.ip
        mine.unrouted = False


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker()
    monkeypatch.setattr(UserServerSpawner, "_client", fake)
    monkeypatch.setattr(PROXY, "routes", {})
    monkeypatch.setattr(UserServerSpawner, "addresses", Addresses(Session(create_engine("sqlite://"))), raising=False)
    monkeypatch.setattr(UserServerSpawner, "_engine", None)
    monkeypatch.setattr("jupyterhub_ansible.spawner.recovery._RESTART_S", 0)
    monkeypatch.setattr(run_as, "_known", {})
    return fake


PROXY = FakeProxy()


class Spawner(UserServerSpawner):
    """Without what a spawner takes from a running Hub, and without the wait for a server that is not there."""

    def __init__(self, **kwargs: Any) -> None:
        # No address before the start has ended.
        self.in_the_database = SimpleNamespace(base_url="/user/alice/", ip="")
        super().__init__(**kwargs)
        self.db = Mock()

    @property
    def server(self) -> Any:
        return self.in_the_database

    @property
    def active(self) -> bool:
        return bool(self.in_the_database.ip)

    def get_env(self) -> dict[str, str]:
        return {}

    async def _wait_until_ready(self, url: str) -> None:
        pass


def spawner(user: str = "alice", server: str = "", **traits: Any) -> Any:
    settings = {
        "project": "jh",
        "profiles": {"base": BASE, "other": OTHER},
        "default_profile": "base",
        "network_name": "users",
        "pull_policy": "never",
        "remove": True,
        "mem_limit": "1G",
        **traits,
    }
    made = Spawner(
        user=SimpleNamespace(
            name=user,
            url=f"/user/{user}/",
            groups=[],
            spawners={},
            settings={"users": {}, "proxy": PROXY},
        ),
        proxy_spec=f"/user/{user}/{server}",
        orm_spawner=SimpleNamespace(name=server, server=None, user_options=None),
        config=Config({"UserServerSpawner": settings}),
    )
    made.apply_user_options(made, {})
    return made


def run(call: Callable[[], Awaitable[Any]]) -> Any:
    async def inside_a_loop() -> Any:
        return await call()

    return asyncio.run(inside_a_loop())


def stranger(docker: FakeDocker, name: str, found: dict[str, str] | None) -> str:
    docker.create_container("x/base:1", labels=found, name=name)
    docker.start(name)
    return str(docker.containers[name]["Id"])


STRANGERS = [
    None,
    {},
    labels("jh", "user-server", "bob", ""),
    labels("another", "user-server", "alice", ""),
    labels("jh", "hub", "alice", ""),
]


def test_a_start(docker: FakeDocker) -> None:
    assert run(spawner().start) == ("127.0.0.1", 8888)
    container = docker.containers["jh-user-alice"]
    assert container["State"]["Running"]
    assert container["Config"]["Labels"] == labels("jh", "user-server", "alice", "")
    assert container["options"]["image"] == "x/base:1"
    host = container["options"]["host_config"]
    assert host["Binds"] == ["jh-user-alice:/home/jovyan:rw"]
    assert docker.volumes["jh-user-alice"]["Labels"] == labels("jh", "home", "alice", "")


def test_what_forbids_a_start_is_asked_again_before_the_container_runs(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image was pulled, and room waited for, in between."""
    asked: list[str] = []

    def check(image: str) -> None:
        asked.append(image)
        if len(asked) > 1:
            raise ServerError("the network is not safe", reason="fence", log_message="")

    monkeypatch.setattr(Spawner, "before_start", check)
    with pytest.raises(ServerError, match="not safe"):
        run(spawner().start)
    assert asked == ["x/base:1"] * 2
    assert not docker.containers["jh-user-alice"]["State"]["Running"]


def test_limits_and_hardening_under_what_the_administrator_sets(docker: FakeDocker) -> None:
    extra = {"shm_size": 5, "security_opt": ["label=disable"]}
    run(spawner(pids_limit=7, extra_host_config=extra, extra_create_kwargs={"labels": {"team": "x"}}).start)
    container = docker.containers["jh-user-alice"]
    host = container["options"]["host_config"]
    assert (host["Memory"], host["MemorySwap"]) == (1024**3, 1024**3)
    assert (host["PidsLimit"], host["CapDrop"], host["Init"]) == (7, ["ALL"], True)
    assert (host["ShmSize"], host["SecurityOpt"]) == (5, [*HARDENING["security_opt"], "label=disable"])
    assert container["Config"]["Labels"] == {**labels("jh", "user-server", "alice", ""), "team": "x"}


def test_limits_are_those_of_this_start(docker: FakeDocker) -> None:
    alice = spawner()
    run(alice.start)
    run(alice.stop)
    alice.mem_limit = 2 * GB
    run(alice.start)
    host = docker.containers["jh-user-alice"]["options"]["host_config"]
    assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (2 * GB, 2 * GB, GB)


@pytest.mark.parametrize(
    ("user", "runs_as"),
    [("1000", "1000"), ("1000:100", "1000:100"), ("jovyan", "1000"), ("jovyan:users", "1000:users"), ("+07", "7")],
)
def test_a_server_runs_by_the_number_of_its_user(docker: FakeDocker, user: str, runs_as: str) -> None:
    """The image could be another one by the time that the container is made, and a name mean anything."""
    docker.image_users["x/base:1"] = user
    docker.uids = {"jovyan": "1000", "jovyan:users": "1000"}
    run(spawner().start)
    assert docker.containers["jh-user-alice"]["options"]["user"] == runs_as


@pytest.mark.parametrize("user", ["", "0", "00", "0:0", "-0", ":100", "root", "toor", "0x0", "gone", "odd"])
@pytest.mark.parametrize("administrators", [False, True])
def test_nobody_is_root(docker: FakeDocker, user: str, administrators: bool) -> None:
    """By whatever word; nor as somebody whose number cannot be found."""
    docker.uids = {"root": "0", "toor": "0", "odd": "uid=1000"}
    docker.image_users["x/base:1"] = "1000" if administrators and user else user
    extra = {"user": user} if administrators else {}
    with pytest.raises(ServerError) as error:
        run(spawner(extra_create_kwargs=extra).start)
    assert "would not run as an ordinary user" in error.value.jupyterhub_message
    assert error.value.reason == "root"
    assert "USER 1000" in error.value.log_message
    where = "hub_traits: DockerSpawner.extra_create_kwargs.user" if administrators and user else "image x/base:1"
    assert where in error.value.log_message
    assert docker.containers == {}, "the container that was asked is gone"
    assert docker.volumes == {}


@pytest.mark.parametrize(("given", "runs_as"), [(None, "1000"), ("", "1000"), (1001, "1001"), ("1001:100", "1001:100")])
def test_a_user_that_the_administrator_gives(docker: FakeDocker, given: Any, runs_as: str) -> None:
    run(spawner(extra_create_kwargs={"user": given}).start)
    assert docker.containers["jh-user-alice"]["options"]["user"] == runs_as


def test_root_as_a_number(docker: FakeDocker) -> None:
    with pytest.raises(ServerError):
        run(spawner(extra_create_kwargs={"user": 0}).start)


def test_an_image_that_somebody_named_and_that_runs_as_root(docker: FakeDocker) -> None:
    """Who can mend it is told how."""
    docker.images.add("r/mine:1")
    docker.image_users["r/mine:1"] = ""
    mine = spawner(free_images={"staff": ["r/*:*"]})
    mine.user.groups = [SimpleNamespace(name="staff")]
    mine.apply_user_options(mine, {"image": "r/mine:1"})
    with pytest.raises(ServerError) as error:
        run(mine.start)
    assert "The image r/mine:1 runs as root" in error.value.jupyterhub_message
    assert "USER 1000" in error.value.jupyterhub_message
    assert error.value.status_code == 400


def test_a_name_is_asked_about_once(docker: FakeDocker) -> None:
    docker.image_users["x/base:1"] = "asked-once"
    docker.uids = {"asked-once": "1000"}
    alice = spawner()
    for _ in range(2):
        run(alice.start)
        run(alice.stop)
    [probe] = docker.probes
    host = probe["host_config"]
    assert (host["NetworkMode"], host["CapDrop"], host["ReadonlyRootfs"]) == ("none", ["ALL"], True)
    assert host["SecurityOpt"] == HARDENING["security_opt"]


def test_an_id_that_does_not_end_is_the_image_s_fault(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has threads of its own, and fills no disk."""
    docker.image_users["x/base:1"] = "bob"
    docker.uids = {"bob": "1000"}

    def wait(_: str, timeout: int) -> None:
        assert timeout <= 20
        assert threading.current_thread().name.startswith("docker-wait")
        raise requests.ReadTimeout

    monkeypatch.setattr(docker, "wait", wait)
    with pytest.raises(ServerError, match="x/base:1") as error:
        run(spawner().start)
    assert error.value.reason == "root"
    assert docker.containers == {}
    assert docker.probes[0]["host_config"]["LogConfig"]["Config"] == {"max-size": "1m"}


@pytest.mark.parametrize("user", ["9" * 5000, "bob\n", "9" * 11])
def test_what_is_no_number_is_asked_about(user: str) -> None:
    assert run_as.number(user) is None


def test_labels_of_an_image_lead_nowhere(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {
        "traefik.enable": "true",
        "traefik.http.routers.{username}.rule": "Host(`hub.example.org`)",
        "coolify.managed": "true",
        "team": "theirs",
        "jupyterhub-ansible.user": "bob",
        "jupyterhub-ansible.environment": "base",
    }
    alice = spawner(extra_create_kwargs={"labels": {"team": "x"}})
    run(alice.start)
    assert docker.containers["jh-user-alice"]["Config"]["Labels"] == {
        "traefik.enable": "",
        "traefik.http.routers.{username}.rule": "",
        "coolify.managed": "false",
        "team": "x",
        **labels("jh", "user-server", "alice", ""),
    }
    # The next one's are another matter.
    docker.image_labels["x/base:1"] = {"caddy": "hub.example.org"}
    run(alice.stop)
    run(alice.start)
    assert docker.containers["jh-user-alice"]["Config"]["Labels"] == {
        "caddy": "",
        "team": "x",
        **labels("jh", "user-server", "alice", ""),
    }


def test_no_new_privileges(docker: FakeDocker) -> None:
    run(spawner().start)
    host = docker.containers["jh-user-alice"]["options"]["host_config"]
    assert host["SecurityOpt"] == HARDENING["security_opt"]
    # Its log would be gone with it.
    assert not host.get("AutoRemove")


@pytest.mark.parametrize("found", STRANGERS)
def test_a_stranger_s_container_is_left_alone(docker: FakeDocker, found: dict[str, str] | None) -> None:
    theirs = stranger(docker, "jh-user-alice", found)
    mine = spawner()
    with pytest.raises(ServerError) as error:
        run(mine.start)
    assert error.value.reason == "name-taken"
    assert "Please tell the administrator" in error.value.jupyterhub_message
    # What JupyterHub does after a start that failed.
    assert run(mine.poll) == 0
    assert mine.object_id == ""
    assert docker.containers["jh-user-alice"]["Id"] == theirs
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_a_container_that_took_the_name_of_a_running_server_is_not_stopped(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    del docker.containers["jh-user-alice"]
    stranger(docker, "jh-user-alice", {})
    assert run(mine.poll) == 0
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_a_running_container_that_the_hub_forgot_is_replaced(docker: FakeDocker) -> None:
    run(spawner().start)
    forgotten = docker.containers["jh-user-alice"]["Id"]
    run(spawner().start)
    assert docker.containers["jh-user-alice"]["Id"] != forgotten


def test_a_stop_removes_the_container_and_keeps_the_home(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    run(mine.stop)
    assert not docker.containers
    assert docker.volumes


@pytest.mark.parametrize("found", [None, labels("jh", "home", "bob", ""), labels("another", "home", "alice", "")])
def test_a_stranger_s_volume_is_not_mounted(docker: FakeDocker, found: dict[str, str] | None) -> None:
    docker.volumes["jh-user-alice"] = {"Name": "jh-user-alice", "Labels": found}
    with pytest.raises(ServerError) as error:
        run(spawner().start)
    assert error.value.reason == "home-taken"
    assert not docker.containers


def test_volumes_of_another_scheme_are_adopted_by_their_exact_names(docker: FakeDocker) -> None:
    # As DockerSpawner names them: escaped, lower case, nothing for the default server.
    names = {
        ("alice", ""): "jhub-user-alice-",
        ("a-b", "c"): "jhub-user-a-2db-c",
        ("First.Last", "x-y"): "jhub-user--46irst-2e-4cast-x-2dy",
    }
    for (user, server), name in names.items():
        docker.volumes[name] = {"Name": name, "Labels": None}
        run(spawner(user, server, volume_name_template="jhub-user-{username}-{servername}").start)
    mounted = {c["options"]["host_config"]["Binds"][0].split(":")[0] for c in docker.containers.values()}
    assert mounted == set(names.values())
    assert set(docker.volumes) == set(names.values())


def test_an_adopted_volume_of_another_user_is_not_mounted(docker: FakeDocker) -> None:
    docker.volumes["u-alice"] = {"Name": "u-alice", "Labels": labels("jh", "home", "bob", "")}
    with pytest.raises(ServerError):
        run(spawner(volume_name_template="u-{username}").start)


def test_one_home_for_all_servers(docker: FakeDocker) -> None:
    for server in ("", "one"):
        run(spawner(server=server, share_home=True).start)
    assert set(docker.containers) == {"jh-user-alice", "jh-user-alice--one"}
    assert set(docker.volumes) == {"jh-user-alice"}


@pytest.mark.parametrize("user", ["{raw_username}", "{username}", "a{", "{}", "{{b}}"])
def test_braces_in_a_name_are_no_template(docker: FakeDocker, user: str) -> None:
    run(spawner(user).start)
    (container,) = docker.containers.values()
    assert container["Config"]["Labels"] == labels("jh", "user-server", user, "")


def test_servers_that_join_alike_have_oauth_clients_of_their_own() -> None:
    servers = [("a-b", "c"), ("a", "b-c"), ("a-b-c", "")]
    clients = {spawner(*server).oauth_client_id for server in servers}
    assert len(clients) == len(servers)
    assert all(client.startswith("jupyterhub-user-") for client in clients)


def test_an_image_that_is_not_there(docker: FakeDocker) -> None:
    docker.images.clear()
    with pytest.raises(ServerError) as error:
        run(spawner().start)
    assert error.value.reason == "image"
    assert not docker.containers


def test_the_choice_sets_image_page_and_home(docker: FakeDocker) -> None:
    mine = spawner()
    mine.apply_user_options(mine, {"profile": "other"})
    run(mine.start)
    container = docker.containers["jh-user-alice"]
    assert container["options"]["image"] == "x/other:1"
    assert container["options"]["host_config"]["Binds"] == ["jh-user-alice:/data:rw"]
    assert (mine.default_url, mine.notebook_dir) == ("/tree", "/data")


def api_request(user_options: dict[str, Any] | None) -> Any:
    """What JupyterHub's REST handler knows of the request's body."""
    return SimpleNamespace(get_server_json_body=lambda: {"display_name": None, "user_options": user_options})


@pytest.mark.parametrize("handler", [None, object(), api_request(None)])
def test_a_stored_choice_that_is_gone_gives_way_to_the_default(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    mine.handler = handler
    mine.apply_user_options(mine, {"profile": "gone"})
    assert mine.image == "x/base:1"
    assert "The environment gone, which you used last, is no longer offered: Base takes its place." in caplog.text


def test_a_choice_made_now_that_is_not_there_is_refused() -> None:
    mine = spawner()
    mine.handler = api_request({"profile": "gone"})
    with pytest.raises(ServerError) as error:
        mine.apply_user_options(mine, {"profile": "gone"})
    assert error.value.status_code == 400


def test_a_form_is_checked_before_it_is_stored() -> None:
    mine = spawner()
    assert mine.run_options_from_form({"profile": ["other"]}) == {"profile": "other"}
    with pytest.raises(ServerError) as error:
        mine.run_options_from_form({"profile": ["gone"]})
    assert error.value.status_code == 400


def test_a_dead_server_is_logged_and_removed(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=3)
    docker.log = b"x" * 200_000 + b"\n\x1b[2J\x1b]0;owned\x07\nthe last words\n"
    assert "ExitCode=3" in run(mine.poll)
    assert "\n\\x1b[2J\\x1b]0;owned\\x07\nthe last words" in caplog.text
    assert len(caplog.text) < 3_000
    assert not docker.containers


def running(docker: FakeDocker) -> Any:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    mine.server.ip, _ = run(mine.start)
    mine.user.spawners[""] = mine
    run(lambda: PROXY.add_user(mine.user, ""))
    return mine


def test_a_server_that_was_taken_off_the_network_is_put_back(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    # Not at once, but where the Hub starts: a deployment may be at it.
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] == {}
    # Nobody is led to what may be another server's meanwhile.
    assert PROXY.routes == {}
    # Events make the Hub look again within the same moment.
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] == {}
    mine._missing -= 25
    assert run(mine.poll) is None
    networks = docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]
    assert mine.server.ip == networks["users"]["IPAddress"] == "127.0.0.1"
    assert PROXY.routes == {mine.proxy_spec: "127.0.0.1"}


def test_a_server_whose_address_somebody_has_meanwhile_gets_another_one(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    docker.elsewhere["127.0.0.1"] = "a probe"
    run(mine.poll)
    mine._missing -= 25
    run(mine.poll)
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.2", {mine.proxy_spec: "127.0.0.2"})
    mine.db.commit.assert_called_once()


def test_a_hub_that_starts_puts_a_server_back_at_once(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    mine._check_pending = True
    assert run(mine.poll) is None
    assert mine.server.ip == docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"]


def test_a_hub_that_starts_before_the_proxy_waits_for_it(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    mine._check_pending = True
    monkeypatch.setattr("jupyterhub_ansible.spawner.addressing._ROUTE_TIMEOUT_S", 0.1)
    routes, pauses = PROXY.get_all_routes, [0.3]

    async def slow() -> dict[str, Any]:
        await asyncio.sleep(pauses.pop() if pauses else 0)
        return await routes()

    monkeypatch.setattr(PROXY, "get_all_routes", slow)
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] == "127.0.0.1"


def test_a_server_whose_address_changed_is_followed(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.9", {mine.proxy_spec: "127.0.0.9"})
    mine.db.commit.assert_called_once()


def test_a_proxy_that_is_away_does_not_keep_the_hub_from_following(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running(docker)
    monkeypatch.setattr(PROXY, "add_user", Mock(side_effect=TimeoutError("30 s")))
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert mine.server.ip == "127.0.0.9"
    assert "its route cannot be made: TimeoutError" in caplog.text


def test_a_server_that_was_moved_to_another_one_s_address_does_not_stay_there(docker: FakeDocker) -> None:
    mine = running(docker)
    mine.addresses.keep("jh-user-bob", "127.0.0.9")
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert mine.server.ip == docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"]
    assert (mine.server.ip, PROXY.routes) == ("127.0.0.1", {mine.proxy_spec: "127.0.0.1"})


def test_a_server_is_not_taken_for_dead_while_the_network_is_gone(
    docker: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    docker.networks = {}
    mine._check_pending = True
    assert run(mine.poll) is None
    assert "cannot be put back" in caplog.text
    assert mine.server.ip == "127.0.0.1"
    mine.db.commit.assert_not_called()


def test_a_server_that_is_put_back_is_not_taken_for_dead_while_docker_does_not_answer(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    monkeypatch.setattr(docker, "connect_container_to_network", Mock(side_effect=requests.ReadTimeout("60 s")))
    # JupyterHub stops what raises anything here.
    mine._check_pending = True
    assert run(mine.poll) is None
    assert "cannot be put back: 60 s" in caplog.text


# --- readiness, against a server that listens


def wait(statuses: list[int], mine: Any, answers: list[str] | None = None) -> list[str]:
    """Let `mine` wait for a server that answers with these statuses, the last one from then on; return what it sent.

    To the challenge it answers with the token of `answers`, the last one from then on.
    """
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.path_qs} {dict(request.headers)}")
        return web.Response(status=statuses.pop(0) if len(statuses) > 1 else statuses[0])

    async def prove(request: web.Request) -> web.Response:
        seen.append(f"{request.path_qs} {dict(request.headers)}")
        assert answers
        token = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response({"hmac": jupyterhub_challenge.answer(token, request.query["nonce"])})

    async def both() -> None:
        app = web.Application()
        app.router.add_get("/user/alice/api", answer)
        app.router.add_get("/user/alice/api/jupyterhub-challenge", prove)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}/user/alice/")
        finally:
            await runner.cleanup()

    asyncio.run(both())
    return seen


def test_our_own_servers_prove_who_they_are_and_are_sent_no_secret(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})})
    mine.api_token = "the-token"
    run(mine.start)
    # Somebody else's server answers first.
    seen = wait([200], mine, ["another-token", "another-token", "the-token"])
    assert len(seen) == 3
    assert not any("token" in each or "Authorization" in each or "Cookie" in each for each in seen)
    assert len({each.split()[0] for each in seen}) == 3, "never the same question"
    assert all("identity" in each for each in seen), "nothing is unpacked"


def test_a_server_that_cannot_prove_who_it_is(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})}, http_timeout=1)
    mine.api_token = "the-token"
    run(mine.start)
    with pytest.raises(ServerError, match="never proved"):
        wait([200], mine, ["another-token"])


def sent(mine: Any, *blocks: bytes, packed: bool = False) -> tuple[str, int]:
    """Let `mine` wait for a server that answers with these blocks; return why it failed, and how much was taken.

    Which is at most what the kernel's buffers hold, if nobody reads.
    """
    taken = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()[1].rpartition(b"=")[2].decode()
        right = json.dumps({"hmac": jupyterhub_challenge.answer("the-token", asked)}).encode()
        taken.append(0)
        encoding = b"Content-Encoding: deflate\r\n" if packed else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"Content-Type: application/json\r\n\r\n")
        with suppress(ConnectionError):
            for block in blocks or [zlib.compress(right) if packed else right]:
                writer.write(block)
                await writer.drain()
                taken[-1] += len(block)
        writer.close()

    async def both() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}/user/alice/")
        finally:
            server.close()

    try:
        asyncio.run(both())
    except ServerError as error:
        return error.log_message, max(taken)
    return "", max(taken)


def test_an_answer_without_end_is_not_read_to_its_end(docker: FakeDocker) -> None:
    """It would be in the Hub's memory, which ends with it."""
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})}, http_timeout=1)
    mine.api_token = "the-token"
    run(mine.start)
    megabytes = [b" " * 1024**2] * 48
    for blocks in (megabytes, [b'{"hmac": [', *megabytes]):
        why, taken = sent(mine, *blocks)
        assert why
        assert taken < 24 * 1024**2
    # Nor does one that is nested more deeply than Python reads end the start with a traceback.
    assert "never opened its port" in sent(mine, b"[" * 2000)[0]
    assert sent(mine)[0] == ""
    assert "never opened its port" in sent(mine, packed=True)[0], "what is packed is not unpacked"


def test_servers_of_others_images_are_not_asked_for_a_proof(docker: FakeDocker) -> None:
    # Built on ours, and with another server in it, perhaps.
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner()
    run(mine.start)
    assert [each.split()[0] for each in wait([200], mine)] == ["/user/alice/api"]


def test_ready_when_it_answers(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    statuses = [503, 500, 403]
    wait(statuses, mine)
    assert statuses == [403]


def test_a_server_that_ends_while_starting(docker: FakeDocker) -> None:
    mine = spawner(http_timeout=30)
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=1)
    with pytest.raises(ServerError) as error:
        wait([503], mine)
    assert error.value.reason == "ended"


def test_a_server_that_does_not_answer_in_time(docker: FakeDocker) -> None:
    mine = spawner(http_timeout=1)
    run(mine.start)
    with pytest.raises(ServerError) as error:
        wait([503], mine)
    assert error.value.reason == "no-answer"
    assert "the last words" in error.value.log_message
    # The Hub stops it.
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_many_that_start_at_once_are_asked_less_often(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for others in (0, 19):
        monkeypatch.setattr(UserServerSpawner, "_polled", {f"other{number}" for number in range(others)})
        mine = spawner(http_timeout=1)
        run(mine.start)
        statuses = [503] * 100
        with pytest.raises(ServerError):
            wait(statuses, mine)
        asked.append(100 - len(statuses))
        assert len(UserServerSpawner._polled) == others
    assert asked[0] > 3 * asked[1] > 0


# --- what may take long


def test_hung_stops_and_pulls_do_not_hold_up_other_users(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    unblock = threading.Event()
    monkeypatch.setattr(docker, "stop", lambda name_or_id: unblock.wait(20))
    monkeypatch.setattr(docker, "pull", lambda *args, **kwargs: iter([{"wait": unblock.wait(20)}]))

    async def scenario() -> None:
        # More than there are threads for all else.
        hung = [spawner(f"bob{number}") for number in range(20)]
        for each in hung:
            await each.start()
        slow = [asyncio.ensure_future(each.stop_object()) for each in hung]
        slow += [asyncio.ensure_future(hung[0].docker("pull", "x/large", "1")) for _ in range(20)]
        try:
            await asyncio.wait_for(spawner("alice").start(), timeout=5)
            assert not any(each.done() for each in slow)
        finally:
            unblock.set()
            await asyncio.gather(*slow)

    asyncio.run(scenario())


def test_many_start_in_turn_and_a_slow_one_holds_up_nobody(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_turns", asyncio.Semaphore(2))
    monkeypatch.setattr("jupyterhub_ansible.spawner.admission._TURN_S", 0.5)
    ready: dict[str, asyncio.Event] = {}

    async def wait_until_ready(self: Any, url: str) -> None:
        await ready[self.user.name].wait()

    monkeypatch.setattr(Spawner, "_wait_until_ready", wait_until_ready)

    async def scenario() -> None:
        users = ["slow", "a", "b", "c"]
        ready.update({user: asyncio.Event() for user in users})
        everybody = {user: spawner(user) for user in users}
        loop = asyncio.get_running_loop()
        starts = []
        for each in everybody.values():
            starts.append(loop.create_task(each.start()))
            await asyncio.sleep(0.05)

        def begun() -> list[str]:
            return [name.removeprefix("jh-user-") for name in docker.containers if name != "probe"]

        assert begun() == ["slow", "a"]
        assert told(everybody["b"]) == [(60, "Other servers are starting first; yours is waiting its turn")]
        ready["a"].set()
        await asyncio.sleep(0.1)
        assert begun() == ["slow", "a", "b"]
        # Two are as slow as that: their time is up, and one is given back once.
        await asyncio.sleep(0.8)
        assert begun() == users
        for each in ready.values():
            each.set()
        await asyncio.gather(*starts)
        assert not everybody["slow"]._turns.locked()
        assert everybody["slow"]._turns._value == 2

    asyncio.run(scenario())


def test_a_start_that_fails_gives_its_turn_back(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_turns", asyncio.Semaphore(1))
    monkeypatch.setattr(Spawner, "_wait_until_ready", Mock(side_effect=failures.vanished("x")))
    for _ in range(2):
        with pytest.raises(ServerError):
            run(spawner().start)
    assert UserServerSpawner._turns._value == 1


def told(mine: Any) -> list[tuple[int, str]]:
    return [(event["progress"], event["message"]) for event in mine._progress._events]


def test_the_phases_of_a_start(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    assert [message for _, message in told(mine)] == [
        "Creating the container of your server",
        "Starting your server",
        "Waiting until your server answers",
    ]

    async def first_event() -> Any:
        return await anext(mine.progress())

    assert run(first_event)["progress"] == 60


def test_the_notice_of_a_choice_that_is_gone_comes_first(docker: FakeDocker) -> None:
    mine = spawner()
    mine.notice = "Base takes its place."
    run(mine.start)
    assert told(mine)[0] == (0, mine.notice)


def test_a_pull_is_told_in_percent(docker: FakeDocker) -> None:
    docker.images.clear()
    layer = {"id": "a", "status": "Downloading", "progressDetail": {"current": 1, "total": 4}}
    docker.pulled = [layer, layer, {"id": "a", "status": "Pull complete"}]
    mine = spawner(pull_policy="ifnotpresent")
    run(mine.start)
    assert told(mine)[:2] == [(16, "Fetching the environment: 12 %"), (60, "Fetching the environment: 100 %")]


def test_a_pull_that_fails_on_its_way(docker: FakeDocker) -> None:
    docker.images.clear()
    docker.pulled = [{"status": "Pulling"}, {"error": "unexpected EOF", "errorDetail": {}}]
    with pytest.raises(ServerError) as error:
        run(spawner(pull_policy="ifnotpresent").start)
    assert "could not be fetched" in error.value.jupyterhub_message
    assert "unexpected EOF" in error.value.log_message
    assert not docker.containers


@pytest.mark.parametrize(
    "reference", ["ghcr.io/x/lab@sha256:" + "0" * 64, "ghcr.io:443/x/lab:1@sha256:" + "0" * 64], ids=["bare", "tagged"]
)
def test_a_pull_by_digest(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, reference: str) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(docker, "pull", lambda *args, **_: iter(asked.append(args) or []))  # type: ignore[func-returns-value]
    docker.images.clear()
    run(lambda: spawner(pull_policy="ifnotpresent").pull_image(reference))
    name = reference.partition("@")[0].removesuffix(":1")
    assert asked == [(name, "sha256:" + "0" * 64)]


def test_a_pull_that_takes_too_long(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    unblock = threading.Event()
    monkeypatch.setattr(docker, "pull", lambda *args, **kwargs: iter([{"wait": unblock.wait(5)}]))
    monkeypatch.setattr("jupyterhub_ansible.spawner.containers.PULL_TIMEOUT_S", 0.1)
    docker.images.clear()
    try:
        with pytest.raises(ServerError, match="pulling x/large:1 was given up"):
            run(lambda: spawner(pull_policy="ifnotpresent").pull_image("x/large:1"))
    finally:
        unblock.set()


# --- failures


def test_what_nobody_foresaw(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "create_container", Mock(side_effect=ValueError("a secret detail")))
    with pytest.raises(ServerError) as error:
        run(spawner().start)
    assert error.value.jupyterhub_message == "Your server could not be started. Please tell the administrator."
    assert "ValueError: a secret detail" in error.value.log_message


def test_docker_that_does_not_answer(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "inspect_image", Mock(side_effect=requests.ConnectionError("refused")))
    mine = spawner()
    with pytest.raises(ServerError) as error:
        run(mine.start)
    assert error.value.reason == "docker-down"
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=requests.ConnectionError("refused")))
    # What JupyterHub does after a start that failed: there is nothing to stop.
    assert run(mine.poll) == 0


@pytest.mark.parametrize(
    "silence", [requests.ConnectionError("refused"), APIError("500", response=Mock(status_code=500))]
)
def test_a_server_is_not_taken_for_dead_while_docker_is(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, silence: Exception
) -> None:
    mine = running(docker)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=silence))
    assert run(mine.poll) is None


def test_a_disk_that_is_full(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    full = APIError("500", response=Mock(status_code=500), explanation="mkdir: no space left on device")
    monkeypatch.setattr(docker, "create_volume", Mock(side_effect=full))
    with pytest.raises(ServerError) as error:
        run(spawner().start)
    assert error.value.reason == "disk"


def test_a_server_that_ran_out_of_memory_while_starting(docker: FakeDocker) -> None:
    mine = spawner(mem_limit="64M")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=137, OOMKilled=True)
    with pytest.raises(ServerError) as error:
        wait([503], mine)
    assert "limit of 64 MB" in error.value.jupyterhub_message
    assert "the last words" in error.value.log_message
    # Its name and memory are free.
    assert not docker.containers


def test_a_container_that_vanished(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    mine = running(docker)
    del docker.containers["jh-user-alice"]
    with pytest.raises(ServerError) as error:
        wait([503], mine)
    assert error.value.reason == "vanished"
    mine.object_id = "an-id"
    assert run(mine.poll) == 0
    assert "was removed by somebody else" in caplog.text


# --- room


def team(*members: Any) -> None:
    """Let these be all users of one Hub."""
    for member in members:
        member.user.spawners[member.name] = member
        member.user.settings["users"].update({each.user.name: each.user for each in members})


def full_machine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, **traits: Any) -> list[Any]:
    """Three users of a machine of 8 GB, of which 6 are reserved; the first two run."""
    monkeypatch.setattr(UserServerSpawner, "_queue", Queue())
    members = [spawner(name, reserve_memory_mb=6 * 1024, **traits) for name in ("ann", "ben", "cid")]
    team(*members)
    for each in members[:2]:
        run(each.start)
        each.in_the_database.ip = "127.0.0.1"
    return members


def test_a_start_waits_while_the_machine_is_full(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, _, cid = full_machine(docker, monkeypatch, mem_guarantee="1G")
    monkeypatch.setattr(queue, "_LOOK_AGAIN", 0.01)

    async def scenario() -> None:
        starting = asyncio.create_task(cid.start())
        await asyncio.sleep(0.1)
        assert not starting.done()
        assert "jh-user-cid" not in docker.containers
        await ann.stop()
        ann.in_the_database.ip = ""
        await asyncio.wait_for(starting, 5)

    asyncio.run(scenario())
    assert (5, waiting_message(1, 1)) in told(cid)


def test_a_start_does_not_wait_for_ever(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, cid = full_machine(docker, monkeypatch, mem_guarantee="1G", full_wait_s=1)
    with pytest.raises(ServerError) as error:
        run(cid.start)
    assert error.value.reason == "full"
    assert "jh-user-cid" not in docker.containers
    assert cid._claim is None


@pytest.mark.parametrize(("used", "fits"), [(0, True), (GB, False)])
def test_a_limit_is_no_reservation_but_use_is(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, used: int, fits: bool
) -> None:
    *_, cid = full_machine(docker, monkeypatch, full_wait_s=1)
    docker.used = used
    if fits:
        run(cid.start)
    else:
        with pytest.raises(ServerError):
            run(cid.start)


def test_the_engine_is_not_asked_again_and_again(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, cid = full_machine(docker, monkeypatch, full_wait_s=1)
    monkeypatch.setattr(queue, "_LOOK_AGAIN", 0.01)
    asked = Mock(return_value={"memory_stats": {"usage": GB}})
    monkeypatch.setattr(docker, "stats", asked)
    with pytest.raises(ServerError):
        run(cid.start)
    assert asked.call_count == 2, "once for each that runs"


def test_a_server_that_is_too_large_for_the_machine(docker: FakeDocker) -> None:
    with pytest.raises(ServerError) as error:
        run(spawner(reserve_memory_mb=8000).start)
    assert error.value.reason == "too-large"


def test_the_next_hub_knows_what_a_server_counts_with(docker: FakeDocker) -> None:
    mine = spawner(mem_guarantee="256M")
    run(mine.start)
    successor = spawner()
    successor.load_state(mine.get_state())
    assert successor._claim == Claim(256 * 1024**2, GB)
    run(mine.stop)
    assert mine._claim is None


def test_a_server_that_an_older_hub_started_counts(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, ben, cid = full_machine(docker, monkeypatch, mem_guarantee="1G", full_wait_s=1)
    for each in (ann, ben):
        each._claim = None
        each.mem_limit = "2G"
    with pytest.raises(ServerError):
        run(cid.start)


def test_limit_of_running_servers(docker: FakeDocker) -> None:
    first, second = spawner(running_limit=1), spawner(server="second", running_limit=1)
    second.user = first.user
    first.user.spawners.update({"": first, "second": second})
    run(first.start)
    first.in_the_database.ip = "127.0.0.1"
    with pytest.raises(ServerError) as error:
        run(second.start)
    assert (error.value.reason, error.value.status_code) == ("running-limit", 400)
    assert "You have 1 server running" in error.value.jupyterhub_message
    first.in_the_database.ip = ""
    run(second.start)


def test_two_servers_asked_for_at_once_do_not_both_fail(docker: FakeDocker) -> None:
    first, second = spawner(running_limit=1), spawner(server="second", running_limit=1)
    second.user = first.user
    first.user.spawners.update({"": first, "second": second})
    # Both are on their way before either is looked at.
    for each in (first, second):
        each._spawn_pending, each.in_the_database.ip = True, "127.0.0.1"
    run(first.start)
    with pytest.raises(ServerError):
        run(second.start)


# --- a Hub that ended while a server started


def test_a_server_that_was_starting_when_the_hub_ended_is_taken_over(docker: FakeDocker) -> None:
    run(spawner().start)
    docker.containers["jh-user-alice"]["Config"]["Env"] = ["A=B", "JUPYTERHUB_API_TOKEN=t=1"]
    successor = spawner()
    assert run(successor.poll) is None
    assert run(successor.get_url) == "http://127.0.0.1:8888/user/alice/"
    assert successor.api_token == "t=1"
    assert successor.orm_spawner.state["object_id"] == docker.containers["jh-user-alice"]["Id"]


def test_a_server_that_vanished_while_it_was_taken_over_does_not_end_the_hub(docker: FakeDocker) -> None:
    successor = spawner()
    successor.server.url = "http://127.0.0.1:8888/user/alice/"
    assert run(successor.get_url) == successor.server.url


# --- left over


@pytest.mark.parametrize(
    ("at_start", "kinds"), [(True, ["user-server", "homes", "user-probe"]), (False, ["user-server"])]
)
def test_what_worked_for_the_last_hub_goes_at_the_start(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, at_start: bool, kinds: list[str]
) -> None:
    async def remove(call: Any, project: str, kind: str, known: Any, log: Any) -> list[str]:
        return [kind]

    monkeypatch.setattr("jupyterhub_ansible.spawner.orphans.remove", remove)
    assert run(lambda: spawner().remove_leftovers({}, at_start)) == kinds


# --- deleted


def deleted(mine: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr("jupyterhub_ansible.spawner.homes.dispose", lambda client, *rest: calls.append(rest))
    monkeypatch.setattr("docker.from_env", lambda: None)
    run(mine.delete_forever)
    return calls


def test_the_home_of_a_deleted_server(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = spawner(server="second", deleted_homes="archive")
    assert deleted(mine, monkeypatch) == [("jh", "alice", "jh-user-alice--second", "archive")]


@pytest.mark.parametrize("sharing", [{"share_home": True}, {"volume_name_template": "home-{username}"}])
def test_a_home_that_other_servers_have_stays(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, sharing: dict[str, Any]
) -> None:
    assert deleted(spawner(server="second", deleted_homes="remove", **sharing), monkeypatch) == []
    # With the default server, the user is deleted.
    assert len(deleted(spawner(deleted_homes="remove", **sharing), monkeypatch)) == 1


def test_the_home_of_a_user_who_has_a_server_running_stays(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The Hub will not delete that user (User.delete_spawners).
    mine, second = spawner(deleted_homes="remove"), spawner(server="second")
    mine.log = logging.getLogger("spawner")
    second.in_the_database.ip = "127.0.0.1"
    mine.user.spawners.update({"": mine, "second": second})
    assert deleted(mine, monkeypatch) == []
    assert "the server second of its user runs" in caplog.text


def test_a_container_that_was_left_does_not_keep_the_home(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    run(spawner().start)
    deleted(spawner(deleted_homes="remove"), monkeypatch)
    assert not docker.containers


def test_a_server_whose_files_go_by_its_name_keeps_it(docker: FakeDocker) -> None:
    with pytest.raises(ServerError, match="display name") as error:
        run(lambda: spawner(server="old").rename("old", "new"))
    assert error.value.status_code == 400
    run(lambda: spawner(server="old", share_home=True).rename("old", "new"))


def test_what_cannot_be_disposed_of_is_logged(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyterhub_ansible.spawner.homes.dispose", Mock(side_effect=HomesError("the disk is full")))
    monkeypatch.setattr("docker.from_env", lambda: None)
    mine = spawner(deleted_homes="archive")
    mine.log = logging.getLogger("spawner")
    run(mine.delete_forever)
    assert "its home stays, the volume jh-user-alice: the disk is full" in caplog.text


def test_nobody_starts_a_server_whose_home_is_being_disposed_of(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserServerSpawner, "_disposing", {"jh-user-alice"})
    with pytest.raises(ServerError, match="deleted"):
        run(spawner().start)
    assert not docker.containers


# --- addresses


def addresses_of(docker: FakeDocker) -> list[str]:
    return [each["NetworkSettings"]["Networks"]["users"]["IPAddress"] for each in docker.containers.values()]


def test_a_burst_of_starts_gives_each_an_address_of_its_own(docker: FakeDocker) -> None:
    members = [spawner(f"user{number}") for number in range(50)]
    team(*members)

    async def all_at_once() -> Any:
        return await asyncio.gather(*(each.start() for each in members))

    started = [ip for ip, _ in run(all_at_once)]
    assert len(set(started)) == 50
    assert sorted(started) == sorted(addresses_of(docker))


def test_the_next_server_does_not_get_the_address_of_one_that_just_ended(docker: FakeDocker) -> None:
    alice, bob = spawner(), spawner("bob")
    team(alice, bob)
    was, _ = run(alice.start)
    # As its user does it, behind the Hub's back.
    docker.stop("jh-user-alice")
    docker.remove_container("jh-user-alice", v=True)
    assert run(bob.start)[0] != was


def test_what_the_proxy_leads_to_is_not_given(docker: FakeDocker) -> None:
    PROXY.routes = {"/user/gone/": "127.0.0.1", "/user/alice/": "127.0.0.2"}
    # Nothing in the table: an older copy of the database, for one.
    assert run(spawner().start)[0] == "127.0.0.2"


def test_what_another_spawner_holds_is_not_given(docker: FakeDocker) -> None:
    alice, bob = spawner(), spawner("bob")
    team(alice, bob)
    alice.in_the_database.ip = "127.0.0.1"
    assert run(bob.start)[0] == "127.0.0.2"


def test_a_database_that_is_locked_does_not_keep_a_stop_from_its_end(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running(docker)
    locked = OperationalError("UPDATE", {}, Exception("database is locked"))
    monkeypatch.setattr(mine.addresses, "release", Mock(side_effect=locked))
    mine.clear_state()
    assert "database is locked" in caplog.text


def test_an_address_that_docker_gave_to_somebody_else_is_changed_for_another(docker: FakeDocker) -> None:
    docker.elsewhere.update({"127.0.0.1": "a probe", "127.0.0.2": "a probe"})
    assert run(spawner().start) == ("127.0.0.3", 8888)
    assert addresses_of(docker) == ["127.0.0.3"]


def test_a_start_waits_while_all_addresses_are_held(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_in_line", Queue())
    monkeypatch.setattr(queue, "_LOOK_AGAIN", 0.01)
    docker.addresses = "127.0.0.0/30"
    ann, ben, cid = members = [spawner(name) for name in ("ann", "ben", "cid")]
    team(*members)
    now = [1000.0]
    monkeypatch.setattr(ann.addresses, "_clock", lambda: now[0])

    async def scenario() -> None:
        for each in (ann, ben):
            await each.start()
        starting = asyncio.create_task(cid.start())
        await ben.stop()
        await asyncio.sleep(0.1)
        assert not starting.done()
        now[0] += addresses.HOLD_S
        assert (await asyncio.wait_for(starting, 5))[0] == "127.0.0.2"

    asyncio.run(scenario())
    assert (60, failures.waiting_for_address(1, 1)) in told(cid)


def test_a_start_does_not_wait_for_an_address_for_ever(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserServerSpawner, "_in_line", Queue())
    docker.addresses = "127.0.0.0/30"
    docker.elsewhere.update({"127.0.0.1": "a probe", "127.0.0.2": "a probe"})
    with pytest.raises(ServerError, match="for an address in vain") as error:
        run(spawner(full_wait_s=1).start)
    assert error.value.reason == "no-address"


def test_a_proxy_that_does_not_answer(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROXY, "get_all_routes", Mock(side_effect=TimeoutError("30 s")))
    with pytest.raises(ServerError) as error:
        run(spawner().start)
    assert error.value.reason == "proxy"
    assert not docker.containers


def test_a_proxy_that_hangs_does_not_hold_up_one_start_after_another(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [spawner(f"user{number}") for number in range(4)]
    team(*members)
    monkeypatch.setattr(UserServerSpawner, "_in_line", Queue())
    monkeypatch.setattr("jupyterhub_ansible.spawner.addressing._ROUTE_TIMEOUT_S", 0.05)
    routes = PROXY.get_all_routes

    async def hang() -> dict[str, Any]:
        # As JupyterHub's own does, before it gives up.
        await asyncio.sleep(1)
        return await routes()

    monkeypatch.setattr(PROXY, "get_all_routes", hang)

    async def all_at_once() -> list[Any]:
        async with asyncio.timeout(3):
            return await asyncio.gather(*(each.start() for each in members), return_exceptions=True)

    assert [getattr(each, "reason", each) for each in run(all_at_once)] == ["proxy"] * 4


def test_a_start_does_not_ask_the_database_about_each_route(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where routes lead is all that counts (UserProxy.fetch_routes)."""
    monkeypatch.setattr(PROXY, "fetch_routes", PROXY.get_all_routes, raising=False)
    monkeypatch.setattr(PROXY, "get_all_routes", Mock(side_effect=AssertionError))
    PROXY.routes = {"/user/gone/": "127.0.0.1"}
    assert run(spawner().start)[0] == "127.0.0.2"


def test_a_network_on_which_docker_takes_no_addresses(docker: FakeDocker) -> None:
    docker.networks["bridge"] = "127.0.0.0/8"
    mine = spawner(network_name="bridge")
    run(lambda: mine.create_object())
    # Docker's own choice, as ever.
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAMConfig"] is None


def test_the_route_goes_before_the_container(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running(docker)
    monkeypatch.setattr(docker, "stop", Mock(side_effect=lambda _: PROXY.routes.setdefault("too late", "")))
    monkeypatch.setattr(docker, "remove_container", Mock())
    run(mine.stop)
    assert PROXY.routes == {"too late": ""}


def dead(docker: FakeDocker, **state: Any) -> Any:
    """A server that ended while it was in use."""
    mine = running(docker)
    docker.containers["jh-user-alice"]["State"].update(Running=False, **state)
    return mine


def test_the_route_of_a_server_that_ended_goes_first(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = dead(docker, ExitCode=0)
    monkeypatch.setattr(docker, "logs", Mock(side_effect=lambda *_, **__: f"routes: {PROXY.routes}".encode()))
    run(mine.poll)
    assert "routes: {}" in caplog.text


@pytest.mark.parametrize("what", ["logs", "stop", "remove_container"])
def test_a_server_that_ended_does_not_stay_since_docker_refuses_something(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    mine = dead(docker, ExitCode=3)
    monkeypatch.setattr(docker, what, Mock(side_effect=APIError("refused", response=Mock(status_code=500))))
    assert "ExitCode=3" in run(mine.poll)
    assert "cannot be re" in caplog.text
    assert bool(docker.containers) == (what != "logs")


def test_a_container_that_an_administrator_restarts_is_not_removed(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = dead(docker, ExitCode=0)
    monkeypatch.setattr("jupyterhub_ansible.spawner.recovery._RESTART_S", 0.3)
    docker.stop("jh-user-alice")

    async def scenario() -> Any:
        looking = asyncio.create_task(mine.poll())
        await asyncio.sleep(0.1)
        # Nobody is led there meanwhile.
        assert PROXY.routes == {}
        docker.start("jh-user-alice")
        return await looking

    assert run(scenario) is None
    assert (mine.ended, PROXY.routes) == ("", {mine.proxy_spec: "127.0.0.1"})


def test_why_a_server_ended_outlives_it_until_the_next_start(docker: FakeDocker) -> None:
    mine = dead(docker, ExitCode=137, OOMKilled=True)
    run(mine.poll)
    mine.clear_state()
    # JupyterHub makes a new spawner of what it stored.
    successor = spawner()
    successor.load_state(mine.get_state())
    assert successor.ended == "It ran out of memory: its limit is 64 MB."
    run(successor.start)
    assert successor.ended == ""
    assert "ended" not in successor.get_state()


def test_a_container_that_was_removed_is_why_it_ended(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers.clear()
    assert run(mine.poll) == 0
    assert (mine.ended, PROXY.routes) == (failures.REMOVED, {})


def test_a_start_that_failed_tells_for_itself(docker: FakeDocker) -> None:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=1)
    run(mine.poll)
    assert mine.ended == ""


def test_a_container_of_another_hub_is_not_the_one_that_was_started(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.stop("jh-user-alice")
    docker.remove_container("jh-user-alice", v=True)
    # The database is an older copy: a Hub that came later started this one.
    docker.create_container("x/base:1", labels("jh", "user-server", "alice", ""), "jh-user-alice")
    docker.start("jh-user-alice")
    assert run(mine.poll) == 0
    assert docker.containers["jh-user-alice"]["State"]["Running"]
    assert PROXY.routes == {}


# --- asked again before each use


def test_a_server_is_where_the_engine_says(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = running(docker)
    assert run(mine.misplaced) == ""
    mine.server.ip = "127.0.0.9"
    assert "has 127.0.0.1, not 127.0.0.9" in run(mine.misplaced)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=requests.ConnectionError("refused")))
    assert "cannot be asked" in run(mine.misplaced)
    monkeypatch.setattr(docker, "inspect_container", Mock(side_effect=NotFound("no such container")))
    assert "is gone" in run(mine.misplaced)


def test_servers_that_are_not_where_they_should_be_are_looked_at(docker: FakeDocker) -> None:
    mine = running(docker)
    mine.addresses.release("jh-user-alice")
    mine.poll_and_notify = Mock(side_effect=AssertionError)
    run(lambda: mine.look_for([mine]))
    # One that an older Hub started is in the table from now on.
    assert not mine.addresses.keep("jh-user-bob", "127.0.0.1")
    docker.stop("jh-user-alice")
    looked = []

    async def poll() -> None:
        looked.append("alice")

    mine.poll_and_notify = poll
    run(lambda: mine.look_for([mine]))
    assert looked == ["alice"]


def test_a_server_of_which_jupyterhub_could_not_tell_the_proxy_does_not_stay(docker: FakeDocker) -> None:
    """Upstream forgets whom to call before it calls them."""
    mine = dead(docker, ExitCode=0)
    stopped = []

    async def stop(server: str) -> None:
        stopped.append(server)
        mine._stop_pending = True

    mine.user.stop = stop
    assert mine._callbacks == []
    run(mine.poll_and_notify)
    assert stopped == [""]


@pytest.mark.parametrize("when", ["containers", "inspect_container", "logs"])
def test_what_is_known_of_a_server_that_ended_does_not_end_the_next_one(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """JupyterHub makes another spawner for it, and both have the new server; the old one is still being looked at."""
    mine = dead(docker, ExitCode=0)
    done: list[str] = []

    async def stop(server: str) -> None:
        done.append(server)

    mine.user.stop = stop
    mine.add_poll_callback(done.append, "told")

    def replaced(method: str, *_: Any, **__: Any) -> Any:
        if method == when:
            successor = spawner()
            mine.user.spawners[""] = successor
            mine.in_the_database = successor.in_the_database = SimpleNamespace(base_url="/user/alice/", ip="127.0.0.9")
            PROXY.routes = {mine.proxy_spec: "127.0.0.9"}
        return call(method, *_, **__)

    call = mine._docker
    mine._docker = replaced
    run(lambda: mine.look_for([mine]))
    assert (done, PROXY.routes) == ([], {mine.proxy_spec: "127.0.0.9"})
    assert mine.server.ip == "127.0.0.9"


def test_servers_that_are_lost_are_looked_at_side_by_side(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    """One that hangs, or fails, holds up no other one."""
    members = [spawner(f"user{number}") for number in range(3)]
    team(*members)
    slow, failing, last = members
    hung = asyncio.Event()

    async def unhang() -> None:
        hung.set()

    last.poll_and_notify = unhang
    slow.poll_and_notify, failing.poll_and_notify = hung.wait, Mock(side_effect=ValueError("unforeseen"))
    slow.log = logging.getLogger("spawner")
    run(lambda: asyncio.wait_for(slow.look_for(members), 5))
    assert "unforeseen" in caplog.text


def test_the_route_goes_where_a_start_by_the_api_finds_that_a_server_ended(docker: FakeDocker) -> None:
    mine = dead(docker, ExitCode=0)
    # So that nobody else starts it meanwhile; a start that is under way has a future besides.
    mine._spawn_pending = True
    run(mine.poll)
    assert PROXY.routes == {}


@pytest.mark.parametrize("first", [None, ValueError("unforeseen")])
def test_what_ends_while_it_is_looked_at_is_looked_at_once_more(
    docker: FakeDocker, first: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Also for those who ask meanwhile: to JupyterHub, None means that it runs, and cannot be started."""
    mine = running(docker)
    looks: list[int] = []
    asked: list[asyncio.Task[Any]] = []

    async def poll() -> int | None:
        looks.append(len(looks))
        if len(looks) == 1:
            # An event, from Docker's thread.
            asked.append(asyncio.create_task(mine.poll_and_notify()))
            await asyncio.sleep(0)
            if first:
                raise first
            return None
        return 3

    async def both() -> list[Any]:
        return [await mine.poll_and_notify(), await asked[0], mine._look]

    mine.poll = poll
    mine._stop_pending = True
    assert run(both) == [3, 3, None]
    assert looks == [0, 1]
    assert ("unforeseen" in caplog.text) == bool(first)


def test_a_look_goes_on_where_whoever_asked_for_it_leaves(docker: FakeDocker) -> None:
    mine = dead(docker, ExitCode=3)
    mine._stop_pending = True

    async def scenario() -> Any:
        leaving = asyncio.create_task(mine.poll_and_notify())
        await asyncio.sleep(0)
        leaving.cancel()
        return await mine.poll_and_notify()

    assert "ExitCode=3" in run(scenario)


def test_why_it_ended_is_not_that_the_hub_removed_its_container(docker: FakeDocker) -> None:
    mine = dead(docker, ExitCode=0)
    mine.remove = False
    run(mine.poll)
    docker.containers.clear()
    assert run(mine.poll) == 0
    assert "was shut down" in mine.ended


@pytest.mark.parametrize("traits", [{"use_internal_ip": False}, {"use_internal_hostname": True}])
def test_servers_that_are_reached_by_a_port_or_a_name_only_have_to_run(
    docker: FakeDocker, traits: dict[str, bool]
) -> None:
    mine = running(docker)
    mine.set_trait("use_internal_ip", traits.get("use_internal_ip", True))
    mine.set_trait("use_internal_hostname", traits.get("use_internal_hostname", False))
    mine.server.ip = "elsewhere"
    assert run(mine.misplaced) == ""
    docker.stop("jh-user-alice")
    assert "does not run" in run(mine.misplaced)
