"""Who is a member, in JupyterHub's own database: at its start, at a login, after a change of settings."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
from jupyterhub import orm, roles
from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler
from jupyterhub.apihandlers.users import UserAPIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import Scope
from jupyterhub_ansible.settings.model import Workspace
from jupyterhub_ansible.web.errors import PageError
from jupyterhub_ansible.workspaces import accounts, members
from tornado.web import HTTPError

LAB = Workspace(slug="lab", environment="base", groups=frozenset({"acme:data"}), users=frozenset({"ann", "new-login"}))
BOTH = {"workspace.lab", "workspace.lab.start"}


class Hub:
    """The parts of JupyterHub that members need: a database, an authenticator, users."""

    def __init__(self, db: Any) -> None:
        self.db, self.log = db, logging.getLogger("hub")
        self.authenticator = SimpleNamespace(names=lambda name: {name, "new-login"} if name == "nina" else {name})
        self.proxy = SimpleNamespace(delete_user=AsyncMock())
        self.users: dict[Any, Any] = {}

    def start(self, *workspaces: Workspace) -> None:
        """Load roles as JupyterHub does at its start, then those of workspaces."""
        for role in [*roles.get_default_roles(), *accounts.load_roles(workspaces)]:
            made = roles.create_role(self.db, role)
            made.groups = [self.group(name) for name in role.get("groups", [])]
        declared = {role["name"] for role in accounts.load_roles(workspaces)}
        for stale in self.db.query(orm.Role).filter(orm.Role.name.startswith("workspace.")):
            if stale.name not in declared:
                self.db.delete(stale)
        self.db.commit()
        members.prepare(self, workspaces)

    def group(self, name: str) -> orm.Group:
        found = orm.Group.find(self.db, name) or orm.Group(name=name)
        self.db.add(found)
        return found

    def user(self, name: str, *groups: str) -> orm.User:
        user = orm.User.find(self.db, name) or orm.User(name=name)
        self.db.add(user)
        user.groups = [self.group(each) for each in groups]
        self.db.commit()
        return user

    def rights(self, name: str) -> set[str]:
        found = roles.get_roles_for(orm.User.find(self.db, name))
        return {role.name for role in found if role.name.startswith("workspace.")}

    def log_in(self, name: str) -> Any:
        handler = SimpleNamespace(db=self.db, authenticator=self.authenticator, log=self.log)
        return asyncio.run(BaseHandler.auth_to_user(handler, {"name": name}))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    db = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    made = Hub(db)

    async def stored(handler: Any, authenticated: Any, user: Any = None) -> Any:
        return SimpleNamespace(name=authenticated["name"], orm_user=made.user(authenticated["name"]))

    monkeypatch.setattr(members, "_auth_to_user", stored)
    for name in ("auth_to_user", "refresh_auth"):
        monkeypatch.setattr(BaseHandler, name, getattr(BaseHandler, name))
    monkeypatch.setattr(OAuthAuthorizeHandler, "needs_oauth_confirm", OAuthAuthorizeHandler.needs_oauth_confirm)
    for name in ("delete", "patch"):
        monkeypatch.setattr(UserAPIHandler, name, getattr(UserAPIHandler, name))
    yield made
    db.close()


def test_members_by_name_and_by_group(hub: Hub) -> None:
    hub.user("ann")
    hub.user("dan", "acme:data")
    hub.user("nina")
    hub.user("otto", "acme:other")
    hub.start(LAB)
    assert hub.rights("ann") == hub.rights("dan") == BOTH
    assert hub.rights("nina") == BOTH, "settings may name her by her current login"
    assert hub.rights("otto") == set()
    # A group decides from the next check of membership on.
    hub.user("dan")
    assert hub.rights("dan") == set()


def test_authenticator_may_write_to_the_database(hub: Hub) -> None:
    """As ours does, which makes its tables when it is first asked; SQLite takes one change at a time."""

    def names(name: str) -> set[str]:
        with hub.db.get_bind().begin() as other:
            other.exec_driver_sql("CREATE TABLE IF NOT EXISTS identities (name TEXT)")
            other.exec_driver_sql("INSERT INTO identities VALUES ('x')")
        return {name}

    hub.user("ann")
    hub.authenticator.names = names
    hub.start(LAB)
    assert hub.rights("ann") == BOTH


def test_first_login_makes_a_member(hub: Hub) -> None:
    hub.start(LAB)
    assert orm.User.find(hub.db, "ann") is None, "nobody's account is made in advance"
    hub.log_in("ann")
    hub.log_in("otto")
    assert hub.rights("ann") == BOTH
    assert hub.rights("otto") == set()


def test_change_of_settings_counts_from_the_next_start(hub: Hub) -> None:
    hub.user("ann")
    hub.start(LAB)
    hub.start(LAB.model_copy(update={"users": frozenset(), "start_users": frozenset({"bob"})}))
    assert hub.rights("ann") == set()
    hub.start()
    assert hub.rights("ann") == set()


def test_nobody_logs_in_as_a_workspace(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.start(LAB)
    assert orm.User.find(hub.db, "workspace.lab")
    for name in ("workspace.lab", "workspace.undeclared"):
        with pytest.raises(PageError) as refused:
            hub.log_in(name)
        assert refused.value.status_code == 403
        assert "Nobody can log in as" in refused.value.jupyterhub_message
    assert "Login refused: workspace.undeclared is the name of a workspace" in caplog.text


def test_person_who_had_the_name_before_loses_it(hub: Hub) -> None:
    """Sessions, tokens, groups and administration; the token of a running server stays."""
    before = hub.user("workspace.lab", "acme:data")
    before.admin, cookie = True, before.cookie_id
    hub.db.add(orm.OAuthClient(identifier="jupyterhub"))
    server = orm.Server(base_url="/user/workspace.lab/")
    hub.db.add_all([server, orm.Spawner(name="", user=before, server=server)])
    # And what they let others into.
    shared: dict[str, Any] = {"scopes": ["access:servers!server=workspace.lab/"]}
    orm.Share.grant(hub.db, before.orm_spawners[""], hub.user("eve"), **shared)
    orm.ShareCode.new(hub.db, before.orm_spawners[""], **shared)
    for note in ("Server at /user/workspace.lab/", "mine"):
        hub.db.add(orm.APIToken(user=before, client_id="jupyterhub", hashed=note, prefix=note[:4], note=note))
    hub.db.commit()
    hub.start(LAB)
    assert before.cookie_id != cookie
    assert ([role.name for role in before.roles], before.groups, before.admin) == (["user"], [], False)
    assert [token.note for token in before.api_tokens] == ["Server at /user/workspace.lab/"]
    assert [*hub.db.query(orm.Share), *hub.db.query(orm.ShareCode)] == []


def test_an_account_s_membership_is_not_checked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server reports activity with a token, which a provider's answer about nobody would make invalid."""
    monkeypatch.setattr(members, "_refresh_auth", AsyncMock(return_value=None))
    hub.start(LAB)
    for name, stays in (("workspace.lab", True), ("ann", False)):
        user = SimpleNamespace(name=name)
        refreshed = asyncio.run(BaseHandler.refresh_auth(SimpleNamespace(), user))
        assert refreshed is (user if stays else None)


