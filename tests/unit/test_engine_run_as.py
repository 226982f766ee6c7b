"""The user that a container runs as: a number, and never root."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from fake_spawner import FakeDocker, run, spawner
from jupyterhub_ansible.engine import run_as
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.limits import HARDENING


@pytest.mark.parametrize(
    ("user", "runs_as"),
    [("1000", "1000"), ("1000:100", "1000:100"), ("jovyan", "1000"), ("jovyan:users", "1000:users"), ("+07", "7")],
)
def test_server_runs_with_a_numeric_user(docker: FakeDocker, user: str, runs_as: str) -> None:
    """By the time that the container is created, the image could differ, and with it the meaning of a name."""
    docker.image_users["x/base:1"] = user
    docker.uids = {"jovyan": "1000", "jovyan:users": "1000"}
    run(spawner().start)
    assert docker.containers["jh-user-alice"]["options"]["user"] == runs_as


@pytest.mark.parametrize("user", ["", "0", "00", "0:0", "-0", ":100", "root", "toor", "0x0", "gone", "odd"])
@pytest.mark.parametrize("administrators", [False, True])
def test_root_is_refused(docker: FakeDocker, user: str, administrators: bool) -> None:
    """However it is written; so are users whose uid cannot be determined."""
    docker.uids = {"root": "0", "toor": "0", "odd": "uid=1000"}
    docker.image_users["x/base:1"] = "1000" if administrators and user else user
    extra = {"user": user} if administrators else {}
    with pytest.raises(SpawnError) as error:
        run(spawner(extra_create_kwargs=extra).start)
    assert "would not run as an ordinary user" in error.value.jupyterhub_message
    assert error.value.reason == "root"
    assert "USER 1000" in error.value.log_message
    where = "hub_traits: DockerSpawner.extra_create_kwargs.user" if administrators and user else "image x/base:1"
    assert where in error.value.log_message
    assert docker.containers == {}, "the container that was asked is gone"
    assert docker.volumes == {}


@pytest.mark.parametrize(("given", "runs_as"), [(None, "1000"), ("", "1000"), (1001, "1001"), ("1001:100", "1001:100")])
def test_user_set_by_the_administrator(docker: FakeDocker, given: Any, runs_as: str) -> None:
    run(spawner(extra_create_kwargs={"user": given}).start)
    assert docker.containers["jh-user-alice"]["options"]["user"] == runs_as


def test_root_as_a_number(docker: FakeDocker) -> None:
    with pytest.raises(SpawnError):
        run(spawner(extra_create_kwargs={"user": 0}).start)


def test_freely_chosen_image_that_runs_as_root(docker: FakeDocker) -> None:
    """The user can fix it, so the message says how."""
    docker.images.add("r/mine:1")
    docker.image_users["r/mine:1"] = ""
    mine = spawner(free_images={"staff": ["r/*:*"]})
    mine.user.groups = [SimpleNamespace(name="staff")]
    mine.apply_user_options(mine, {"image": "r/mine:1"})
    with pytest.raises(SpawnError) as error:
        run(mine.start)
    assert "The image r/mine:1 runs as root" in error.value.jupyterhub_message
    assert "USER 1000" in error.value.jupyterhub_message
    assert error.value.status_code == 400


def test_name_is_resolved_once(docker: FakeDocker) -> None:
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


def test_hanging_id_command_is_the_images_fault(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It uses separate threads, and its log is limited."""
    docker.image_users["x/base:1"] = "bob"
    docker.uids = {"bob": "1000"}

    def wait(_: str, timeout: int) -> None:
        assert timeout <= 20
        assert threading.current_thread().name.startswith("docker-wait")
        raise requests.ReadTimeout

    monkeypatch.setattr(docker, "wait", wait)
    with pytest.raises(SpawnError, match="x/base:1") as error:
        run(spawner().start)
    assert error.value.reason == "root"
    assert docker.containers == {}
    assert docker.probes[0]["host_config"]["LogConfig"]["Config"] == {"max-size": "1m"}


@pytest.mark.parametrize("user", ["9" * 5000, "bob\n", "9" * 11])
def test_non_numeric_user_is_resolved(user: str) -> None:
    assert run_as.number(user) is None
