"""GitHub logins that change, or change hands: rights and homes belong to the account's number."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from github import GitHub
from github_login import may_stay
from jupyterhub import orm
from jupyterhub_ansible.auth import emergency_link
from jupyterhub_ansible.auth.github import RefusedError


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


def test_login_that_changed_hands_gives_no_membership(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.rename_user("Ann", "Anna")
    github.remove_member("Acme", "Anna")
    github.add_user("ann")
    github.set_member("Acme", "ann", public=True)
    assert entrance.stays(ann) is False


def test_refused_account_reserves_no_name(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    with pytest.raises(RefusedError):
        entrance.enter("bob")
    github.delete_user("bob")
    github.add_user("bob")
    github.set_member("Acme", "bob")
    assert entrance.enter("bob")["name"] == "bob"


def test_organization_name_that_changed_hands_gives_nothing(
    door: Any, github: GitHub, caplog: pytest.LogCaptureFixture
) -> None:
    """The organization was renamed, and somebody created another with the old name, and a team of the same name."""
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
    # Also by teams alone; and if memberships cannot be read, nothing is assumed.
    with pytest.raises(RefusedError):
        door(allowed_groups={"acme:data-science"}).enter("bob")
    with pytest.raises(RefusedError):
        asyncio.run(entrance._enter(entrance.token("bob", scopes="")))
    # The new organization is the right one.
    entrance.authenticator._identities.forget_organization("acme")
    assert entrance.enter("bob")["groups"] == ["acme:data-science"]


@pytest.mark.parametrize("scope", [["admin:org"], ["user"], []])
def test_organization_number_counts_with_any_scope(door: Any, github: GitHub, scope: list[str]) -> None:
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
    """Ann becomes Anna; Mallory, who is also known here, takes the login Ann."""
    github.add_user("mallory")
    entrance = door(allow_all=True)
    ann, mallory = entrance.enter("Ann"), entrance.enter("mallory")
    github.rename_user("Ann", "Anna")
    github.rename_user("mallory", "Ann")
    return SimpleNamespace(ann=ann, mallory=mallory)


def test_taking_over_a_login_does_not_make_an_administrator(
    door: Any, changed_hands: Any, caplog: pytest.LogCaptureFixture
) -> None:
    entrance = door(allow_all=True, admin_users={"ann"})
    assert entrance.enter("Ann")["name"] == "mallory"
    assert entrance.enter("Ann")["admin"] is False
    # Also for a previous administrator, and in an existing session.
    assert entrance.stays(changed_hands.mallory)["admin"] is False
    assert entrance.enter("Anna")["admin"] is True
    assert entrance.stays(changed_hands.ann)["admin"] is True
    # With both numbers, and only once.
    numbers = {model["name"]: model["auth_state"]["github_user"]["id"] for model in vars(changed_hands).values()}
    said = [each for each in caplog.messages if "does not get the rights that settings give" in each]
    assert len(said) == 1
    assert f"number {numbers['mallory']}" in said[0]
    assert f"number {numbers['ann']}" in said[0]


def test_taking_over_a_login_does_not_admit(door: Any, github: GitHub, changed_hands: Any) -> None:
    entrance = door(allowed_users={"ann"})
    with pytest.raises(RefusedError) as refused:
        entrance.enter("Ann")
    assert refused.value.jupyterhub_message.startswith(
        "The login Ann is or was that of another GitHub account here, so it does not let you in."
    )
    assert entrance.stays(changed_hands.mallory) is False
    assert entrance.enter("Anna")["name"] == "ann"


def test_former_login_stays_reserved(door: Any, github: GitHub) -> None:
    """Ann is an administrator by a later login, abandons it, and others take it: a known account, then a new one."""
    entrance = door(allow_all=True, admin_users={"chief"})
    ann, bob = entrance.enter("Ann"), entrance.enter("bob")
    github.rename_user("Ann", "Chief")
    # No other account had it; a refresh notices that she has it now.
    assert entrance.stays(ann)["admin"] is True
    github.rename_user("Chief", "Ann")
    assert entrance.stays(ann)["admin"] is False
    github.rename_user("bob", "chief")
    assert entrance.stays(bob)["admin"] is False
    github.rename_user("chief", "bob")
    github.add_user("chief")
    with pytest.raises(RefusedError):
        entrance.enter("chief")


def test_account_is_blocked_by_every_name(door: Any, github: GitHub, changed_hands: Any) -> None:
    by_login = door(allow_all=True, blocked_users={"anna"})
    assert by_login.stays(changed_hands.ann) is False
    assert by_login.stays(changed_hands.mallory)
    by_name = door(allow_all=True, blocked_users={"mallory"})
    with pytest.raises(RefusedError):
        by_name.enter("Ann")
    # A new login does not lift the block.
    seen = door(allow_all=True)
    seen.enter("Anna")
    github.rename_user("Anna", "Annabel")
    with pytest.raises(RefusedError):
        by_login.enter("Annabel")


def test_account_blocked_by_a_former_login_leaves_while_github_is_down(door: Any, github: GitHub) -> None:
    ann = door(allow_all=True).enter("Ann")
    github.rename_user("Ann", "Anna")
    door(allow_all=True).enter("Anna")
    github.break_down(503)
    entrance = door(allow_all=True, blocked_users={"anna"})
    assert entrance.stays(ann) is False
    assert not may_stay(entrance, {**ann, "auth_state": None})


def test_users_of_environments_match_username_or_current_login(door: Any, changed_hands: Any) -> None:
    entrance = door(allow_all=True)
    entrance.enter("Anna")
    entrance.enter("Ann")
    assert entrance.authenticator.names("ann") == {"ann", "anna"}
    assert entrance.authenticator.names("mallory") == {"mallory"}
    assert entrance.authenticator.names(emergency_link.USER) == {emergency_link.USER}


def test_session_does_not_continue_as_another_user(door: Any, github: GitHub) -> None:
    """The administrator released its name, which now belongs to another account, or to none."""
    entrance = door(allow_all=True)
    ann = entrance.enter("Ann")
    github.rename_user("Ann", "Anna")
    entrance.authenticator._identities.forget("ann")
    assert entrance.stays(ann) is False


def test_sessions_and_tokens_of_a_previous_owner_are_revoked(door: Any, github: GitHub) -> None:
    """The previous owner used another authenticator, or was an account that has been forgotten."""
    entrance = door(allow_all=True)
    db = entrance.authenticator.parent.db
    server, user = orm.Server(base_url="/user/ann/"), orm.User(name="ann")
    clients = [orm.OAuthClient(identifier=name) for name in ("jupyterhub", "jupyterhub-user-ann")]
    db.add_all([user, server, orm.Spawner(user=user, name="", server=server), *clients])
    db.commit()
    user.new_api_token(note="mine", scopes=[])
    orm.APIToken.new(user=user, client_id="jupyterhub-user-ann", scopes=[])
    user.new_api_token(note="Server at /user/ann/", scopes=[])
    orm.ShareCode.new(db, user.orm_spawners[""], scopes=["access:servers!server=ann/"])
    cookie = user.cookie_id
    entrance.enter("Ann")
    assert user.cookie_id != cookie
    assert db.query(orm.ShareCode).count() == 0
    # A running server continues.
    assert [token.note for token in user.api_tokens] == ["Server at /user/ann/"]
    # The same account again: nothing is revoked.
    user.new_api_token(note="hers", scopes=[])
    cookie = user.cookie_id
    entrance.enter("Ann")
    assert user.cookie_id == cookie
    assert [token.note for token in user.api_tokens] == ["Server at /user/ann/", "hers"]


def test_mapped_name_is_reserved_too(door: Any, github: GitHub) -> None:
    entrance = door(allow_all=True, username_map={"bob": "ann"})
    entrance.enter("Ann")
    with pytest.raises(RefusedError):
        entrance.enter("bob")
