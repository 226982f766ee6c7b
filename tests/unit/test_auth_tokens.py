"""API tokens that users created, and those that never expire."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jupyterhub import orm
from jupyterhub_ansible.auth import tokens
from sqlalchemy.orm import Session


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jupyterhub.sqlite"


@pytest.fixture
def db(url: str) -> Session:
    """Ann has a token of each kind, and a running server; there is a service; Bob has no tokens."""
    db: Session = orm.new_session_factory(url)()
    ann, service = orm.User(name="ann"), orm.Service(name="culler")
    clients = [orm.OAuthClient(identifier=name) for name in ("jupyterhub", "jupyterhub-user-ann")]
    server = orm.Server(base_url="/user/ann/")
    db.add_all([ann, orm.User(name="bob"), service, server, orm.Spawner(user=ann, name="", server=server), *clients])
    db.commit()
    service.new_api_token(note="service", scopes=[])
    orm.APIToken.new(user=ann, client_id="jupyterhub-user-ann", note="oauth", scopes=[])
    # A forged note hides nothing: only the newest token counts as the server's.
    ann.new_api_token(note="Server at /user/ann/", scopes=[])
    ann.new_api_token(note="Server at /user/ann/other/", scopes=[])
    ann.new_api_token(note="for ever\x1b[2J" + "x" * 200, scopes=[])
    ann.new_api_token(note="a day", scopes=[], expires_in=86400)
    ann.new_api_token(note="over", scopes=[], expires_in=1)
    ann.new_api_token(note="Server at /user/ann/", scopes=[])
    for token in ann.api_tokens:
        if token.note == "over":
            token.expires_at = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=1)
    db.commit()
    return db


def test_tokens_that_a_user_created(db: Session) -> None:
    made = [token.note[:20] for token in tokens.made_by(orm.User.find(db, "ann"))]
    assert made == ["Server at /user/ann/", "Server at /user/ann/", "for ever\x1b[2Jxxxxxxxx", "a day"]
    assert tokens.made_by(orm.User.find(db, "bob")) == []


def test_expired_tokens_are_removed(db: Session) -> None:
    ann = orm.User.find(db, "ann")
    tokens.remove_expired(db, ann)
    db.refresh(ann)
    assert [token.note for token in ann.api_tokens if token.note in ("over", "a day", "oauth")] == ["oauth", "a day"]


def notes(db: Session, name: str) -> list[str]:
    user = orm.User.find(db, name)
    db.refresh(user)
    return [token.note for token in sorted(user.api_tokens, key=lambda token: token.id)]


def test_tokens_of_stopped_servers_are_removed(db: Session) -> None:
    """After a restart of the Hub, JupyterHub no longer knows a server's token (`jupyterhub.user.User.stop`)."""
    ann, bob = orm.User.find(db, "ann"), orm.User.find(db, "bob")
    bob.new_api_token(note="Server at /user/ann/", scopes=[])
    bob.new_api_token(note="Server at /user/bob/", scopes=[])
    kept = [note for note in notes(db, "ann") if not note.startswith("Server at ")]
    newest = max(token.id for token in ann.api_tokens if token.note == "Server at /user/ann/")
    tokens.remove_stale(db)
    assert notes(db, "ann") == [*kept, "Server at /user/ann/"]
    assert [token.id for token in ann.api_tokens if token.note == "Server at /user/ann/"] == [newest]
    assert notes(db, "bob") == ["Server at /user/ann/"]
    # Immediately when the server stops.
    [spawner] = ann.orm_spawners.values()
    db.delete(spawner.server)
    db.commit()
    tokens.remove_stale(db)
    assert notes(db, "ann") == kept


def test_command_lists_tokens_that_never_expire(
    db: Session, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tokens, "DATABASE_URL", url)
    monkeypatch.setattr("sys.argv", ["tokens", "list"])
    tokens.main()
    said = capsys.readouterr()
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [(row[0], row[3], row[4][:26]) for row in rows] == [
        ("ann", "never", "Server at /user/ann/"),
        ("ann", "never", "Server at /user/ann/other/"),
        ("ann", "never", "for ever [2J" + "x" * 14),
    ]
    assert "3 API tokens never expire." in said.err
    assert all(len(row[4]) <= 80 for row in rows)
    assert "\x1b" not in said.out
