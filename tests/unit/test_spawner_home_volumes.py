"""Home volumes: ownership, and what happens to those of deleted servers."""

import logging
import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from fake_spawner import FakeDocker, run, spawner
from jupyterhub_ansible.engine.labels import labels
from jupyterhub_ansible.spawner import mounted_volumes
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.home_archives import HomesError
from jupyterhub_ansible.spawner.spawner import UserServerSpawner


def test_a_stop_removes_the_container_and_keeps_the_home(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    run(mine.stop)
    assert not docker.containers
    assert docker.volumes


@pytest.mark.parametrize("found", [None, labels("jh", "home", "bob", ""), labels("another", "home", "alice", "")])
def test_foreign_volume_is_not_mounted(docker: FakeDocker, found: dict[str, str] | None) -> None:
    docker.volumes["jh-user-alice"] = {"Name": "jh-user-alice", "Labels": found}
    with pytest.raises(SpawnError) as error:
        run(spawner().start)
    assert error.value.reason == "home-taken"
    assert not docker.containers


def test_volumes_are_adopted_by_name_template(docker: FakeDocker) -> None:
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
    with pytest.raises(SpawnError):
        run(spawner(volume_name_template="u-{username}").start)


def test_one_home_for_all_servers(docker: FakeDocker) -> None:
    for server in ("", "one"):
        run(spawner(server=server, share_home=True).start)
    assert set(docker.containers) == {"jh-user-alice", "jh-user-alice--one"}
    assert set(docker.volumes) == {"jh-user-alice"}


def own_mounts(filters: dict[str, list[str]]) -> list[Any]:
    """Return what Docker lists: a volume that a mount with {username} named."""
    wanted = labels("jh", "mount", "alice", "")
    assert {*filters["label"]} == {f"{key}={value}" for key, value in wanted.items() if value}
    return [SimpleNamespace(name="cache-alice")]


def deleted(mine: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def dispose(client: Any, *rest: Any) -> str:
        calls.append(rest)
        return "done"

    monkeypatch.setattr("jupyterhub_ansible.spawner.home_archives.dispose", dispose)
    engine = SimpleNamespace(volumes=SimpleNamespace(list=own_mounts))
    monkeypatch.setattr(UserServerSpawner, "whole_client", engine)
    run(mine.delete_forever)
    return calls


def test_all_calls_go_to_one_engine(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the spawner, whose connection has options of its own; not that of the environment variables."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://192.0.2.1:2376")
    mine = spawner()
    assert mine.whole_client.api is mine.client is docker
    assert mine.whole_client.volumes.client is not None


def test_the_home_of_a_deleted_server(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = spawner(server="second", deleted_homes="archive")
    assert deleted(mine, monkeypatch) == [("jh", "alice", "jh-user-alice--second", "archive")]


@pytest.mark.parametrize("sharing", [{"share_home": True}, {"volume_name_template": "home-{username}"}])
def test_shared_home_stays(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, sharing: dict[str, Any]) -> None:
    assert deleted(spawner(server="second", deleted_homes="remove", **sharing), monkeypatch) == []
    # Deleting the default server means deleting the user.
    gone = [call[2] for call in deleted(spawner(deleted_homes="remove", **sharing), monkeypatch)]
    assert gone[:-1] == ["cache-alice"]


@pytest.mark.parametrize(("what", "gone"), [("keep", []), ("archive", ["cache-alice"]), ("remove", ["cache-alice"])])
def test_volumes_of_mounts_go_with_their_user(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, what: str, gone: list[str]
) -> None:
    """The home last, since it stays where something fails."""
    calls = deleted(spawner(deleted_homes=what), monkeypatch)
    assert calls == [("jh", "alice", volume, what) for volume in [*gone, "jh-user-alice"]]


class OfOneThread:
    """An object of the database, whose session only the event loop's thread may use."""

    def __init__(self, **values: Any) -> None:
        self._values, self._thread = values, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        if threading.get_ident() != self._thread:
            pytest.fail(f"{name} is read in another thread")
        return self._values[name]


def in_the_database(mine: Any) -> Any:
    """Let the user and the server of a spawner be of one thread."""
    mine.user = OfOneThread(**vars(mine.user))
    mine.orm_spawner = OfOneThread(**vars(mine.orm_spawner))
    return mine


def test_threads_do_not_use_the_database(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deleted(in_the_database(spawner(deleted_homes="remove")), monkeypatch), "a home is disposed of"
    ensured = Mock(return_value=(True, 0))
    monkeypatch.setattr(mounted_volumes, "ensure", ensured)
    monkeypatch.setattr(mounted_volumes, "make_writable", Mock(return_value=""))
    mine = in_the_database(spawner(volumes={"cache": "/cache"}))
    run(lambda: mine._ensure_mounted_volumes(1000))
    assert ensured.call_args.args[2:] == ("cache", "alice")
    ensured.side_effect = mounted_volumes.TakenError
    with pytest.raises(SpawnError) as error:
        run(lambda: mine._ensure_mounted_volumes(1000))
    assert error.value.reason == "volume-taken"


def test_home_of_a_user_with_a_running_server_stays(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # The Hub does not delete that user (User.delete_spawners).
    mine, second = spawner(deleted_homes="remove"), spawner(server="second")
    mine.log = logging.getLogger("spawner")
    second.in_the_database.ip = "127.0.0.1"
    mine.user.spawners.update({"": mine, "second": second})
    assert deleted(mine, monkeypatch) == []
    assert "the server second of its user runs" in caplog.text


def test_leftover_container_does_not_block_the_deletion_of_a_home(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(spawner().start)
    deleted(spawner(deleted_homes="remove"), monkeypatch)
    assert not docker.containers


def test_server_with_its_own_home_cannot_be_renamed(docker: FakeDocker) -> None:
    with pytest.raises(SpawnError, match="display name") as error:
        run(lambda: spawner(server="old").rename("old", "new"))
    assert error.value.status_code == 400
    run(lambda: spawner(server="old", share_home=True).rename("old", "new"))


def test_failed_deletion_of_a_home_is_logged(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "jupyterhub_ansible.spawner.home_archives.dispose", Mock(side_effect=HomesError("the disk is full"))
    )
    engine = SimpleNamespace(volumes=SimpleNamespace(list=own_mounts))
    monkeypatch.setattr(UserServerSpawner, "whole_client", engine)
    mine = spawner(deleted_homes="archive")
    mine.log = logging.getLogger("spawner")
    run(mine.delete_forever)
    assert "its home stays, the volume jh-user-alice: the disk is full" in caplog.text


def test_server_cannot_start_while_its_home_is_being_deleted(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserServerSpawner, "_disposing", {"jh-user-alice"})
    with pytest.raises(SpawnError, match="deleted"):
        run(spawner().start)
    assert not docker.containers
