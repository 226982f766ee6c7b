"""Changes in JupyterHub's own database become events: by whom, once they are committed, and without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_site import Site
from jupyterhub import orm, roles
from jupyterhub_ansible.audit import context, database, events
from sqlalchemy.orm import Session

Recorded = list[dict[str, Any]]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    found: Recorded = []
    monkeypatch.setattr(events, "sinks", [found.append])
    return found


@pytest.fixture
def db(tmp_path: Path, recorded: Recorded) -> Iterator[Session]:
    made: Session = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    for role in roles.get_default_roles():
        roles.create_role(made, role)
    made.add(orm.OAuthClient(identifier="jupyterhub"))
    made.commit()
    database.Changes(made, logging.getLogger("hub")).roles_are_loaded(made)
    yield made
    made.close()


class Wrapper:
    """Passes itself off as an object of the database (jupyterhub.user.User)."""

    def __init__(self, orm_user: orm.User) -> None:
        self.orm_user = orm_user

    def __getattr__(self, name: str) -> Any:
        return getattr(self.orm_user, name)


def user(db: Session, name: str) -> orm.User:
    found = orm.User(name=name)
    db.add(found)
    roles.assign_default_roles(db, entity=found)
    db.commit()
    return found


def server(db: Session, owner: orm.User, name: str = "") -> orm.Spawner:
    client = orm.OAuthClient(identifier=f"jupyterhub-user-{owner.name}-{name}")
    made = orm.Spawner(name=name, user=owner, oauth_client=client)
    db.add_all([client, made])
    db.commit()
    return made


def as_user(name: str, handler: str = "BaseHandler", token: str = "") -> None:
    """The current request is this user's."""
    found = SimpleNamespace(name=name, kind="user")
    request = SimpleNamespace(remote_ip="198.51.100.7")
    # Of a class of ours that extends JupyterHub's.
    made = type("Ours", (type(handler, (), {}),), {"_jupyterhub_user": found, "request": request})()
    if token:
        made._token_authenticated, made.get_token = True, lambda: SimpleNamespace(api_id=token)
    context.enter(made)


@pytest.fixture(autouse=True)
def _no_request() -> Iterator[None]:
    before = context.current()
    yield
    context._cause.set(before)


def said(recorded: Recorded) -> list[tuple[str, str, str]]:
    found = [(each["event"], each["actor"], each["target"]) for each in recorded]
    recorded.clear()
    return found


def test_users_groups_and_administrators(db: Session, recorded: Recorded) -> None:
    ann = user(db, "ann")
    as_user("vera")
    ann.admin = True
    db.commit()
    group = orm.Group(name="acme:data")
    db.add(group)
    ann.groups.append(group)
    db.commit()
    assert said(recorded) == [
        ("user created", "hub", "ann"),
        ("admin given", "vera", "ann"),
        ("group made", "vera", "acme:data"),
        ("group joined", "vera", "ann"),
    ]
    group.users.remove(ann)
    ann.admin = False
    db.commit()
    assert sorted(said(recorded)) == [("admin taken", "vera", "ann"), ("group left", "vera", "ann")]
    ann.last_activity = datetime.now()
    ann.name = "anna"
    db.commit()
    assert recorded[0]["details"] == {"to": "anna"}
    assert said(recorded) == [("user renamed", "vera", "ann")]
    # As JupyterHub does: it deletes its own wrapper.
    db.delete(Wrapper(ann))
    db.commit()
    assert said(recorded) == [("user deleted", "vera", "anna")]


@pytest.fixture
def site(tmp_path: Path, recorded: Recorded) -> Iterator[Site]:
    with Site(tmp_path) as made:
        made.inside(lambda: database.Changes(made.hub.db, logging.getLogger("hub")))
        yield made


@pytest.mark.parametrize("is_loaded", [True, False])
def test_an_administrator_renames_a_user(site: Site, recorded: Recorded, is_loaded: bool) -> None:
    site.session("ann")
    admin = site.session("admin")
    recorded.clear()
    if not is_loaded:
        # As after a rollback, or in a Hub that has just started.
        site.inside(site.hub.db.expire_all)
    renamed = admin.patch(f"{site.url}/api/users/ann", json={"name": "anna"})
    assert renamed.status_code == 200, renamed.text
    assert [each["details"] for each in recorded] == [{"to": "anna"}]
    assert [(event, target) for event, _, target in said(recorded)] == [("user renamed", "ann")]


