"""The mounts of shared folders: which, decided at the start, and what a running server has that its user lost."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from docker.errors import NotFound
from fake_spawner import FakeDocker, run, spawner
from jupyterhub_ansible.engine.labels import KIND, PROJECT, USER
from jupyterhub_ansible.settings.model import SharedFolder
from jupyterhub_ansible.shared_folders import spawner as shared
from jupyterhub_ansible.spawner import mounted_volumes
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.home_volumes import HomeSpawner

OURS = {PROJECT: "jh", KIND: "shared-folder"}
LAB = SharedFolder(slug="lab", title="The Lab", groups=frozenset({"acme:lab"}), at_once=True)
COURSE = SharedFolder(slug="course", source="/srv/course", read_all=True)


class Volumes:
    """Docker's volumes, as {name: labels}, and what the helper was asked for."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.volumes = SimpleNamespace(get=self._get, create=lambda name, labels: self.found.update({name: labels}))
        self.ran: list[tuple[str, ...]] = []

    def _get(self, name: str) -> Any:
        if name not in self.found:
            raise NotFound("no such volume")
        return SimpleNamespace(attrs={"Labels": self.found[name], "CreatedAt": "now"})

    def run(self, client: Any, project: str, script: str, argument: str, volumes: dict[str, str], *caps: str) -> str:
        self.ran.append((argument, *volumes))
        return "1000 755"


