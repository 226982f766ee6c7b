"""Homes of deleted users, against a stand-in for Docker: no foreign or unarchived home is removed."""

from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from docker.errors import ContainerError, NotFound
from jupyterhub_ansible.engine.labels import KIND, PROJECT, labels
from jupyterhub_ansible.spawner import home_archives
from jupyterhub_ansible.spawner.home_archives import HomesError, dispose, restore

HOME = "jh-user-alice"


class FakeDocker:
    """The part of docker.DockerClient that home_archives.py uses."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, str] | None] = {HOME: labels("jh", "home", "alice", "")}
        self.used_by: list[str] = []
        self.ran: list[dict[str, Any]] = []
        self.says: bytes | ContainerError = b""
        self.volumes = SimpleNamespace(get=self._get, create=self._create)
        self.containers = SimpleNamespace(get=self._own, list=self._list, run=self._run)

    def _get(self, name: str) -> Any:
        if name not in self.found:
            raise NotFound("no such volume")
        return SimpleNamespace(name=name, attrs={"Labels": self.found[name]}, remove=lambda: self.found.pop(name))

    def _create(self, name: str, labels: dict[str, str]) -> Any:
        self.found.setdefault(name, labels)
        return self._get(name)

    def _own(self, name: str) -> Any:
        return SimpleNamespace(
            image=SimpleNamespace(id="the-hub's", attrs={"Config": {"Labels": {"coolify.managed": "true"}}})
        )

    def _list(self, **options: Any) -> list[Any]:
        assert options == {"all": True, "filters": {"volume": HOME}}, "one that is stopped has it, too"
        return [SimpleNamespace(name=name) for name in self.used_by]

    def _run(self, image: str, command: list[str], **options: Any) -> bytes | None:
        self.ran.append({"image": image, "command": command, **options})
        if isinstance(self.says, Exception):
            raise self.says
        # As docker-py: it cannot read the logs of the driver `local`.
        return self.says if options.get("log_config") == {"type": "json-file"} else None


@pytest.fixture
def docker() -> FakeDocker:
    return FakeDocker()


def failed(docker: FakeDocker) -> None:
    docker.says = ContainerError(Mock(), 1, [], "the-hub's", b"tar: No space left on device")


def test_keep(docker: FakeDocker) -> None:
    assert dispose(docker, "jh", "alice", HOME, "keep") == f"its home stays: the volume {HOME}"
    assert docker.found
    assert not docker.ran


def test_remove(docker: FakeDocker) -> None:
    assert "was removed" in dispose(docker, "jh", "alice", HOME, "remove")
    assert not docker.found
    assert not docker.ran


@pytest.mark.parametrize("kind", ["mount", "hub-state"])
def test_what_a_mount_gave_to_a_user_alone_is_removed_likewise(docker: FakeDocker, kind: str) -> None:
    docker.found = {HOME: labels("jh", kind, "alice", "")}
    if kind == "mount":
        assert "its own mount was removed" in dispose(docker, "jh", "alice", HOME, "remove")
    else:
        with pytest.raises(HomesError):
            dispose(docker, "jh", "alice", HOME, "remove")
    assert bool(docker.found) == (kind != "mount")


def test_archive(docker: FakeDocker) -> None:
    told = dispose(docker, "jh", "alice", HOME, "archive")
    assert docker.found == {"jh-deleted-homes": {PROJECT: "jh", KIND: "deleted-homes"}}
    [run] = docker.ran
    file = run["command"][-1]
    assert file.removeprefix("/archives/") in told
    # It can read everything, but nothing else.
    assert run["volumes"] == [f"{HOME}:/home:ro", "jh-deleted-homes:/archives"]
    assert (run["network_mode"], run["cap_drop"], run["cap_add"]) == ("none", ["ALL"], ["DAC_READ_SEARCH"])
    assert run["image"] == "the-hub's"
    assert run["labels"] == {PROJECT: "jh", KIND: "homes", "coolify.managed": "false"}


def test_failed_archive_keeps_the_home(docker: FakeDocker) -> None:
    failed(docker)
    with pytest.raises(HomesError, match="No space left on device"):
        dispose(docker, "jh", "alice", HOME, "archive")
    assert HOME in docker.found


@pytest.mark.parametrize("what", ["archive", "remove"])
@pytest.mark.parametrize("theirs", [None, labels("jh", "home", "bob", ""), labels("other", "home", "alice", "")])
def test_foreign_volume_is_left_alone(docker: FakeDocker, what: str, theirs: dict[str, str] | None) -> None:
    docker.found[HOME] = theirs
    with pytest.raises(HomesError, match="left alone"):
        dispose(docker, "jh", "alice", HOME, what)
    assert HOME in docker.found
    assert not docker.ran


@pytest.mark.parametrize("what", ["archive", "remove"])
def test_home_in_use_is_left_alone(docker: FakeDocker, what: str) -> None:
    docker.used_by = ["somebody-s-container"]
    with pytest.raises(HomesError, match="used by the container somebody-s-container"):
        dispose(docker, "jh", "alice", HOME, what)
    assert HOME in docker.found


def test_archives_are_not_stored_in_a_foreign_volume(docker: FakeDocker) -> None:
    docker.found["jh-deleted-homes"] = None
    with pytest.raises(HomesError, match="does not carry our labels"):
        dispose(docker, "jh", "alice", HOME, "archive")
    assert HOME in docker.found


def test_a_user_who_never_started_a_server(docker: FakeDocker) -> None:
    docker.found.clear()
    assert dispose(docker, "jh", "alice", HOME, "archive") == "it had no home"


def test_archive_name_includes_the_time() -> None:
    moment = datetime(2026, 11, 22, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    assert home_archives.archive_file(HOME, moment) == "jh-user-alice-20261121T233000Z.tar.gz"
    assert home_archives._ARCHIVE_NAME.fullmatch(home_archives.archive_file("jh-user-a-b---0a--c", datetime.now(UTC)))


ARCHIVE = "jh-user-alice-20261121T233000Z.tar.gz"


@pytest.fixture
def archived(docker: FakeDocker) -> FakeDocker:
    docker.found = {"jh-deleted-homes": {}}
    docker.says = f"{ARCHIVE}\n{ARCHIVE}.partial\nlost+found\n".encode()
    return docker


def test_restore(archived: FakeDocker) -> None:
    assert restore(archived, "jh", ARCHIVE, "ann", "lab", False) == "jh-user-ann--lab"
    assert archived.found["jh-user-ann--lab"] == labels("jh", "home", "ann", "lab")
    assert archived.ran[-1]["volumes"] == ["jh-deleted-homes:/archives:ro", "jh-user-ann--lab:/home"]


def test_restore_one_home_for_all_servers(archived: FakeDocker) -> None:
    restore(archived, "jh", ARCHIVE, "ann", "lab", True)
    assert archived.found["jh-user-ann"] == labels("jh", "home", "ann", "")


@pytest.mark.parametrize("name", ["other.tar.gz", f"{ARCHIVE}.partial", "../etc/passwd"])
def test_restore_a_missing_archive(archived: FakeDocker, name: str) -> None:
    with pytest.raises(HomesError, match="There is no archive"):
        restore(archived, "jh", name, "ann", "", False)
    assert "jh-user-ann" not in archived.found


def test_restore_over_a_home(archived: FakeDocker) -> None:
    archived.found["jh-user-ann"] = labels("jh", "home", "ann", "")
    with pytest.raises(HomesError, match="There is a home already"):
        restore(archived, "jh", ARCHIVE, "ann", "", False)
    assert len(archived.ran) == 1, "it was listed, and no more"


def test_failed_restore_leaves_no_partial_home(archived: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_archives, "archives", lambda client, project: [ARCHIVE])
    failed(archived)
    with pytest.raises(HomesError):
        restore(archived, "jh", ARCHIVE, "ann", "", False)
    assert "jh-user-ann" not in archived.found


def test_no_archives(docker: FakeDocker) -> None:
    assert home_archives.archives(docker, "jh") == []


def test_the_command_asks_this_machine_s_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of a DOCKER_HOST, which Coolify passes in: docker.from_env would."""
    asked: list[object] = []
    monkeypatch.setattr("docker.from_env", lambda: "another engine")
    monkeypatch.setattr("docker.DockerClient", lambda: "the engine")
    monkeypatch.setattr(home_archives, "load", lambda: Mock())

    def archives(client: object, project: str) -> list[str]:
        asked.append(client)
        return []

    monkeypatch.setattr(home_archives, "archives", archives)
    monkeypatch.setattr("sys.argv", ["homes", "list"])
    assert home_archives.main() is None
    assert asked == ["the engine"]