def test_roles_of_workspaces(db: Session, recorded: Recorded) -> None:
    ann = user(db, "ann")
    role = roles.create_role(db, {"name": "workspace.lab", "scopes": []})
    said(recorded)
    ann.roles.append(role)
    db.commit()
    assert recorded[0]["details"] == {"role": "workspace.lab"}
    ann.roles.remove(role)
    db.commit()
    assert said(recorded) == [("role given", "hub", "ann"), ("role taken", "hub", "ann")]


def test_a_hub_that_starts_gives_roles_again_but_only_changes_are_recorded(tmp_path: Path, recorded: Recorded) -> None:
    db = orm.new_session_factory(f"sqlite:///{tmp_path}/another.sqlite")()
    stays, goes, comes = (orm.Role(name=f"workspace.{name}") for name in ("stays", "goes", "comes"))
    ann = orm.User(name="ann", roles=[stays, goes])
    db.add_all([ann, comes])
    db.commit()
    changes = database.Changes(db, logging.getLogger("hub"))
    ann.roles = []
    db.commit()
    ann.roles = [stays, comes]
    db.commit()
    assert said(recorded) == []
    changes.roles_are_loaded(db)
    assert [(each["event"], each["details"]) for each in recorded] == [
        ("role given", {"by": "the settings", "role": "workspace.comes"}),
        ("role taken", {"by": "the settings", "role": "workspace.goes"}),
    ]
    said(recorded)
    ann.roles.remove(comes)
    db.commit()
    assert said(recorded) == [("role taken", "hub", "ann")]
    db.close()


def test_what_is_rolled_back_is_not_recorded(db: Session, recorded: Recorded) -> None:
    db.add(orm.User(name="ann"))
    db.flush()
    db.rollback()
    user(db, "bob")
    assert said(recorded) == [("user created", "hub", "bob")]


def test_an_event_is_not_recorded_before_the_commit(db: Session, recorded: Recorded) -> None:
    db.add(orm.User(name="ann"))
    db.flush()
    assert recorded == []
    db.commit()
    assert said(recorded) == [("user created", "hub", "ann")]


def test_tokens_that_a_user_makes_but_not_those_of_servers_and_sessions(db: Session, recorded: Recorded) -> None:
    ann = user(db, "ann")
    said(recorded)
    as_user("ann", "UserTokenListAPIHandler")
    token = ann.new_api_token(note="for CI", expires_in=3600)
    assert (recorded[0]["address"], recorded[0]["details"]["note"]) == ("198.51.100.7", "for CI")
    assert recorded[0]["details"]["token"].startswith("a")
    assert token not in json.dumps(recorded)
    assert said(recorded) == [("token made", "ann", "ann")]
    # A user gives a token the note of a server's.
    ann.new_api_token(note="Server at /user/ann/")
    assert said(recorded) == [("token made", "ann", "ann")]
    as_user("ann", "SpawnHandler")
    servers = ann.new_api_token(note="Server at /user/ann/")
    assert said(recorded) == []
    as_user("vera", "UserTokenAPIHandler", token="a17")
    db.delete(orm.APIToken.find(db, token))
    db.commit()
    assert recorded[0]["details"]["by"] == "token a17"
    assert said(recorded) == [("token revoked", "vera", "ann")]
    context._cause.set(context.Cause())
    db.delete(orm.APIToken.find(db, servers))
    # One that has expired is removed, not revoked.
    expired = orm.APIToken.find(db, ann.new_api_token(note="old"))
    said(recorded)
    expired.expires_at = datetime(2020, 1, 1)
    db.commit()
    db.delete(expired)
    db.commit()
    assert said(recorded) == []


def opens(db: Session, visitor: orm.User, spawner: orm.Spawner) -> None:
    """As the Hub does when a browser opens a server: a code for the browser, then a token for the server."""
    as_user(visitor.name)
    code = orm.OAuthCode(code="secret-code", expires_at=9e9, session_id="s")
    db.add(code)
    code.client, code.user = spawner.oauth_client, visitor
    db.commit()
    context._cause.set(context.Cause(actor="", address="172.18.0.9"))
    visitor.new_api_token(oauth_client=spawner.oauth_client, scopes=[], session_id="s")


