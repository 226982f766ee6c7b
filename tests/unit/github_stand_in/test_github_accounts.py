"""Accounts: renamed, deleted, logged without secrets."""

from __future__ import annotations

import json

import pytest
import requests
from github import GitHub
from github_client import CHALLENGE, CONTROL, SECRET, VERIFIER, Browser, ask, came_back, exchange


def test_a_renamed_user_keeps_id_memberships_and_tokens(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client", "read:org")
    number = github.user("alice").id
    github.rename_user("ALICE", "alicia")
    user = ask(url, "/user", token).json()
    assert (user["id"], user["login"]) == (number, "alicia")
    assert ask(url, "/orgs/acme/members/alicia", token).status_code == 204
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 404
    assert github.add_user("Alice").id != number
    with pytest.raises(ValueError, match="alice is taken"):
        github.rename_user("alicia", "alice")
    assert github.rename_user("alicia", "Alicia").id == number


def test_a_deleted_account_frees_its_login_for_another_id(github: GitHub, url: str) -> None:
    browser = Browser(url)
    token = exchange(url, browser.code("alice"))["access_token"]
    number = github.user("alice").id
    github.delete_user("alice")
    assert ask(url, "/user", token).status_code == 401
    assert "Username or email address" in browser.authorize().text
    assert number not in github.organization("acme").members
    assert number not in github.team("acme", "data-science").members
    assert github.add_user("alice").id > number
    token = github.issue_token("alice", "client", "read:org")
    assert ask(url, "/user/teams", token).json() == []
    carols = github.issue_token("carol", "client", "read:org")
    assert ask(url, "/orgs/acme/members/alice", carols).status_code == 404


@pytest.mark.parametrize("login", ["", "-a", "a-", "a--b", "a b", "a" * 40, "a_b_c"])
def test_invalid_logins(github: GitHub, login: str) -> None:
    with pytest.raises(ValueError, match="cannot be a login"):
        github.add_user(login)


@pytest.mark.parametrize("login", ["a", "a-b-1", "a" * 39, "octocat_corp"])
def test_valid_logins(github: GitHub, login: str) -> None:
    assert github.add_user(login) is github.user(login.upper())


def test_users_and_organizations_share_logins(github: GitHub) -> None:
    with pytest.raises(ValueError, match="Acme is taken"):
        github.add_user("Acme")


def test_requests_are_logged_without_secrets(github: GitHub, url: str) -> None:
    browser = Browser(url)
    code = browser.code("alice", code_challenge=CHALLENGE, code_challenge_method="S256")
    token = exchange(url, code, code_verifier=VERIFIER)["access_token"]
    unused = came_back(browser.authorize())["code"]
    ask(url, f"/api/v3/user?access_token={token}", token)
    ask(url, "/api/v3/user", "gho_wrong")
    seen = [(asked.method, asked.path, asked.status, asked.login) for asked in github.requests]
    assert seen[-4:] == [
        ("POST", "/login/oauth/access_token", 200, None),
        ("GET", "/login/oauth/authorize", 302, None),
        ("GET", "/api/v3/user", 200, "alice"),
        ("GET", "/api/v3/user", 401, None),
    ]
    assert github.count("/api/v3/user") == 2
    assert github.count("/login/oauth/access_token", "POST") == 1
    [session] = github.sessions
    said = repr(github) + json.dumps(requests.get(f"{url}/_control/requests", headers=CONTROL, timeout=5).json())
    for secret in (code, unused, token, SECRET, VERIFIER, session, github.sessions[session].authenticity_token):
        assert secret not in said
    github.forget_requests()
    assert github.count("/api/v3/user") == 0
