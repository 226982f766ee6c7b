"""The REST API: users, e-mail addresses, organizations, teams."""

from __future__ import annotations

import pytest
import requests
from github import GitHub
from github_client import Browser, ask, came_back, exchange


@pytest.mark.parametrize("prefix", ["", "/api/v3"])
@pytest.mark.parametrize("kind", ["token", "Bearer", "bearer"])
def test_user(github: GitHub, url: str, prefix: str, kind: str) -> None:
    token = github.issue_token("alice", "client", "read:org user:email")
    answer = ask(url, f"{prefix}/user", token, Authorization=f"{kind} {token}")
    user = answer.json()
    assert (user["id"], user["login"], user["type"]) == (github.user("alice").id, "alice", "User")
    assert (user["name"], user["email"]) == (None, None)
    assert {"node_id", "avatar_url", "html_url", "site_admin"} <= user.keys()
    assert answer.headers["X-OAuth-Scopes"] == "read:org, user:email"
    assert answer.headers["X-Accepted-OAuth-Scopes"] == ""
    assert ask(url, f"{prefix}/user", github.issue_token("bob", "client")).json()["id"] != user["id"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "Requires authentication"),
        ("Bearer gho_unknown", "Bad credentials"),
        ("Basic YTpi", "Bad credentials"),
    ],
)
def test_invalid_tokens(url: str, header: str, message: str) -> None:
    answer = ask(url, "/api/v3/user", "", Authorization=header)
    assert answer.status_code == 401
    assert answer.json()["message"] == message
    assert answer.json()["documentation_url"].startswith("https://docs.github.com/rest")


def test_valid_token_must_be_sent_as_bearer(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client")
    assert ask(url, "/user", token, Authorization=f"Basic {token}").status_code == 401
    assert ask(url, "/user", token, Authorization=token).status_code == 401


def test_revoked_tokens_and_grants(github: GitHub, url: str) -> None:
    browser = Browser(url)
    token = exchange(url, browser.code("alice"))["access_token"]
    bobs = github.issue_token("bob", "client")
    github.revoke_tokens("alice")
    assert ask(url, "/user", token).status_code == 401
    assert ask(url, "/user", bobs).status_code == 200
    # The authorization remains, so that she is not asked again.
    code = came_back(browser.authorize())["code"]
    github.revoke_grants("alice")
    assert exchange(url, code)["error"] == "bad_verification_code"
    assert "Authorize JupyterHub" in browser.authorize().text


def test_emails_are_shown_by_scope(github: GitHub, url: str) -> None:
    assert ask(url, "/user/emails", github.issue_token("alice", "client", "read:user")).status_code == 404
    [email] = ask(url, "/user/emails", github.issue_token("alice", "client", "user:email")).json()
    assert email == {
        "email": f"{github.user('alice').id}+alice@users.noreply.example.org",
        "primary": True,
        "verified": True,
        "visibility": "private",
    }
    github.add_user("dora", name="Dora", email="dora@example.com", email_public=True)
    dora = ask(url, "/user", github.issue_token("dora", "client")).json()
    assert (dora["name"], dora["email"]) == ("Dora", "dora@example.com")


def test_organizations_are_shown_by_scope(github: GitHub, url: str) -> None:
    refused = ask(url, "/user/orgs", github.issue_token("alice", "client", "user:email"))
    assert refused.status_code == 403
    assert "read:org scope" in refused.json()["message"]
    [acme] = ask(url, "/user/orgs", github.issue_token("alice", "client", "read:org")).json()
    assert (acme["login"], acme["id"]) == ("acme", github.organization("acme").id)
    assert ask(url, "/user/orgs", github.issue_token("bob", "client", "read:org")).json() == []


def test_teams_come_in_pages(github: GitHub, url: str) -> None:
    for number in range(4):
        github.add_team("acme", f"Team {number}")
        github.add_team_member("acme", f"team-{number}", "alice")
    token = github.issue_token("alice", "client", "read:org")
    seen, path, links = [], "/api/v3/user/teams?per_page=2", []
    while path:
        answer = ask(url, path, token)
        seen += [(team["organization"]["login"], team["slug"]) for team in answer.json()]
        links.append({name: link["url"] for name, link in answer.links.items()})
        path = links[-1].get("next", "").removeprefix(url)
    assert seen == [("acme", slug) for slug in ("data-science", "team-0", "team-1", "team-2", "team-3")]
    assert [set(page) for page in links] == [{"next", "last"}, {"prev", "first", "next", "last"}, {"prev", "first"}]
    assert links[0]["last"] == f"{url}/api/v3/user/teams?per_page=2&page=3"
    everything = ask(url, "/user/teams?per_page=1000", token)
    assert len(everything.json()) == 5
    assert "Link" not in everything.headers
    assert ask(url, "/user/teams?page=9", token).json() == []
    assert ask(url, "/user/teams", github.issue_token("alice", "client")).status_code == 403


def test_at_most_a_hundred_a_page(github: GitHub, url: str) -> None:
    for number in range(101):
        github.add_team("acme", f"team-{number}")
        github.add_team_member("acme", f"team-{number}", "alice")
    token = github.issue_token("alice", "client", "read:org")
    assert len(ask(url, "/user/teams?per_page=1000", token).json()) == 100
    assert len(ask(url, "/user/teams", token).json()) == 30


@pytest.mark.parametrize("path", ["/api/v3/nothing", "/user/nothing", "/orgs/acme/nothing"])
def test_unknown_paths_are_not_found_in_json(github: GitHub, url: str, path: str) -> None:
    answer = ask(url, path, github.issue_token("alice", "client"))
    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
    assert requests.get(f"{url}/nothing", timeout=5).headers["Content-Type"].startswith("text/html")