def test_somebody_opens_a_server_that_is_not_theirs(db: Session, recorded: Recorded) -> None:
    ann, vera, lab = user(db, "ann"), user(db, "vera"), user(db, "workspace.lab")
    default, gpu, workspace = server(db, ann), server(db, ann, "gpu"), server(db, lab)
    said(recorded)
    opens(db, ann, default)
    assert said(recorded) == []
    opens(db, vera, gpu)
    assert recorded[0]["address"] == "198.51.100.7", "the browser's, not the server's that fetched the token"
    assert "secret-code" not in json.dumps(recorded)
    opens(db, vera, workspace)
    assert said(recorded) == [("server opened", "vera", "ann/gpu"), ("workspace opened", "vera", "workspace.lab/")]


def revoke_one(db: Session, spawner: orm.Spawner, bob: orm.User) -> None:
    orm.Share.revoke(db, spawner, bob)


def revoke_all(db: Session, spawner: orm.Spawner, bob: orm.User) -> None:
    """As the API's call for all shares of a server does."""
    db.query(orm.Share).filter_by(spawner_id=spawner.id).delete()
    db.commit()


@pytest.mark.parametrize("revoke", [revoke_one, revoke_all])
def test_shares(db: Session, recorded: Recorded, revoke: Callable[[Session, orm.Spawner, orm.User], None]) -> None:
    ann, bob = user(db, "ann"), user(db, "bob")
    spawner = server(db, ann)
    said(recorded)
    as_user("ann")
    orm.Share.grant(db, spawner, bob)
    assert recorded[0]["details"] == {"to": "bob", "scopes": ["access:servers"]}
    orm.Share.grant(db, spawner, bob, ["servers"])
    assert said(recorded) == [("share made", "ann", "ann/"), ("share changed", "ann", "ann/")]
    revoke(db, spawner, bob)
    assert recorded[0]["details"]["to"] == "bob"
    assert said(recorded) == [("share revoked", "ann", "ann/")]
    orm.Share.grant(db, spawner, bob)
    said(recorded)
    context._cause.set(context.Cause())
    revoke(db, spawner, bob)
    assert said(recorded) == [("share ended", "hub", "ann/")]


def test_share_links_without_their_codes(db: Session, recorded: Recorded) -> None:
    ann, bob = user(db, "ann"), user(db, "bob")
    spawner = server(db, ann)
    said(recorded)
    as_user("ann")
    link, code = orm.ShareCode.new(db, spawner, scopes=["access:servers"])
    as_user("bob", "AcceptShareHandler")
    for _ in range(2):
        link.exchange(bob)
    as_user("ann")
    db.delete(link)
    db.commit()
    _, other = orm.ShareCode.new(db, spawner, scopes=["access:servers"])
    db.query(orm.ShareCode).filter_by(spawner_id=spawner.id).delete()
    db.commit()
    text = json.dumps(recorded)
    for secret in (code, other, link.hashed):
        assert secret not in text
    assert recorded[1]["details"]["link"] == f"sc_{link.id}"
    assert said(recorded) == [
        ("share link made", "ann", "ann/"),
        ("share accepted", "bob", "ann/"),
        ("share accepted", "bob", "ann/"),
        ("share link revoked", "ann", "ann/"),
        ("share link made", "ann", "ann/"),
        ("share link revoked", "ann", "ann/"),
    ]
    ended, _ = orm.ShareCode.new(db, spawner, scopes=["access:servers"])
    ended.expires_at = ended.now() - timedelta(seconds=1)
    db.commit()
    said(recorded)
    context._cause.set(context.Cause())
    orm.ShareCode.purge_expired(db)
    assert said(recorded) == [("share link ended", "hub", "ann/")]


def test_a_change_that_cannot_be_described_is_made_nevertheless(
    db: Session, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(database, "_of_user", lambda *_: iter([1 / 0 for _ in [0]]))
    assert orm.User.find(db, "ann") is None
    user(db, "ann")
    assert orm.User.find(db, "ann")
    assert "could not be described" in caplog.text
