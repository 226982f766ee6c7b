"""The GitHub authenticator against the stand-in for GitHub: who is admitted, and who must leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from github import GitHub
from jupyterhub_ansible.auth.github import GitHubUnavailableError, RefusedError
from tornado.httpclient import HTTPClientError


def test_organization_member_is_allowed(door: Any) -> None:
    assert door(allowed_organizations={"acme"}).enter("Ann")["name"] == "ann"


def test_list_of_own_organizations_is_not_needed(door: Any, github: GitHub) -> None:
    """The list omits organizations that restrict apps."""
    entrance = door(allowed_organizations={"acme"})
    github.break_down(404, below="/api/v3/user/orgs")
    ann = entrance.enter("Ann")
    assert entrance.stays(ann)["name"] == "ann"


def test_refusal_names_the_reason(door: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(RefusedError) as refused:
        door(allowed_organizations={"acme"}, allowed_groups={"acme:data-science"}).enter("bob")
    assert refused.value.jupyterhub_message.startswith(
        "The GitHub account bob is not a member of the organization acme or the team acme:data-science,"
    )
    assert "Login refused: The GitHub account bob is not a member of the organization acme" in caplog.text
    with pytest.raises(RefusedError) as refused:
        door(allowed_users={"ann"}).enter("bob")
    assert "not on the list" in refused.value.jupyterhub_message
    assert refused.value.reason == "Forbidden"


def test_team_member_is_allowed(door: Any, github: GitHub) -> None:
    entrance = door(allowed_groups={"acme:data-science"})
    assert entrance.enter("Ann")["groups"] == ["acme:data-science"]
    github.set_member("Acme", "bob")
    with pytest.raises(RefusedError):
        entrance.enter("bob")


def test_teams_of_other_organizations_are_not_groups(door: Any, github: GitHub) -> None:
    github.add_organization("Private")
    github.set_member("Private", "Ann")
    github.add_team("Private", "Choir")
    github.add_team_member("Private", "choir", "Ann")
    assert door(allowed_organizations={"acme"}).enter("Ann")["groups"] == ["acme:data-science"]


def test_teams_of_environments_are_groups(door: Any, github: GitHub) -> None:
    """Even if no organization or team is allowed."""
    assert door(allow_all=True).enter("Ann").get("groups") is None
    entrance = door(allow_all=True, groups_with_access={"acme:data-science"})
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
    # Explicitly False, so that a former administrator does not remain one.
    assert door(admin_groups={"acme:data-science"}, allowed_organizations={"acme"}).stays(ann)["admin"] is False
    assert door(allowed_organizations={"acme"}).stays(ann)["admin"] is False


def test_without_organizations_and_teams_no_scope_is_requested(door: Any, github: GitHub) -> None:
    entrance = door(allowed_users={"bob"})
    assert entrance.authenticator.scope == []
    assert "groups" not in entrance.enter("bob")
    assert github.count("/api/v3/user/teams") == 0


def test_allow_all(door: Any) -> None:
    assert door(allow_all=True).enter("bob")["name"] == "bob"


@pytest.mark.parametrize("allowed", [{"allow_all": True}, {"allowed_users": {"bob"}}])
def test_blocked_account_is_refused(door: Any, allowed: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        door(blocked_users={"bob"}, **allowed).enter("bob")
    assert "blocked" in refused.value.jupyterhub_message


def test_removed_member_must_leave(door: Any, github: GitHub, caplog: pytest.LogCaptureFixture) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    assert entrance.stays(ann)["name"] == "ann"
    github.remove_member("Acme", "Ann")
    assert entrance.stays(ann) is False
    assert "ann may not stay: The GitHub account Ann is not a member of the organization acme" in caplog.text


def test_revoked_authorization_ends_the_session(door: Any, github: GitHub) -> None:
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.revoke_tokens("Ann")
    assert entrance.stays(ann) is False


@pytest.mark.parametrize("said", ["name", "login of now"])
def test_blocked_account_must_leave(door: Any, github: GitHub, said: str) -> None:
    ann = door(allowed_organizations={"acme"}).enter("Ann")
    github.rename_user("Ann", "Anna")
    blocked = {"ann"} if said == "name" else {"anna"}
    assert door(allow_all=True, blocked_users=blocked).stays(ann) is False


def test_blocked_account_must_leave_while_github_is_down(door: Any, github: GitHub) -> None:
    bob = door(allow_all=True).enter("bob")
    github.break_down(503)
    assert door(allow_all=True, blocked_users={"bob"}).stays(bob) is False


@pytest.mark.parametrize("trouble", ["503", "slow", "rate limit", "secondary rate limit", "only said", "gone"])
def test_without_an_answer_sessions_stay_and_logins_fail(door: Any, github: GitHub, trouble: str) -> None:
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


def test_unanswered_membership_is_inconclusive(door: Any, github: GitHub) -> None:
    """GitHubOAuthenticator takes any answer but 204 for "not a member"."""
    entrance = door(allowed_organizations={"acme"})
    ann = entrance.enter("Ann")
    github.break_down(502, below="/api/v3/orgs")
    assert entrance.stays(ann) is True


@pytest.mark.parametrize(("code", "stays"), [(400, True), (403, True), (404, True), (401, False)])
def test_hidden_organization_is_inconclusive(
    door: Any, monkeypatch: pytest.MonkeyPatch, code: int, stays: bool
) -> None:
    """Unless GitHub says that the token is invalid."""
    entrance = door(allowed_organizations={"acme"})
    ann, httpfetch = entrance.enter("Ann"), entrance.authenticator.httpfetch

    async def answers(url: str, *args: Any, **kwargs: Any) -> Any:
        if url.endswith("/orgs/acme"):
            raise HTTPClientError(code)
        return await httpfetch(url, *args, **kwargs)

    monkeypatch.setattr(entrance.authenticator, "httpfetch", answers)
    assert entrance.stays(ann) is stays
