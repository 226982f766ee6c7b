"""The spawner against a stand-in for Docker: it touches only what is its user's."""

import asyncio
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from docker.errors import APIError, NotFound
from docker.types import HostConfig
from jupyterhub_ansible.failures import ServerError
from jupyterhub_ansible.labels import labels
from jupyterhub_ansible.settings import Environment
from jupyterhub_ansible.spawner import UserServerSpawner
from traitlets.config import Config

GB = 1024**3
BASE = Environment(slug="base", title="Base", description="", image="x/base:1", default_url="/lab", home="/home/jovyan")
OTHER = BASE.model_copy(update={"slug": "other", "image": "x/other:1", "default_url": "/tree", "home": "/data"})


class FakeDocker:
    """The few calls of docker.APIClient that a spawner makes, with Docker's answers."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.images = {"x/base:1", "x/other:1"}
        self.networks = {"users"}
        self.log = b"the last words"
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
        return {"Config": {"Cmd": ["serve"]}}

    def inspect_container(self, name_or_id: str) -> dict[str, Any]:
        return self._find(name_or_id)

    def create_host_config(self, **options: Any) -> Any:
        return HostConfig(version="1.41", **options)

    def create_container(self, name: str, labels: dict[str, str] | None, **options: Any) -> dict[str, Any]:
        if name in self.containers:
            raise APIError("name in use", response=Mock(status_code=409))
        self.containers[name] = {
            "Id": f"id-of-{name}-{next(self._ids)}",
            "Config": {"Labels": labels, "Env": []},
            "State": {"Running": False, "ExitCode": 0, "Error": "", "FinishedAt": ""},
            "NetworkSettings": {"Networks": {"users": {"IPAddress": "127.0.0.1"}}},
            "options": options,
        }
        return self.containers[name]

    def start(self, name_or_id: str) -> None:
        self._find(name_or_id)["State"]["Running"] = True

    def stop(self, name_or_id: str) -> None:
        self._find(name_or_id)["State"]["Running"] = False

    def remove_container(self, name_or_id: str, v: bool) -> None:
        container = self._find(name_or_id)
        if container["State"]["Running"]:
            raise APIError("is running", response=Mock(status_code=409))
        self.containers = {name: other for name, other in self.containers.items() if other is not container}

    def connect_container_to_network(self, name_or_id: str, network: str) -> None:
        if network not in self.networks:
            raise NotFound("no such network", response=Mock(status_code=404))
        address = f"127.0.0.{next(self._ids) + 2}"
        self._find(name_or_id)["NetworkSettings"]["Networks"][network] = {"IPAddress": address}

    def logs(self, name_or_id: str, tail: int) -> bytes:
        self._find(name_or_id)
        return self.log

    def create_volume(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        if name in self.volumes:
            # What moby 26.1 answers after a restart of the engine.
            return {"Name": name, "Labels": None}
        self.volumes[name] = {"Name": name, "Labels": labels}
        return self.volumes[name]

    def inspect_volume(self, name: str) -> dict[str, Any]:
        return self.volumes[name]


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> FakeDocker:
    fake = FakeDocker()
    monkeypatch.setattr(UserServerSpawner, "_client", fake)
    monkeypatch.setattr(UserServerSpawner, "_engine", None)
    return fake


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
        user=SimpleNamespace(name=user, url=f"/user/{user}/", spawners={}, settings={"users": {}}),
        orm_spawner=SimpleNamespace(name=server, server=None),
        config=Config({"UserServerSpawner": settings}),
    )
    made.apply_user_options(made, {})
    return made


def run(call: Callable[[], Awaitable[Any]]) -> Any:
    async def inside_a_loop() -> Any:
        return await call()

    return asyncio.run(inside_a_loop())


def stranger(docker: FakeDocker, name: str, found: dict[str, str] | None) -> str:
    docker.create_container(name, labels=found)
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


def test_limits_and_hardening_under_what_the_administrator_sets(docker: FakeDocker) -> None:
    extra = {"shm_size": 5, "security_opt": ["label=disable"]}
    run(spawner(pids_limit=7, extra_host_config=extra, extra_create_kwargs={"labels": {"team": "x"}}).start)
    container = docker.containers["jh-user-alice"]
    host = container["options"]["host_config"]
    assert (host["Memory"], host["MemorySwap"]) == (1024**3, 1024**3)
    assert (host["PidsLimit"], host["CapDrop"], host["Init"]) == (7, ["ALL"], True)
    assert (host["ShmSize"], host["SecurityOpt"]) == (5, ["label=disable"])
    assert container["Config"]["Labels"] == {**labels("jh", "user-server", "alice", ""), "team": "x"}


def test_no_new_privileges(docker: FakeDocker) -> None:
    run(spawner().start)
    host = docker.containers["jh-user-alice"]["options"]["host_config"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
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
    assert "stored choice not usable, taking base" in caplog.text


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
    assert "ExitCode=3" in run(mine.poll)
    assert "the last words" in caplog.text
    assert not docker.containers


def running(docker: FakeDocker) -> Any:
    mine = spawner()
    mine.log = logging.getLogger("spawner")
    mine.server.ip, _ = run(mine.start)
    return mine


def test_a_server_that_was_taken_off_the_network_is_put_back(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    # Not at once, but where the Hub starts: a deployment may be at it.
    assert run(mine.poll) is None
    assert docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] == {}
    assert run(mine.poll) is None
    networks = docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]
    assert mine.server.ip == networks["users"]["IPAddress"] != "127.0.0.1"
    mine.db.commit.assert_called_once()


def test_a_hub_that_starts_puts_a_server_back_at_once(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    mine._check_pending = True
    assert run(mine.poll) is None
    assert mine.server.ip == docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"]


def test_a_server_whose_address_changed_is_followed(docker: FakeDocker) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"]["users"]["IPAddress"] = "127.0.0.9"
    assert run(mine.poll) is None
    assert mine.server.ip == "127.0.0.9"
    mine.db.commit.assert_called_once()


def test_a_server_is_not_taken_for_dead_while_the_network_is_gone(
    docker: FakeDocker, caplog: pytest.LogCaptureFixture
) -> None:
    mine = running(docker)
    docker.containers["jh-user-alice"]["NetworkSettings"]["Networks"] = {}
    docker.networks = set()
    mine._check_pending = True
    assert run(mine.poll) is None
    assert "cannot be put back" in caplog.text
    assert mine.server.ip == "127.0.0.1"
    mine.db.commit.assert_not_called()


# --- readiness, against a server that listens


def wait(statuses: list[int], mine: Any) -> None:
    """Let `mine` wait for a server that answers with these statuses, the last one from then on."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=statuses.pop(0) if len(statuses) > 1 else statuses[0])

    async def both() -> None:
        app = web.Application()
        app.router.add_get("/user/alice/api", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}/user/alice/api")
        finally:
            await runner.cleanup()

    asyncio.run(both())


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


def test_a_slow_stop_does_not_hold_up_other_users(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    unblock = threading.Event()
    monkeypatch.setattr(docker, "stop", lambda name_or_id: unblock.wait(10))

    async def scenario() -> None:
        bob = spawner("bob")
        await bob.start()
        stopping = asyncio.ensure_future(bob.stop_object())
        try:
            await asyncio.wait_for(spawner("alice").start(), timeout=5)
            assert not stopping.done()
        finally:
            unblock.set()
            await stopping

    asyncio.run(scenario())
