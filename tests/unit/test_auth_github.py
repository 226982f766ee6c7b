"""Who may come in, and who must leave: our authenticator against the stand-in for GitHub."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from github import GitHub, running
from jupyterhub import orm
from jupyterhub_ansible.auth import emergency_link, membership
from jupyterhub_ansible.auth.github import GitHubMemberAuthenticator, GitHubUnavailableError, RefusedError
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from tornado.httpclient import HTTPClientError
from traitlets.config import Config, Configurable

APP = "Iv1.test"


@pytest.fixture
def github() -> GitHub:
    """Ann is a member of Acme and of its team Data; Bob is nothing."""
    github = GitHub()
    github.register_app(APP, "s" * 40, "http://127.0.0.1/hub/oauth_callback")
    github.add_organization("Acme")
    github.add_team("Acme", "Data Science")
    for login in ("Ann", "bob"):
        github.add_user(login)
    github.set_member("Acme", "Ann")
    github.add_team_member("Acme", "data-science", "Ann")
    return github


class App(Configurable):
    """What an authenticator asks of JupyterHub."""

    def __init__(self) -> None:
        super().__init__()
        engine = create_engine("sqlite://")
        orm.Base.metadata.create_all(engine)
        self.db = Session(engine)


class Door:
    """The authenticator, with what JupyterHub does around it."""

    def __init__(self, github: GitHub, url: str, app: App, **settings: Any) -> None:
        self.github = github
        names = {"enable_auth_state": True, "github_url": url, "http_request_kwargs": {"request_timeout": 2}}
        self.authenticator = GitHubMemberAuthenticator(
            parent=app, config=Config({"GitHubMemberAuthenticator": {**names, **settings}})
        )

    def token(self, login: str, scopes: str | None = None) -> dict[str, Any]:
        scope = ",".join(self.authenticator.scope) if scopes is None else scopes
        return {"access_token": self.github.issue_token(login, APP, scope), "token_type": "bearer", "scope": scope}

    async def _enter(self, token: dict[str, Any]) -> dict[str, Any] | None:
        async def authenticated(*_: Any) -> Any:
            return await self.authenticator._token_to_auth_model(token)

        self.authenticator.authenticate = authenticated
        model: dict[str, Any] | None = await self.authenticator.get_authenticated_user(None, None)
        return model

    def enter(self, login: str) -> dict[str, Any]:
        """Log in, as after the web flow."""
        model = asyncio.run(self._enter(self.token(login)))
        assert model
        return model

    def stays(self, model: dict[str, Any]) -> Any:
        """What JupyterHub is told when it asks again."""
        return asyncio.run(self.authenticator.refresh_user(self.user(model)))

    def user(self, model: dict[str, Any]) -> Any:
        async def auth_state() -> Any:
            return model["auth_state"]

        return SimpleNamespace(name=model["name"], get_auth_state=auth_state)


@pytest.fixture
def door(github: GitHub) -> Iterator[Any]:
    """Make an authenticator with settings; all of a test know the same users."""
    app = App()
    with running(github) as url:
        yield lambda **settings: Door(github, url, app, **settings)


def test_a_member_of_an_organization_comes_in(door: Any) -> None:
    assert door(allowed_organizations={"acme"}).enter("Ann")["name"] == "ann"


def test_the_list_of_an_account_s_organizations_is_not_needed(door: Any, github: GitHub) -> None:
    """It leaves out organizations that restrict apps."""
    entrance = door(allowed_organizations={"acme"})
    github.break_down(404, below="/api/v3/user/orgs")
    ann = entrance.enter("Ann")
    assert entrance.stays(ann)["name"] == "ann"


def test_others_are_told_why_not(door: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RefusedError) as refused:
        door(allowed_organizations={"acme"}, allowed_groups={"acme:data-science"}).enter("bob")
    assert refused.value.jupyterhub_message.startswith(
        "The GitHub account bob is not a member of the organization acme or the team acme:data-science,"
    )
    assert "Nobody was let in: The GitHub account bob is not a member of the organization acme" in caplog.text
    with pytest.raises(RefusedError) as refused:
        door(allowed_users={"ann"}).enter("bob")
    assert "not on the list" in refused.value.jupyterhub_message
    assert refused.value.reason == "Forbidden"


def test_a_member_of_a_team_comes_in(door: Any, github: GitHub) -> None:
    entrance = door(allowed_groups={"acme:data-science"})
    assert entrance.enter("Ann")["groups"] == ["acme:data-science"]
    github.set_member("Acme", "bob")
    with pytest.raises(RefusedError):
        entrance.enter("bob")


def test_teams_of_other_organizations_are_no_groups(door: Any, github: GitHub) -> None:
    github.add_organization("Private")
    github.set_member("Private", "Ann")
    github.add_team("Private", "Choir")
    github.add_team_member("Private", "choir", "Ann")
    assert door(allowed_organizations={"acme"}).enter("Ann")["groups"] == ["acme:data-science"]


def test_teams_that_environments_are_for_are_groups(door: Any, github: GitHub) -> None:
    """Also where nobody comes in by an organization or a team."""
    assert door(allow_all=True).enter("Ann").get("groups") is None
    entrance = door(allow_all=True, groups_of_environments={"acme:data-science"})
    assert entrance.authenticator.scope == ["read:org"]
    ann = entrance.enter("Ann")
    assert ann["groups"] == ["acme:data-science"]
    github.remove_team_member("Acme", "data-science", "Ann")
    assert entrance.stays(ann)["groups"] == []


def test_administrators_by_name_and_by_team(door: Any, github: GitHub) -> None:
    entrance = door(admin_groups={"acme:data-science"}, admin_users={"bob"})
    ann = entrance.enter("Ann")
    assert (ann["admin"], entrance.enter("bob")["admin"]) == (True, True)
    github.remove_team_member("Acme", "data-science", "Ann")
    # Whoever is none any more is told so, and not left as he was.
    assert door(admin_groups={"acme:data-science"}, allowed_organizations={"acme"}).stays(ann)["admin"] is False
    assert door(allowed_organizations={"acme"}).stays(ann)["admin"] is False


def test_without_organizations_and_teams_nothing_is_asked_for(door: Any, github: GitHub) -> None:
    entrance = door(allowed_users={"bob"})
    assert entrance.authenticator.scope == []
    assert "groups" not in entrance.enter("bob")
    assert github.count("/api/v3/user/teams") == 0


def test_everybody_if_that_was_said(door: Any) -> None:
    assert door(allow_all=True).enter("bob")["name"] == "bob"


@pytest.mark.parametrize("allowed", [{"allow_all": True}, {"allowed_users": {"bob"}}])
def test_who_is_blocked_does_not_come_in(door: Any, allowed: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        door(blocked_users={"bob"}, **allowed).enter("bob")
    assert "blocked" in refused.value.jupyterhub_message


# --- leaving


def test_who_was_removed_may_not_stay(door: Any, github: GitHub, caplog: pytest.LogCaptureFixture) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    assert entrance.stays(ann)["name"] == "ann"
    github.remove_member("Acme", "Ann")
    assert entrance.stays(ann) is False
    assert "ann may not stay: The GitHub account Ann is not a member of the organization acme" in caplog.text


def test_who_took_the_permission_back_may_not_stay(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.revoke_tokens("Ann")
    assert entrance.stays(ann) is False


@pytest.mark.parametrize("said", ["name", "login of now"])
def test_who_is_blocked_may_not_stay(door: Any, github: GitHub, said: str) -> None:
    ann = door(allowed_organizations={"acme"}).enter("Ann")
    github.rename_user("Ann", "Anna")
    blocked = {"ann"} if said == "name" else {"anna"}
    assert door(allow_all=True, blocked_users=blocked).stays(ann) is False


def test_who_is_blocked_may_not_stay_while_nothing_can_be_asked(door: Any, github: GitHub) -> None:
    bob = door(allow_all=True).enter("bob")
    github.break_down(503)
    assert door(allow_all=True, blocked_users={"bob"}).stays(bob) is False


@pytest.mark.parametrize("trouble", ["503", "slow", "rate limit", "secondary rate limit", "only said", "gone"])
def test_without_an_answer_nobody_leaves_and_nobody_comes(door: Any, github: GitHub, trouble: str) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann, token = entrance.enter("Ann"), entrance.token("Ann")
    match trouble:
        case "503":
            github.break_down(503)
        case "slow":
            github.break_down(None, delay_s=3)
        case "rate limit":
            github.limit_rate(0)
        case "secondary rate limit":
            github.limit_secondarily(403, 60)
        case "only said":
            github.limit_secondarily(403, None)
        case "gone":
            entrance.authenticator.github_api = entrance.authenticator.userdata_url = "http://127.0.0.1:9"
    assert entrance.stays(ann) is True
    with pytest.raises(GitHubUnavailableError):
        asyncio.run(entrance._enter(token))


def test_membership_that_is_not_answered_decides_nothing(door: Any, github: GitHub) -> None:
    """GitHubOAuthenticator takes any answer but 204 for a no."""
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.break_down(502, below="/api/v3/orgs")
    assert entrance.stays(ann) is True


@pytest.mark.parametrize(("code", "stays"), [(400, True), (403, True), (404, True), (401, False)])
def test_an_organization_that_is_not_shown_decides_nothing(
    door: Any, monkeypatch: pytest.MonkeyPatch, code: int, stays: bool
) -> None:
    """Unless GitHub says that the token counts no more."""
    entrance = door(allowed_organizations={"acme"})
    ann, httpfetch = entrance.enter("Ann"), entrance.authenticator.httpfetch

    async def answers(url: str, *args: Any, **kwargs: Any) -> Any:
        if url.endswith("/orgs/acme"):
            raise HTTPClientError(code)
        return await httpfetch(url, *args, **kwargs)

    monkeypatch.setattr(entrance.authenticator, "httpfetch", answers)
    assert entrance.stays(ann) is stays


# --- names


def test_a_renamed_account_is_the_same_user(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.rename_user("Ann", "Anna")
    assert entrance.enter("Anna")["name"] == "ann"
    assert entrance.stays(ann)["name"] == "ann"


def test_a_login_that_changed_hands_inherits_nothing(door: Any, github: GitHub) -> None:
    entrance = door(allow_all=True, admin_users={"ann"})
    assert entrance.enter("Ann")["admin"] is True
    github.delete_user("Ann")
    github.add_user("ann")
    with pytest.raises(RefusedError) as refused:
        entrance.enter("ann")
    assert "The name ann belongs to another GitHub account here" in refused.value.jupyterhub_message


def test_a_login_that_changed_hands_is_no_membership(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.rename_user("Ann", "Anna")
    github.remove_member("Acme", "Anna")
    github.add_user("ann")
    github.set_member("Acme", "ann", public=True)
    assert entrance.stays(ann) is False


def test_who_was_refused_holds_no_name(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    with pytest.raises(RefusedError):
        entrance.enter("bob")
    github.delete_user("bob")
    github.add_user("bob")
    github.set_member("Acme", "bob")
    assert entrance.enter("bob")["name"] == "bob"


def test_an_organization_s_name_that_changed_hands_gives_nothing(
    door: Any, github: GitHub, caplog: pytest.LogCaptureFixture
) -> None:
    """It was renamed, and somebody made one of the old name, with a team of the same name."""
    entrance = door(allowed_organizations={"acme"}, admin_groups={"acme:data-science"})
    ann = entrance.enter("Ann")
    assert ann["admin"] is True
    github.organization("Acme").login = "Acme-Inc"
    number = github.add_organization("acme").id
    github.add_team("acme", "Data Science")
    github.set_member("acme", "bob", public=True)
    github.add_team_member("acme", "data-science", "bob")
    with pytest.raises(RefusedError):
        entrance.enter("bob")
    assert entrance.stays(ann) is False
    told = [each for each in caplog.messages if "The organization acme is number" in each]
    assert len(told) == 1
    assert f"is number {number} now" in told[0]
    assert told[0].endswith("python -m jupyterhub_ansible identity forget acme:")
    # By teams alone, too; and where memberships may not be read, nothing is assumed.
    with pytest.raises(RefusedError):
        door(allowed_groups={"acme:data-science"}).enter("bob")
    with pytest.raises(RefusedError):
        asyncio.run(entrance._enter(entrance.token("bob", scopes="")))
    # It is what was wanted.
    entrance.authenticator._identities.forget_organization("acme")
    assert entrance.enter("bob")["groups"] == ["acme:data-science"]


@pytest.mark.parametrize("scope", [["admin:org"], ["user"], []])
def test_an_organization_s_number_counts_with_any_scope(door: Any, github: GitHub, scope: list[str]) -> None:
    entrance = door(allowed_organizations={"acme"}, scope=scope)
    github.set_member("Acme", "Ann", public=True)
    entrance.enter("Ann")
    github.organization("Acme").login = "Acme-Inc"
    github.add_organization("acme")
    github.set_member("acme", "bob", public=True)
    with pytest.raises(RefusedError):
        entrance.enter("bob")


@pytest.fixture
def changed_hands(door: Any, github: GitHub) -> Any:
    """Ann becomes Anna; Mallory, who is known here, too, takes the login Ann."""
    github.add_user("mallory")
    entrance = door(allow_all=True)
    ann, mallory = entrance.enter("Ann"), entrance.enter("mallory")
    github.rename_user("Ann", "Anna")
    github.rename_user("mallory", "Ann")
    return SimpleNamespace(ann=ann, mallory=mallory)


def test_who_takes_a_login_is_not_made_an_administrator_by_it(
    door: Any, changed_hands: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entrance = door(allow_all=True, admin_users={"ann"})
    assert entrance.enter("Ann")["name"] == "mallory"
    assert entrance.enter("Ann")["admin"] is False
    # Also of whoever was made one before; and the session that lasts, too.
    assert entrance.stays(changed_hands.mallory)["admin"] is False
    assert entrance.enter("Anna")["admin"] is True
    assert entrance.stays(changed_hands.ann)["admin"] is True
    # Both numbers, and once.
    numbers = {model["name"]: model["auth_state"]["github_user"]["id"] for model in vars(changed_hands).values()}
    said = [each for each in caplog.messages if "is not given what the settings give" in each]
    assert len(said) == 1
    assert f"number {numbers['mallory']}" in said[0]
    assert f"number {numbers['ann']}" in said[0]


def test_who_takes_a_login_is_not_let_in_by_it(door: Any, github: GitHub, changed_hands: Any) -> None:
    entrance = door(allowed_users={"ann"})
    with pytest.raises(RefusedError) as refused:
        entrance.enter("Ann")
    assert refused.value.jupyterhub_message.startswith(
        "The login Ann is or was another GitHub account's here, so it does not let you in."
    )
    assert entrance.stays(changed_hands.mallory) is False
    assert entrance.enter("Anna")["name"] == "ann"


def test_a_login_that_was_somebody_s_for_a_while_is_nobody_else_s(door: Any, github: GitHub) -> None:
    """Ann is made an administrator by a later login, gives it up, and others take it: one known, then one new."""
    entrance = door(allow_all=True, admin_users={"chief"})
    ann, bob = entrance.enter("Ann"), entrance.enter("bob")
    github.rename_user("Ann", "Chief")
    # Nobody else had it; that she has it now is seen without a login, too.
    assert entrance.stays(ann)["admin"] is True
    github.rename_user("Chief", "Ann")
    assert entrance.stays(ann)["admin"] is False
    github.rename_user("bob", "chief")
    assert entrance.stays(bob)["admin"] is False
    github.rename_user("chief", "bob")
    github.add_user("chief")
    with pytest.raises(RefusedError):
        entrance.enter("chief")


def test_who_is_blocked_is_so_by_every_name(door: Any, github: GitHub, changed_hands: Any) -> None:
    by_login = door(allow_all=True, blocked_users={"anna"})
    assert by_login.stays(changed_hands.ann) is False
    assert by_login.stays(changed_hands.mallory)
    by_name = door(allow_all=True, blocked_users={"mallory"})
    with pytest.raises(RefusedError):
        by_name.enter("Ann")
    # Another login is no way out.
    seen = door(allow_all=True)
    seen.enter("Anna")
    github.rename_user("Anna", "Annabel")
    with pytest.raises(RefusedError):
        by_login.enter("Annabel")


def test_who_is_blocked_by_a_login_that_was_seen_leaves_while_nothing_can_be_asked(door: Any, github: GitHub) -> None:
    ann = door(allow_all=True).enter("Ann")
    github.rename_user("Ann", "Anna")
    door(allow_all=True).enter("Anna")
    github.break_down(503)
    entrance = door(allow_all=True, blocked_users={"anna"})
    assert entrance.stays(ann) is False
    assert not may_stay(entrance, {**ann, "auth_state": None})


def test_an_environment_s_users_are_named_as_here_or_by_a_login_that_is_theirs(door: Any, changed_hands: Any) -> None:
    entrance = door(allow_all=True)
    entrance.enter("Anna")
    entrance.enter("Ann")
    assert entrance.authenticator.names("ann") == {"ann", "anna"}
    assert entrance.authenticator.names("mallory") == {"mallory"}
    assert entrance.authenticator.names(emergency_link.USER) == {emergency_link.USER}


def test_a_session_does_not_go_on_as_another_user(door: Any, github: GitHub) -> None:
    """Its name was given free by the administrator, and is another account's now, or nobody's."""
    entrance = door(allow_all=True)
    ann = entrance.enter("Ann")
    github.rename_user("Ann", "Anna")
    entrance.authenticator._identities.forget("ann")
    assert entrance.stays(ann) is False


def test_what_others_had_of_a_user_ends_when_an_account_gets_the_name(door: Any, github: GitHub) -> None:
    """Sessions and tokens of whoever had it before, by another way of logging in or as an account since forgotten."""
    entrance = door(allow_all=True)
    db = entrance.authenticator.parent.db
    server, user = orm.Server(base_url="/user/ann/"), orm.User(name="ann")
    clients = [orm.OAuthClient(identifier=name) for name in ("jupyterhub", "jupyterhub-user-ann")]
    db.add_all([user, server, orm.Spawner(user=user, name="", server=server), *clients])
    db.commit()
    user.new_api_token(note="mine", scopes=[])
    orm.APIToken.new(user=user, client_id="jupyterhub-user-ann", scopes=[])
    user.new_api_token(note="Server at /user/ann/", scopes=[])
    cookie = user.cookie_id
    entrance.enter("Ann")
    assert user.cookie_id != cookie
    # A server that runs goes on.
    assert [token.note for token in user.api_tokens] == ["Server at /user/ann/"]
    # The same account once more: nothing ends.
    user.new_api_token(note="hers", scopes=[])
    cookie = user.cookie_id
    entrance.enter("Ann")
    assert user.cookie_id == cookie
    assert [token.note for token in user.api_tokens] == ["Server at /user/ann/", "hers"]


def test_a_name_that_is_mapped_is_held_as_well(door: Any, github: GitHub) -> None:
    entrance = door(allow_all=True, username_map={"bob": "ann"})
    entrance.enter("Ann")
    with pytest.raises(RefusedError):
        entrance.enter("bob")


# --- those whose servers run


def may_stay(door: Door, model: dict[str, Any]) -> bool:
    app = SimpleNamespace(authenticator=door.authenticator)
    return asyncio.run(membership.may_stay(app, door.user(model)))


def test_servers_of_who_left_are_ended(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    assert may_stay(entrance, ann)
    github.remove_member("Acme", "Ann")
    assert not may_stay(entrance, ann)


def test_what_cannot_be_asked_ends_no_server(door: Any) -> None:
    """A first team in the settings needs a permission that nobody gave yet; a lost key leaves nothing to ask by."""
    bob = door(allowed_users={"bob"}).enter("bob")
    entrance = door(allowed_groups={"acme:data-science"})
    assert may_stay(entrance, bob)
    assert entrance.stays(bob) is False, "he must log in again, with the permission"
    assert may_stay(entrance, {**bob, "auth_state": None})
    assert not may_stay(door(blocked_users={"bob"}), {**bob, "auth_state": None}), "blocked is blocked"


def test_the_emergency_s_session_ends_with_its_server(door: Any, github: GitHub) -> None:
    github.break_down(503)
    entrance = door(allowed_groups={"acme:data-science"})
    emergency = {"name": emergency_link.USER, "auth_state": {"until": time.time() + 60}}
    assert entrance.stays(emergency) is True
    assert may_stay(entrance, emergency)
    over = {**emergency, "auth_state": {"until": time.time() - 1}}
    assert entrance.stays(over) is False
    assert not may_stay(entrance, over)
