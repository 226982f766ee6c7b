"""Volumes that mounts name: created by us, writable, and never changed if they are somebody else's."""

import asyncio
import logging
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from docker.errors import NotFound
from fake_spawner import BASE, FakeDocker, run, spawner
from jupyterhub_ansible.engine import calls
from jupyterhub_ansible.engine.labels import KIND, PROJECT, USER
from jupyterhub_ansible.settings.model import Mount
from jupyterhub_ansible.spawner import mounted_volumes
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.home_archives import HomesError
from jupyterhub_ansible.spawner.home_volumes import HomeSpawner

OURS = {PROJECT: "jh", KIND: "mount"}


class Client:
    """Docker's volumes, as {name: labels}, and what the helper finds."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.volumes = SimpleNamespace(get=self._get, create=lambda name, labels: self.found.update({name: labels}))
        self.created = "earlier"
        self.said = "1000 755"
        self.ran: list[tuple[str, ...]] = []

    def _get(self, name: str) -> Any:
        if name not in self.found:
            raise NotFound("no such volume")
        return SimpleNamespace(attrs={"Labels": self.found[name], "CreatedAt": self.created})

    def run(self, client: Any, project: str, script: str, argument: str, volumes: dict[str, str], *caps: str) -> str:
        if not self.said:
            raise HomesError("no helper")
        self.ran.append((argument, *volumes, *volumes.values(), *caps))
        return self.said


@pytest.fixture
def client(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Client:
    fake = Client()
    monkeypatch.setattr(HomeSpawner, "whole_client", fake)
    monkeypatch.setattr(mounted_volumes, "run_as_root", fake.run)
    monkeypatch.setattr(HomeSpawner, "_looked_at", set())
    return fake


def start(caplog: pytest.LogCaptureFixture | None = None, **traits: Any) -> str:
    mine = spawner(**traits)
    mine.log = logging.getLogger("spawner")
    run(mine.start)
    run(mine.stop)
    return caplog.text if caplog else ""


@pytest.mark.parametrize(
    "traits",
    [
        {"volumes": {"shared": "/shared", "/srv/data": "/data"}},
        {"mounts": [{"source": "shared", "target": "/shared", "type": "volume"}]},
    ],
)
def test_a_missing_volume_is_created_once_and_given_to_the_server(client: Client, traits: dict[str, Any]) -> None:
    start(**traits)
    start(**traits)
    assert client.found == {"shared": OURS}
    assert client.ran == [("1000", "shared", "/volume", "CHOWN")]


def test_the_image_s_folder_is_not_copied_into_a_volume(client: Client, docker: FakeDocker) -> None:
    """Its owner neither: Docker would give the volume back to root at each start while it is empty."""
    mounts = [
        {"source": "a", "target": "/a", "type": "volume"},
        {"source": "b", "target": "/b", "no_copy": False, "labels": {"x": "y"}},
        {"source": "/srv/c", "target": "/c", "type": "bind"},
        {"source": "", "target": "/t", "type": "tmpfs"},
    ]
    run(spawner(volumes={"d": "/d", "/srv/e": "/e"}, read_only_volumes={"f": "/f"}, mounts=mounts).start)
    [container] = docker.containers.values()
    host = container["options"]["host_config"]
    home = "jh-user-alice:/home/jovyan:rw"
    assert {*host["Binds"]} == {"d:/d:rw,nocopy", "/srv/e:/e:rw", "f:/f:ro,nocopy", home}
    options = [mount.get("VolumeOptions") for mount in host["Mounts"]]
    assert options == [{"NoCopy": True}, {"Labels": {"x": "y"}}, None, None]


def test_a_volume_with_the_user_s_name_is_theirs_alone(client: Client) -> None:
    """By its label it goes with the user, and nobody else gets it."""
    mounts = (Mount(source="of-{username}", target="/of", read_only=False), Mount(source="shared", target="/shared"))
    environment = BASE.model_copy(update={"mounts": mounts})
    for user in ("alice", "bob"):
        mine = spawner(user, profiles={"base": environment})
        run(mine.start)
        run(mine.stop)
    owned = {f"of-{user}": {**OURS, USER: user} for user in ("alice", "bob")}
    assert client.found == {**owned, "shared": OURS}


def test_a_volume_that_servers_only_read_is_created_but_not_given_away(client: Client) -> None:
    start(read_only_volumes={"shared": "/shared"})
    assert client.found == {"shared": OURS}
    assert client.ran == []


@pytest.mark.parametrize("labels", [None, {PROJECT: "another", KIND: "mount"}, {PROJECT: "jh", KIND: "home"}])
def test_a_foreign_volume_is_left_alone_and_the_command_is_named(
    client: Client, caplog: pytest.LogCaptureFixture, labels: Any
) -> None:
    client.found["shared"], client.said = labels, "0 755"
    said = start(caplog, volumes={"shared": "/shared"})
    assert client.ran == [("1000", "shared", "/volume:ro")], "no capability, read-only"
    assert client.found == {"shared": labels}
    assert "does not carry this Hub's label" in said
    assert "sudo chown -R 1000 \"$(sudo docker volume inspect --format '{{.Mountpoint}}' shared)\"" in said


@pytest.mark.parametrize("kind", ["mount", "home"])
def test_another_user_s_volume_is_not_mounted(client: Client, docker: FakeDocker, kind: str) -> None:
    client.found["data-x"] = {PROJECT: "jh", KIND: kind, USER: "bob"}
    with pytest.raises(SpawnError) as error:
        start(volumes={"data-x": "/data"})
    assert error.value.reason == "volume-taken"
    assert not docker.containers


@pytest.mark.parametrize("said", ["1000 755", "0 777", "0 1777", "0 775"])
def test_a_foreign_volume_that_servers_can_write_to_is_fine(
    client: Client, caplog: pytest.LogCaptureFixture, said: str
) -> None:
    client.found["shared"], client.said = None, said
    assert "shared" not in start(caplog, volumes={"shared": "/shared"})


def test_without_a_helper_the_server_starts(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.said = ""
    assert "the volume shared could not be prepared: no helper" in start(caplog, volumes={"shared": "/shared"})


def test_a_volume_is_looked_at_again_after_a_failure(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.said = ""
    start(volumes={"shared": "/shared"})
    client.said = "1000 755"
    start(volumes={"shared": "/shared"})
    assert client.ran == [("1000", "shared", "/volume", "CHOWN")]


def test_a_volume_that_was_removed_and_created_again_is_given_to_the_server(client: Client) -> None:
    start(volumes={"shared": "/shared"})
    del client.found["shared"]
    client.created = "later"
    start(volumes={"shared": "/shared"})
    assert client.ran == 2 * [("1000", "shared", "/volume", "CHOWN")]


def test_two_first_starts_wait_for_the_same_volume(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one's server would find the volume still root's."""
    running, most, done = 0, 0, threading.Event()

    def slow(*_: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.2)
        running -= 1
        client.ran.append(())
        done.set()
        return "1000 755"

    monkeypatch.setattr(mounted_volumes, "run_as_root", slow)
    ready = []

    async def one() -> None:
        await spawner(volumes={"shared": "/shared"})._ensure_mounted_volumes(1000)
        ready.append(done.is_set())

    async def both() -> None:
        await asyncio.gather(one(), one())

    run(both)
    assert (most, len(client.ran), ready) == (1, 1, [True, True])