def test_members_are_not_asked_to_authorize_a_workspace(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_needs_oauth_confirm", lambda *_: True)
    hub.start(LAB)
    for owner, asked in (("workspace.lab", False), ("bob", True)):
        client = SimpleNamespace(spawner=SimpleNamespace(user=SimpleNamespace(name=owner)))
        assert OAuthAuthorizeHandler.needs_oauth_confirm(SimpleNamespace(), None, client, set()) is asked
    assert OAuthAuthorizeHandler.needs_oauth_confirm(SimpleNamespace(), None, SimpleNamespace(spawner=None), set())


def test_account_has_no_rights_in_workspaces(hub: Hub) -> None:
    hub.start(LAB, LAB.model_copy(update={"slug": "two", "users": frozenset({"workspace.lab"})}))
    assert hub.rights("workspace.lab") == set()


@pytest.mark.parametrize(("method", "scope"), [("delete", "delete:users"), ("patch", "admin:users")])
def test_declared_account_is_neither_deleted_nor_changed(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, method: str, scope: str
) -> None:
    done: list[str] = []

    async def upstream(_: Any, user_name: str) -> None:
        done.append(user_name)

    monkeypatch.setattr(members, f"_{method}", upstream)
    hub.start(LAB)

    def ask(name: str, **scopes: Any) -> None:
        request = SimpleNamespace(path="/hub/api/users/x")
        handler = SimpleNamespace(current_user=object(), db=hub.db, request=request, expanded_scopes=set(scopes))
        handler.parsed_scopes = scopes
        asyncio.run(getattr(UserAPIHandler, method)(handler, name))

    allowed = {scope: Scope.ALL}
    with pytest.raises(PageError) as refused:
        ask("workspace.lab", **allowed)
    assert refused.value.status_code == 403
    assert "Remove the workspace from hub_workspaces and deploy first" in refused.value.jupyterhub_message
    # Others do not learn that it exists.
    with pytest.raises(HTTPError, match="not authorized"):
        ask("workspace.lab")
    for name in ("ann", "workspace.former"):
        ask(name, **allowed)
    assert done == ["ann", "workspace.former"]


def test_removed_workspace_is_stopped_and_loses_its_tokens(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.start(LAB, LAB.model_copy(update={"slug": "stays"}))
    hub.db.add(orm.OAuthClient(identifier="jupyterhub"))
    stopped: list[str] = []
    for name in ("workspace.lab", "workspace.stays", "workspace.person@acme.org"):
        orm_user = hub.user(name)
        hub.db.add(orm.APIToken(user=orm_user, client_id="jupyterhub", hashed=name, prefix=name))
        hub.db.commit()
        spawner = SimpleNamespace(active=True, pending=None, home_volume=f"home-of-{name}")

        def stop(_: str, of: str = name, spawner: Any = spawner) -> None:
            stopped.append(of)
            spawner.active = False

        stop_it = AsyncMock(side_effect=stop)
        hub.users[orm_user] = SimpleNamespace(name=name, spawners={"": spawner}, stop=stop_it)
    asyncio.run(members.retire(hub, (LAB.model_copy(update={"slug": "stays"}),)))
    assert stopped == ["workspace.lab"]
    hub.proxy.delete_user.assert_awaited_once()
    assert "Its files stay, in the volume home-of-workspace.lab." in caplog.text
    left = {token.user.name for token in hub.db.query(orm.APIToken)}
    assert left == {"workspace.stays", "workspace.person@acme.org"}


def test_stop_that_fails_keeps_neither_tokens_nor_other_servers(
    hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "PENDING_S", 0)
    monkeypatch.setattr(members, "RETRY_S", 0)
    slugs = ("hangs", "fails", "lost", "stops")
    hub.start(*(LAB.model_copy(update={"slug": slug}) for slug in slugs))
    hub.db.add(orm.OAuthClient(identifier="jupyterhub"))
    left: list[int] = []

    def stopping(slug: str, spawner: Any) -> Any:
        async def stop(_: str) -> None:
            spawner.tries += 1
            left.append(hub.db.query(orm.APIToken).count())
            # JupyterHub forgets a server whose stop fails ("lost"), but not if its route could not be removed.
            spawner.active = slug == "fails" and spawner.tries == 1
            if slug in ("fails", "lost") and spawner.tries == 1:
                raise OSError("the engine does not answer")

        return stop

    spawners = {}
    for slug in slugs:
        orm_user = hub.user(f"workspace.{slug}")
        hub.db.add(orm.APIToken(user=orm_user, client_id="jupyterhub", hashed=slug, prefix=slug))
        spawners[slug] = SimpleNamespace(active=True, pending=None, home_volume="home", tries=0)
        stop = stopping(slug, spawners[slug])
        hub.users[orm_user] = SimpleNamespace(name=orm_user.name, spawners={"": spawners[slug]}, stop=stop)
    hub.db.commit()
    spawners["hangs"].pending = "spawn"

    async def retired() -> None:
        task = asyncio.create_task(members.retire(hub, ()))
        done = {"hangs": 0, "fails": 2, "lost": 1, "stops": 1}
        async with asyncio.timeout(60):
            while {slug: each.tries for slug, each in spawners.items()} != done:
                await asyncio.sleep(0.01)
        assert not task.done(), "it waits for the one that is just starting"
        spawners["hangs"].pending = None
        await task

    asyncio.run(retired())
    assert set(left) == {0}, "tokens are revoked before the first stop"
    assert not any(each.active for each in spawners.values())
    assert "workspace.fails could not be stopped" in caplog.text
