"""A spawner of users' servers with stand-ins for Docker and the proxy, for unit tests."""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

from docker.errors import APIError, NotFound
from docker.types import HostConfig
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.settings.model import Environment
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from traitlets.config import Config

GB = 1024**3
BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
OTHER = BASE.model_copy(update={"slug": "other", "image": "x/other:1", "default_url": "/tree", "home": "/data"})


class Containers(dict[str, dict[str, Any]]):
    """Containers by name; callable like docker.APIClient.containers, which lists them."""

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
        # Output of `id -u`, by user.
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
            # As moby 26.1 answers after a restart of the engine.
            return {"Name": name, "Labels": None}
        self.volumes[name] = {"Name": name, "Labels": labels}
        return self.volumes[name]

    def inspect_volume(self, name: str) -> dict[str, Any]:
        return self.volumes[name]


class FakeProxy:
    """The proxy's API: the address of each route."""

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


PROXY = FakeProxy()


class Spawner(UserServerSpawner):
    """A spawner without a running Hub, and without waiting for a server to answer."""

    def __init__(self, **kwargs: Any) -> None:
        # It has no address until the start is complete.
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


def foreign_container(docker: FakeDocker, name: str, found: dict[str, str] | None) -> str:
    docker.create_container("x/base:1", labels=found, name=name)
    docker.start(name)
    return str(docker.containers[name]["Id"])


FOREIGN_LABELS = [
    None,
    {},
    labels("jh", "user-server", "bob", ""),
    labels("another", "user-server", "alice", ""),
    labels("jh", "hub", "alice", ""),
]


def running_server(docker: FakeDocker) -> Any:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    mine.server.ip, _ = run(mine.start)
    mine.user.spawners[""] = mine
    run(lambda: PROXY.add_user(mine.user, ""))
    return mine


def events_of(mine: Any) -> list[tuple[int, str]]:
    return [(event["progress"], event["message"]) for event in mine._progress._events]


def same_hub(*members: Any) -> None:
    """Make these spawners the users of one Hub."""
    for member in members:
        member.user.spawners[member.name] = member
        member.user.settings["users"].update({each.user.name: each.user for each in members})


def ended_server(docker: FakeDocker, **state: Any) -> Any:
    """Return the spawner of a server that ended while in use."""
    mine = running_server(docker)
    docker.containers["jh-user-alice"]["State"].update(Running=False, **state)
    return mine
