"""The REST API: members of organizations and teams."""

from __future__ import annotations

import pytest
from github import GitHub
from github_client import Browser, ask


def test_a_member_sees_who_is_a_member(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client", "read:org")
    members = "/api/v3/orgs/acme/members"
    assert ask(url, f"{members}/alice", token).status_code == 204
    assert ask(url, "/api/v3/orgs/ACME/members/Carol", token).status_code == 204
    for nobody in ("bob", "nobody"):
        assert ask(url, f"{members}/{nobody}", token).status_code == 404
    assert ask(url, "/api/v3/orgs/none/members/alice", token).status_code == 404


@pytest.mark.parametrize(("login", "scope"), [("bob", "read:org"), ("alice", "user:email"), ("alice", "")])
@pytest.mark.parametrize(("asked", "status"), [("carol", 204), ("alice", 404), ("bob", 404)])
def test_others_are_sent_to_the_public_members(
    github: GitHub, url: str, login: str, scope: str, asked: str, status: int
) -> None:
    token = github.issue_token(login, "client", scope)
    answer = ask(url, f"/api/v3/orgs/acme/members/{asked}", token)
    assert answer.status_code == 302
    location = answer.headers["Location"]
    assert location == f"{url}/api/v3/organizations/{github.organization('acme').id}/public_members/{asked}"
    assert ask(url, location.removeprefix(url), token).status_code == status
    assert ask(url, f"/api/v3/orgs/acme/public_members/{asked}", token).status_code == status


@pytest.mark.parametrize("scope", ["read:org", "admin:org", "user"])
def test_scopes_that_show_private_memberships(github: GitHub, url: str, scope: str) -> None:
    token = github.issue_token("alice", "client", scope)
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 204


def test_invited_user_is_not_a_member_yet(github: GitHub, url: str) -> None:
    github.set_member("acme", "bob", pending=True)
    alice, bob = (github.issue_token(login, "client", "read:org") for login in ("alice", "bob"))
    assert ask(url, "/orgs/acme/members/bob", alice).status_code == 404
    assert ask(url, "/orgs/acme/members/bob", bob).status_code == 302
    assert ask(url, "/user/orgs", bob).json() == []
    github.set_member("acme", "bob")
    assert ask(url, "/orgs/acme/members/bob", bob).status_code == 204


def test_members_of_a_team(github: GitHub, url: str) -> None:
    alice, bob = (github.issue_token(login, "client", "read:org") for login in ("alice", "bob"))
    team = "/api/v3/orgs/acme/teams/data-science"
    assert ask(url, f"{team}/members/alice", alice).status_code == 204
    assert ask(url, "/api/v3/orgs/Acme/teams/Data-Science/members/ALICE", alice).status_code == 204
    assert ask(url, f"{team}/members/carol", alice).status_code == 404
    assert ask(url, "/api/v3/orgs/acme/teams/none/members/alice", alice).status_code == 404
    membership = ask(url, f"{team}/memberships/alice", alice)
    assert (membership.status_code, membership.json()["state"]) == (200, "active")
    assert ask(url, f"{team}/memberships/carol", alice).status_code == 404
    # Hidden from outsiders, and from apps without the scope.
    assert ask(url, f"{team}/members/alice", bob).status_code == 404
    assert ask(url, f"{team}/members/alice", github.issue_token("alice", "client", "user")).status_code == 404


def test_adding_to_a_team_invites_to_the_organization(github: GitHub, url: str) -> None:
    github.add_team_member("acme", "data-science", "bob")
    alice, bob = (github.issue_token(login, "client", "read:org") for login in ("alice", "bob"))
    team = "/orgs/acme/teams/data-science"
    assert ask(url, f"{team}/memberships/bob", alice).json()["state"] == "pending"
    assert ask(url, f"{team}/members/bob", alice).status_code == 404
    assert ask(url, "/user/teams", bob).json() == []
    github.set_member("acme", "bob")
    assert ask(url, f"{team}/members/bob", alice).status_code == 204
    assert [found["slug"] for found in ask(url, "/user/teams", bob).json()] == ["data-science"]


def test_leaving_an_organization_leaves_its_teams(github: GitHub, url: str) -> None:
    token = github.issue_token("carol", "client", "read:org")
    github.remove_team_member("acme", "data-science", "alice")
    assert ask(url, "/orgs/acme/teams/data-science/members/alice", token).status_code == 404
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 204
    github.add_team_member("acme", "data-science", "alice")
    github.remove_member("acme", "Alice")
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 404
    github.set_member("acme", "alice")
    assert ask(url, "/orgs/acme/teams/data-science/members/alice", token).status_code == 404


def test_an_organization_that_restricts_apps(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client", "read:org")
    github.restrict_apps("acme")
    for path in ("members/alice", "public_members/carol", "teams/data-science/members/alice"):
        answer = ask(url, f"/orgs/acme/{path}", token)
        assert answer.status_code == 403
        assert "the `acme` organization has enabled OAuth App access restrictions" in answer.json()["message"]
        assert answer.headers["X-RateLimit-Remaining"] != "0"
    assert ask(url, "/user/orgs", token).json() == ask(url, "/user/teams", token).json() == []
    # Its public data.
    assert ask(url, "/api/v3/orgs/Acme", token).json()["id"] == github.organization("acme").id
    assert ask(url, "/orgs/none", token).status_code == 404
    browser = Browser(url)
    page = browser.submit(browser.authorize(scope="user:email"), login="alice")
    assert "acme: an owner must approve this application" in page.text
    github.approve_app("acme", "client")
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 204
    assert "acme: access granted" in browser.authorize(scope="user:email").text
