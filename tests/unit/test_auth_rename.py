"""A user is renamed, with identity, tokens and homes."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from jupyterhub import orm
from jupyterhub_ansible.audit import outbox
from jupyterhub_ansible.auth import rename as command
from jupyterhub_ansible.auth.identity import Identities, NameTakenError
from jupyterhub_ansible.auth.rename import RenameError, rename
from jupyterhub_ansible.engine.labels import KIND, PROJECT, USER, labels
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.spawner.mounted_volumes import of_user
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

SETTINGS = Settings.model_validate_json(json.dumps(EXAMPLE))


class Engine:
    """Volumes by name, with their labels, and the copies that were made."""

    def __init__(self) -> None:
        self.volumes: Any = SimpleNamespace(list=self.find, create=self.create)
        self.containers: Any = SimpleNamespace(run=self.run)
        self.known: dict[str, dict[str, str]] = {}
        self.copied: list[tuple[str, str]] = []

    def find(self, filters: dict[str, list[str]]) -> list[Any]:
        wanted = [label.split("=", 1) for label in filters["label"]]
        return [
            SimpleNamespace(name=name, attrs={"Labels": found})
            for name, found in self.known.items()
            if all(found.get(key) == value for key, value in wanted)
        ]

    def create(self, name: str, labels: dict[str, str]) -> None:
        assert name not in self.known
        self.known[name] = labels

    def run(self, image: str, command: list[str], *, volumes: dict[str, Any], **_: Any) -> None:
        source, target = volumes
        assert (volumes[source]["mode"], volumes[target]["mode"]) == ("ro", "rw")
        self.copied.append((source, target))


@pytest.fixture
def db() -> Session:
    engine = create_engine("sqlite://")
    orm.Base.metadata.create_all(engine)
    db = Session(engine)
    db.add(orm.User(name="ann"))
    db.commit()
    Identities(db).remember(7, "ann", "Anna")
    return db


@pytest.fixture
def engine() -> Engine:
    engine = Engine()
    engine.known = {
        "example-user-ann": labels("example", "home", "ann", ""),
        "example-user-ann--gpu": labels("example", "home", "ann", "gpu"),
        "example-user-bob": labels("example", "home", "bob", ""),
        "other-user-ann": labels("other", "home", "ann", ""),
    }
    return engine


def test_user_identity_and_homes(db: Session, engine: Engine) -> None:
    before = dict(engine.known)
    assert rename(db, engine, SETTINGS, "image", "ann", "anna") == ["example-user-ann", "example-user-ann--gpu"]
    assert [user.name for user in db.query(orm.User)] == ["anna"]
    assert Identities(db).username(7, "Anna") == "anna"
    with pytest.raises(NameTakenError):
        # The old name still has her old home.
        Identities(db).username(9, "ann")
    assert engine.copied == [
        ("example-user-ann", "example-user-anna"),
        ("example-user-ann--gpu", "example-user-anna--gpu"),
    ]
    assert engine.known["example-user-anna--gpu"] == labels("example", "home", "anna", "gpu")
    assert {name: engine.known[name] for name in before} == before, "the old ones stay"


def test_a_mount_s_volume_is_no_home(db: Session, engine: Engine) -> None:
    engine.known["cache-ann"] = {PROJECT: "example", KIND: "mount", USER: "ann"}
    assert rename(db, engine, SETTINGS, "image", "ann", "anna") == ["example-user-ann", "example-user-ann--gpu"]
    assert ("cache-ann", "example-user-anna") not in engine.copied, "it would be mixed into the home"
    assert of_user(engine, "example", "ann") == ["cache-ann"]
    engine.known["cache-dan"] = {PROJECT: "example", KIND: "mount", USER: "dan"}
    with pytest.raises(RenameError, match="There is a volume of dan already, for a mount: cache-dan"):
        rename(db, engine, SETTINGS, "image", "anna", "dan")


@pytest.mark.parametrize(
    ("user", "name", "why"),
    [
        ("eve", "anna", "There is no user eve"),
        ("ann", "bob", "There is a home of bob already: the volume example-user-bob"),
        ("ann", "carl", "There is a user carl already"),
        ("ann", "dora", "There is a user dora already"),
        ("ann", "emma", "emma is or was the name of another account here, number 8: see identity list"),
    ],
)
def test_failed_rename_changes_nothing(db: Session, engine: Engine, user: str, name: str, why: str) -> None:
    db.add(orm.User(name="carl"))
    Identities(db).remember(8, "dora", "Emma")
    Identities(db).update_login(8, "dora")
    with pytest.raises(RenameError, match=f"^{why}$"):
        rename(db, engine, SETTINGS, "image", user, name)
    assert engine.copied == []
    assert {user.name for user in db.query(orm.User)} == {"ann", "carl"}


def test_refused_while_a_server_runs(db: Session, engine: Engine) -> None:
    user = db.query(orm.User).one()
    server = orm.Server()
    db.add_all([server, orm.Spawner(user=user, name="", server=server)])
    db.commit()
    with pytest.raises(RenameError, match="A server of ann is running: stop it first"):
        rename(db, engine, SETTINGS, "image", "ann", "anna")


def test_refused_with_a_volume_name_template(db: Session, engine: Engine) -> None:
    settings = SETTINGS.model_copy(update={"hub_volume_name_template": "jhub-{username}-{servername}"})
    with pytest.raises(RenameError, match="hub_volume_name_template"):
        rename(db, engine, settings, "image", "ann", "anna")


@pytest.mark.parametrize("answers", [True, False])
def test_a_renamed_user_is_in_the_audit_trail(
    db: Session, engine: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: bool
) -> None:
    engine.containers.get = lambda name: SimpleNamespace(image=SimpleNamespace(id="image"))
    recorder = Mock(side_effect=None if answers else ConnectionRefusedError("refused"))
    monkeypatch.setattr(command, "load", lambda: SimpleNamespace(settings=SETTINGS))
    monkeypatch.setattr("docker.DockerClient", lambda: engine)
    monkeypatch.setattr(command, "Session", lambda _: db)
    monkeypatch.setattr(outbox, "deliver_once", recorder)
    monkeypatch.setattr("sys.argv", ["rename", "ann", "Anna"])
    assert command.main() is None
    [event, source] = recorder.call_args.args
    found = (event["event"], event["actor"], event["target"], event["details"], source)
    assert found == ("user renamed", "host", "ann", {"to": "anna"}, "host")
    said = capsys.readouterr()
    assert "ann is now anna." in said.out
    assert ("its recorder does not answer (refused)" in said.err) is not answers
    recorder.reset_mock()
    assert "There is no user ann" in str(command.main())
    recorder.assert_not_called()