@pytest.fixture
def volumes(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> Volumes:
    fake = Volumes()
    monkeypatch.setattr(HomeSpawner, "whole_client", fake)
    monkeypatch.setattr(mounted_volumes, "run_as_root", fake.run)
    monkeypatch.setattr(HomeSpawner, "_looked_at", set())
    return fake


def member(*groups: str, **traits: Any) -> Any:
    made = spawner(**{"shared_folders": [LAB, COURSE], **traits})
    made.user.groups = [SimpleNamespace(name=each) for each in groups]
    made.log = logging.getLogger("spawner")
    return made


def mounts(docker: FakeDocker) -> list[tuple[str, str, str, bool]]:
    [container] = docker.containers.values()
    found = container["options"]["host_config"].get("Mounts") or []
    return [(each["Type"], each["Source"], each["Target"], each["ReadOnly"]) for each in found]


def test_members_get_what_they_may_use(docker: FakeDocker, volumes: Volumes) -> None:
    run(member("acme:lab").start)
    assert mounts(docker) == [
        ("volume", "jh--shared-lab", "/srv/shared/lab", False),
        ("bind", "/srv/course", "/srv/shared/course", True),
    ]
    assert volumes.found == {"jh--shared-lab": OURS}
    assert volumes.ran == [("1000", "jh--shared-lab")]


def test_others_get_only_what_is_for_everybody(docker: FakeDocker, volumes: Volumes) -> None:
    run(member("acme:other").start)
    assert mounts(docker) == [("bind", "/srv/course", "/srv/shared/course", True)]
    assert volumes.found == {}


def test_a_volume_is_the_users_of_our_images_whoever_starts_first(docker: FakeDocker, volumes: Volumes) -> None:
    docker.image_users["x/base:1"] = "1234"
    run(member("acme:lab").start)
    assert volumes.ran == [("1000", "jh--shared-lab")]


@pytest.mark.parametrize(
    "labels", [None, {PROJECT: "jh", KIND: "mount"}, {**OURS, PROJECT: "other"}, {**OURS, USER: "bob"}]
)
def test_a_volume_that_is_not_ours_is_left_alone(
    docker: FakeDocker, volumes: Volumes, labels: dict[str, str] | None
) -> None:
    volumes.found["jh--shared-lab"] = labels
    with pytest.raises(SpawnError) as error:
        run(member("acme:lab").start)
    assert error.value.reason == "folder-taken"
    assert "has the name of the shared folder The Lab" in error.value.jupyterhub_message
    assert not docker.containers
    assert volumes.ran == []


class Provider:
    """An authenticator that can be asked about a user at any time."""

    def __init__(self, *groups: str) -> None:
        self.groups = groups
        self.asked = 0
        self.stays = True
        self.error: Exception | None = None

    async def may_stay(self, user: Any) -> bool:
        self.asked += 1
        if self.error:
            raise self.error
        user.groups = [SimpleNamespace(name=each) for each in self.groups]
        return self.stays


def test_groups_of_the_moment_count(docker: FakeDocker, volumes: Volumes) -> None:
    """Not those of the last check of membership: who has left gets nothing, who has joined need not log in again."""
    left, joined = member("acme:lab"), member()
    left.authenticator, joined.authenticator = Provider(), Provider("acme:lab")
    run(left.start)
    assert [each[2] for each in mounts(docker)] == ["/srv/shared/course"]
    run(left.stop)
    run(joined.start)
    assert [each[2] for each in mounts(docker)] == ["/srv/shared/lab", "/srv/shared/course"]


def test_who_may_not_be_in_any_more_starts_nothing(docker: FakeDocker, volumes: Volumes) -> None:
    gone = member("acme:lab")
    gone.authenticator = Provider()
    gone.authenticator.stays = False
    with pytest.raises(SpawnError) as error:
        run(gone.start)
    assert error.value.reason == "membership"
    assert not docker.containers


@pytest.mark.parametrize("error", [TimeoutError(), OSError("broken")])
def test_without_an_answer_the_last_one_counts(
    docker: FakeDocker, volumes: Volumes, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    mine = member("acme:lab")
    mine.authenticator = Provider()
    mine.authenticator.error = error
    run(mine.start)
    assert mounts(docker)[0][2] == "/srv/shared/lab"
    assert "groups cannot be asked for" in caplog.text


def test_a_start_does_not_wait_for_an_answer(
    docker: FakeDocker, volumes: Volumes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(user: Any) -> bool:
        await asyncio.sleep(60)
        return False

    monkeypatch.setattr(shared, "ANSWER_S", 0.05)
    mine = member("acme:lab")
    mine.authenticator = SimpleNamespace(may_stay=never)
    run(mine.start)
    assert mounts(docker)[0][2] == "/srv/shared/lab"


@pytest.mark.parametrize("at_once", [True, False])
def test_who_loses_a_folder_during_the_start_does_not_get_in_with_it(
    docker: FakeDocker, volumes: Volumes, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    mine = member("acme:lab", shared_folders=[LAB.model_copy(update={"at_once": at_once}), COURSE])

    async def leaves(url: str) -> None:
        mine.user.groups = []

    monkeypatch.setattr(mine, "_wait_until_ready", leaves)
    if not at_once:
        run(mine.start)
        return
    with pytest.raises(SpawnError) as error:
        run(mine.start)
    assert error.value.jupyterhub_message == (
        "It was stopped again, because the shared folder The Lab may not be used in it any more."
        " Please start it once more."
    )
    # As JupyterHub does; the next start has what is allowed then.
    run(mine.stop)
    run(mine.start)
    assert [each[2] for each in mounts(docker)] == ["/srv/shared/course"]


def test_nobody_is_asked_where_no_group_counts(docker: FakeDocker, volumes: Volumes) -> None:
    mine = member(shared_folders=[COURSE])
    mine.authenticator = Provider()
    run(mine.start)
    assert mine.authenticator.asked == 0


@pytest.mark.parametrize(
    ("groups", "read_groups", "mounted_rw", "lost"),
    [
        (["acme:lab"], [], True, ""),
        ([], [], True, "the shared folder The Lab may not be used in it any more"),
        (["acme:data"], ["acme:data"], True, "the shared folder The Lab may only be read in it now"),
        (["acme:data"], ["acme:data"], False, ""),
        # More than before counts from the next start.
        (["acme:lab"], [], False, ""),
    ],
)
def test_what_a_running_server_has_that_its_user_lost(
    groups: list[str], read_groups: list[str], mounted_rw: bool, lost: str
) -> None:
    folder = LAB.model_copy(update={"read_groups": frozenset(read_groups)})
    mine = member(*groups, shared_folders=[folder, COURSE])
    found = [
        {"Destination": "/srv/shared/lab", "RW": mounted_rw},
        # Not declared any more, or somebody's mount below a folder.
        {"Destination": "/srv/shared/gone", "RW": True},
        {"Destination": "/srv/shared/course/lab", "RW": True},
    ]
    mine.docker = AsyncMock(return_value={"Mounts": found})
    assert run(mine.lost_folders) == lost
    mine.shared_folders = [folder.model_copy(update={"at_once": False})]
    assert run(mine.lost_folders) == "", "it counts from the next start"


def test_a_server_that_has_ended_lost_nothing() -> None:
    mine = member()
    mine.docker = AsyncMock(side_effect=NotFound("no such container"))
    assert run(mine.lost_folders) == ""
