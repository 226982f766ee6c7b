"""Users are identified by their account's number; logins may change."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from jupyterhub import orm
from jupyterhub_ansible.auth import identity
from jupyterhub_ansible.auth.identity import Identities, LoginTakenError, NameTakenError, ServerRunningError
from sqlalchemy.orm import Session


@pytest.fixture
def db(tmp_path: Path) -> Session:
    """A Hub's database, as JupyterHub creates it."""
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


def test_renamed_user_may_take_a_login_that_is_a_username(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    identities.remember(8, "bob", "bob")
    assert identities.username(8, "alice") == "bob"


def test_refused_account_holds_no_name(identities: Identities) -> None:
    identities.username(8, "alice")
    assert identities.username(7, "alice") == "alice"


def test_identity_outlives_jupyterhubs_user(identities: Identities, db: Session) -> None:
    db.add(orm.User(name="alice"))
    identities.remember(7, "alice", "alice")
    db.delete(db.query(orm.User).one())
    db.commit()
    with pytest.raises(NameTakenError):
        Identities(db).username(8, "alice")


def test_name_can_be_released(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    identities.forget("alice")
    assert identities.username(8, "alice") == "alice"
    with pytest.raises(KeyError):
        identities.forget("alice")


def test_former_login_is_not_given_to_a_new_account(identities: Identities) -> None:
    identities.remember(7, "alice", "alice")
    identities.update_login(7, "chief")
    identities.update_login(7, "alice")
    assert identities.names(7) == {"alice", "chief"}
    with pytest.raises(NameTakenError, match="chief is the name of the GitHub account number 7 here"):
        identities.username(8, "Chief")
    identities.forget("chief")
    assert identities.username(8, "chief") == "chief"
    assert identities.username(7, "alice") == "alice"


def test_current_login_can_be_released_too(identities: Identities) -> None:
    identities.remember(7, "alice", "Chief")
    identities.forget("Chief")
    assert identities.names(7) == {"alice"}
    assert identities.username(8, "chief") == "chief"


def test_login_of_a_refused_account_is_not_stored(identities: Identities) -> None:
    identities.update_login(7, "alice")
    assert identities.holders("alice") == []


def test_holders_in_an_older_database(identities: Identities, db: Session) -> None:
    """It has only current names."""
    now = datetime.now(UTC)
    db.add_all(
        [
            identity.Identity(github_id=8, username="mallory", login="Alice", last_login=now),
            identity.Identity(github_id=7, username="alice", login="alice-new", last_login=now),
        ]
    )
    assert identities.holders("alice") == [7, 8]
    assert identities.other_holders(8, "Alice") == [7]


def test_name_is_not_given_to_a_known_account_by_default(identities: Identities) -> None:
    """The account that has the login now would get the rights at once, without logging in."""
    identities.remember(7, "alice", "alice")
    identities.remember(8, "mallory", "Alice")
    with pytest.raises(LoginTakenError, match=r"account number 8, mallory here, has the login Alice, .* --anyway"):
        identities.forget("alice")
    assert identities.by_username("alice")
    assert identities.other_holders(8, "alice") == [7]
    identities.forget("alice", anyway=True)
    assert identities.other_holders(8, "alice") == []


def test_name_is_not_released_while_its_server_runs(identities: Identities, db: Session) -> None:
    identities.remember(7, "alice", "alice")
    user, server = orm.User(name="alice"), orm.Server()
    db.add_all([user, server, orm.Spawner(user=user, name="", server=server)])
    db.commit()
    with pytest.raises(ServerRunningError, match="A server of alice is running: stop it first"):
        identities.forget("alice")
    assert identities.by_username("alice")


def test_command_lists_and_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/jupyterhub.sqlite"
    monkeypatch.setattr(identity, "DATABASE_URL", url)
    identities = Identities(orm.new_session_factory(url)())
    identities.remember(7, "alice", "Alice")
    identities.remember(7, "alice", "Chief")
    identities.remember(7, "alice", "Alicia")
    identities.remember(8, "mallory", "Alice")

    def run(*arguments: str) -> str | None:
        monkeypatch.setattr("sys.argv", ["identity", *arguments])
        return identity.main()

    def listed() -> list[list[str]]:
        assert run("list") is None
        rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        return [[*row[:3], *row[4:]] for row in rows]

    assert listed() == [
        ["alice", "Alicia", "7", "also chief"],
        ["mallory", "Alice", "8", "rights of alice are not given: it is or was number 7"],
    ]
    identities.organization("acme", 99)
    assert listed()[2:] == [["acme:", "acme", "99", "organization"]]
    assert run("forget", "acme:") is None
    assert run("forget", "acme:") == "No account with the name or former name acme: has logged in here; see: list"
    assert "8, mallory here, has the login Alice" in (run("forget", "alice") or "")
    assert run("forget", "alice", "--anyway") is None
    assert run("forget", "alice") == "No account with the name or former name alice has logged in here; see: list"
    capsys.readouterr()
    assert listed() == [["mallory", "mallory", "8", ""]]
