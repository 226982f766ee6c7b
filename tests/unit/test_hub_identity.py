"""The account's number is who a user is; logins come and go."""

from pathlib import Path

import pytest
from jupyterhub import orm
from jupyterhub_ansible import identity
from jupyterhub_ansible.identity import Identities, NameTakenError
from sqlalchemy import create_engine
from sqlalchemy.orm import Session


@pytest.fixture
def db(tmp_path: Path) -> Session:
    """A Hub's database, as JupyterHub makes it."""
    made: Session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    return made


@pytest.fixture
def identities(db: Session) -> Identities:
    return Identities(db)


def test_the_name_is_the_first_login_in_lower_case(identities: Identities) -> None:
    assert identities.username(7, "Alice") == "alice"
    identities.remember(7, "alice", "Alice")
    assert identities.username(7, "Alice") == "alice"


def test_a_renamed_account_keeps_its_name_here(identities: Identities) -> None:
    identities.remember(7, "alice", "Alice")
    assert identities.username(7, "Alicia") == "alice"
    identities.remember(7, "alice", "Alicia")
    assert [(each.username, each.login) for each in identities.all()] == [("alice", "Alicia")]


def test_a_login_that_changed_hands_is_not_the_old_name(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    with pytest.raises(NameTakenError, match="alice is the name of the GitHub account number 7 here"):
        identities.username(8, "ALICE")


def test_who_came_under_another_name_may_take_a_login_that_is_a_name_here(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    identities.remember(8, "bob", "bob")
    assert identities.username(8, "alice") == "bob"


def test_somebody_who_was_not_let_in_holds_no_name(identities: Identities) -> None:
    identities.username(8, "alice")
    assert identities.username(7, "alice") == "alice"


def test_it_outlives_jupyterhub_s_user(identities: Identities, db: Session) -> None:
    db.add(orm.User(name="alice"))
    identities.remember(7, "alice", "alice")
    db.delete(db.query(orm.User).one())
    db.commit()
    with pytest.raises(NameTakenError):
        Identities(db).username(8, "alice")


def test_a_name_can_be_given_free(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    identities.forget("alice")
    assert identities.username(8, "alice") == "alice"
    with pytest.raises(KeyError):
        identities.forget("alice")


def test_the_command_lists_and_gives_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/jupyterhub.sqlite"
    monkeypatch.setattr(identity, "DATABASE_URL", url)
    Identities(Session(create_engine(url))).remember(7, "alice", "Alice")

    def run(*arguments: str) -> str | None:
        monkeypatch.setattr("sys.argv", ["identity", *arguments])
        return identity.main()

    assert run("list") is None
    assert capsys.readouterr().out.split("\t")[:3] == ["alice", "Alice", "7"]
    assert run("forget", "alice") is None
    assert run("forget", "alice") == "No account that has logged in is called alice here; see: list"
    capsys.readouterr()
    assert run("list") is None
    assert capsys.readouterr().out == ""