def test_those_who_wait_for_a_volume_hold_no_thread(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others would wait for a thread, and so for a volume that is not theirs."""
    monkeypatch.setattr(calls, "VOLUMES", ThreadPoolExecutor(2))
    other_is_ready = threading.Event()

    def helper(client: Any, project: str, script: str, argument: str, volumes: dict[str, str], *_: str) -> str:
        if "slow" in volumes:
            assert other_is_ready.wait(20)
        return "1000 755"

    async def start_of_the_other() -> None:
        await spawner(volumes={"other": "/other"})._ensure_mounted_volumes(1000)
        other_is_ready.set()

    async def all_of_them() -> None:
        waiting = [spawner(volumes={"slow": "/slow"})._ensure_mounted_volumes(1000) for _ in range(3)]
        await asyncio.gather(*waiting, start_of_the_other())

    monkeypatch.setattr(mounted_volumes, "run_as_root", helper)
    run(all_of_them)
    assert client.found == {"slow": OURS, "other": OURS}


def test_helpers_do_not_occupy_the_threads_of_starts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def helper(*_: Any) -> str:
        threads.append(threading.current_thread().name)
        return "1000 755"

    monkeypatch.setattr(mounted_volumes, "run_as_root", helper)
    start(volumes={"shared": "/shared"})
    assert [each.rpartition("_")[0] for each in threads] == ["docker-volume"]


def test_nfs_is_the_other_side_s(client: Client) -> None:
    nfs = {"Name": "local", "Options": {"type": "nfs", "o": "addr=192.0.2.5", "device": ":/x"}}
    start(mounts=[{"source": "n", "target": "/n", "type": "volume", "driver_config": nfs}])
    assert client.found == {}


@pytest.mark.parametrize(("files", "owner"), [([], "1000"), (["a"], "0")])
def test_only_an_empty_volume_of_root_is_given_away(tmp_path: Path, files: list[str], owner: str) -> None:
    """The script itself, with stand-ins for stat and chown."""
    for name in files:
        (tmp_path / name).touch()
    chown = "chown() { owner=$1; }; stat() { case $2 in %u) echo $owner ;; *) echo $owner 755 ;; esac; }; owner=0; "
    script = chown + mounted_volumes._OWN.replace("/volume", str(tmp_path))
    done = subprocess.run(["sh", "-c", script, "sh", "1000"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{owner} 755\n"


def test_an_unexpected_answer_is_an_error() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mounted_volumes, "run_as_root", Mock(return_value="stat: no such file"))
        with pytest.raises(HomesError, match="owner cannot be found"):
            mounted_volumes.make_writable(Mock(), "jh", "shared", 1000, ours=True)
