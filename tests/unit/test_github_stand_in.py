"""The stand-in for GitHub answers as GitHub documents it, over real HTTP, and oauthenticator takes it for GitHub."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
import requests
from certipy import Certipy
from github import GitHub, running
from github.control import METHODS
from github.oauth import redirects_to
from github.scopes import covered, normalized
from oauthenticator.github import GitHubOAuthenticator
from requests import Response

CALLBACK = "https://hub.example.org/hub/oauth_callback"
SECRET = "the-client-secret"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CONTROL = {"X-Control-Token": "control"}


@pytest.fixture
def github() -> GitHub:
    """Two organizations: alice is in one and in a team of it, bob in none."""
    github = GitHub()
    github.register_app("client", SECRET, CALLBACK)
    for login in ("alice", "bob", "carol"):
        github.add_user(login)
    github.add_organization("acme")
    github.set_member("acme", "alice")
    github.set_member("acme", "carol", public=True)
    github.add_team("acme", "Data Science")
    github.add_team_member("acme", "data-science", "alice")
    return github


@pytest.fixture
def url(github: GitHub) -> Iterator[str]:
    with running(github, control_token="control") as url:
        yield url


class Browser(requests.Session):
    """What somebody sees who goes where they are sent, until the way leads to the app."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self.url = url

    def follow(self, answer: Response) -> Response:
        while answer.is_redirect and answer.headers["Location"].startswith("/"):
            answer = self.get(self.url + answer.headers["Location"], allow_redirects=False)
        return answer

    def authorize(self, **asked: str) -> Response:
        query = {"client_id": "client", "redirect_uri": CALLBACK, "state": "xyz", "scope": "read:org", **asked}
        return self.follow(self.get(f"{self.url}/login/oauth/authorize?{urlencode(query)}", allow_redirects=False))

    def submit(self, page: Response, **fields: str) -> Response:
        [action] = re.findall(r'<form method="post" action="([^"]+)">', page.text)
        return self.follow(self.post(self.url + action, data={**hidden(page), **fields}, allow_redirects=False))

    def code(self, login: str, **asked: str) -> str:
        page = self.submit(self.authorize(**asked), login=login)
        return came_back(self.submit(page, authorize="1"))["code"]


def hidden(page: Response) -> dict[str, str]:
    inputs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
    return {name: unescape(value) for name, value in inputs}


def came_back(answer: Response) -> dict[str, str]:
    """What the app learns from the address that a browser comes back to."""
    assert answer.status_code == 302
    address = urlsplit(answer.headers["Location"])
    assert address._replace(query="").geturl() == CALLBACK
    return dict(parse_qsl(address.query))


def exchange(url: str, code: str, /, **changed: str) -> dict[str, str]:
    form = {"client_id": "client", "client_secret": SECRET, "code": code, "redirect_uri": CALLBACK, **changed}
    answer = requests.post(
        f"{url}/login/oauth/access_token", data=form, headers={"Accept": "application/json"}, timeout=5
    )
    assert answer.status_code == 200
    said: dict[str, str] = answer.json()
    return said


def ask(url: str, path: str, token: str, **headers: str) -> Response:
    return requests.get(
        f"{url}{path}", headers={"Authorization": f"Bearer {token}", **headers}, timeout=5, allow_redirects=False
    )


# The authorize page


def test_first_sign_in_then_authorize_then_come_back_with_code_and_state(url: str) -> None:
    browser = Browser(url)
    page = browser.authorize(login="alice")
    assert '<label for="login_field">Username or email address</label>' in page.text
    assert 'value="alice"' in page.text
    page = browser.submit(page, login="alice")
    assert '<button name="authorize" value="1">Authorize JupyterHub</button>' in page.text
    assert "read:org" in page.text
    assert "acme: access granted" in page.text
    back = came_back(browser.submit(page, authorize="1"))
    assert back["state"] == "xyz"
    assert set(back) == {"code", "state"}


def test_one_may_sign_in_by_email_and_a_stranger_may_not(github: GitHub, url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="mallory")
    assert 'role="alert"' in page.text
    assert "Authorize JupyterHub" in browser.submit(page, login=github.user("alice").email).text


def test_signing_up_is_offered_unless_the_app_does_not_want_it(url: str) -> None:
    assert "Create an account" in Browser(url).authorize().text
    assert "Create an account" not in Browser(url).authorize(allow_signup="false").text


def test_who_has_authorized_is_not_asked_again_but_for_more(url: str) -> None:
    browser = Browser(url)
    browser.code("alice")
    assert "code" in came_back(browser.authorize())
    # Asking for nothing gives what was granted.
    code = came_back(browser.authorize(scope=""))["code"]
    assert exchange(url, code)["scope"] == "read:org"
    page = browser.authorize(scope="read:org user:email")
    assert "Authorize JupyterHub" in page.text
    # Another browser of the same user has to sign in, and no more.
    other = Browser(url)
    assert "code" in came_back(other.submit(other.authorize(), login="alice"))


def test_cancel_is_told_to_the_app(url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    back = came_back(browser.submit(page, authorize="0"))
    assert back["error"] == "access_denied"
    assert back["error_description"] == "The user has denied your application access."
    assert back["state"] == "xyz"
    # Nothing was granted by it.
    assert "Authorize JupyterHub" in browser.authorize().text


@pytest.mark.parametrize("token", ["", "wrong"])
def test_another_site_cannot_press_the_button(url: str, token: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    assert browser.submit(page, authorize="1", authenticity_token=token).status_code == 422
    assert "Authorize JupyterHub" in browser.authorize().text


def test_the_form_s_address_is_checked_again(url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    back = came_back(browser.submit(page, authorize="1", redirect_uri="https://evil.example.com/"))
    assert back["error"] == "redirect_uri_mismatch"


def test_an_unknown_app_is_not_found(url: str) -> None:
    page = Browser(url).authorize(client_id="another")
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")


def test_another_address_than_the_registered_one_is_told_to_the_registered_one(url: str) -> None:
    back = came_back(Browser(url).authorize(redirect_uri="https://evil.example.com/hub/oauth_callback"))
    assert back["error"] == "redirect_uri_mismatch"
    assert back["state"] == "xyz"


@pytest.mark.parametrize("pkce", [{"code_challenge": CHALLENGE}, {"code_challenge_method": "S256"}])
def test_a_challenge_is_of_sha256(url: str, pkce: dict[str, str]) -> None:
    assert came_back(Browser(url).authorize(**pkce))["error"] == "invalid_request"
    plain = {"code_challenge": VERIFIER, "code_challenge_method": "plain"}
    assert came_back(Browser(url).authorize(**plain))["error"] == "invalid_request"


def test_a_sign_in_leads_nowhere_else(url: str) -> None:
    browser = Browser(url)
    for elsewhere in ("https://evil.example.com/", "//evil.example.com/", "/\\evil.example.com"):
        form = {"login": "alice", "return_to": elsewhere}
        answer = browser.post(f"{url}/session", data=form, allow_redirects=False)
        assert answer.headers["Location"] == "/"


def test_what_users_are_called_is_no_markup(github: GitHub, url: str) -> None:
    github.register_app("client", SECRET, CALLBACK, name="<b>Hub</b>")
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    assert "<b>" not in page.text
    assert '"<script>' not in Browser(url).authorize(login='"<script>').text


@pytest.mark.parametrize(
    ("registered", "asked", "fits"),
    [
        # GitHub's own examples.
        ("http://example.com/path", "http://example.com/path", True),
        ("http://example.com/path", "http://example.com/path/subdir/other", True),
        ("http://example.com/path", "http://oauth.example.com/path", True),
        ("http://example.com/path", "http://oauth.example.com/path/subdir/other", True),
        ("http://example.com/path", "http://example.com/bar", False),
        ("http://example.com/path", "http://example.com/", False),
        ("http://example.com/path", "http://example.com:8080/path", False),
        ("http://example.com/path", "http://oauth.example.com:8080/path", False),
        ("http://example.com/path", "http://example.org", False),
        ("http://127.0.0.1/path", "http://127.0.0.1:1234/path", True),
        # And what somebody would try.
        ("https://example.com/path", "http://example.com:443/path", False),
        ("http://example.com/path", "http://example.com/pathology", False),
        ("http://example.com/path", "http://example.com/path/../bar", False),
        ("http://example.com/path", "http://badexample.com/path", False),
        ("http://example.com/path", "http://example.com@evil.example.org/path", False),
        ("http://example.com", "http://example.com/path", True),
    ],
)
def test_addresses_that_fit_a_callback(registered: str, asked: str, fits: bool) -> None:
    assert redirects_to(registered, asked) is fits


# The exchange of a code for a token


def test_a_code_is_good_for_one_token(github: GitHub, url: str) -> None:
    code = Browser(url).code("alice")
    answer = exchange(url, code)
    assert re.fullmatch(r"gho_[0-9a-f]{36}", answer["access_token"])
    assert answer["token_type"] == "bearer"
    assert answer["scope"] == "read:org"
    assert ask(url, "/user", answer["access_token"]).json()["login"] == "alice"
    assert exchange(url, code)["error"] == "bad_verification_code"


def test_the_answer_is_a_form_unless_json_is_asked_for(url: str) -> None:
    form = {"client_id": "client", "client_secret": SECRET, "code": Browser(url).code("alice")}
    answer = requests.post(f"{url}/login/oauth/access_token", data=form, timeout=5)
    assert answer.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(answer.text)["token_type"] == ["bearer"]


def test_the_app_may_say_who_it_is_by_basic_authentication(url: str) -> None:
    form = {"code": Browser(url).code("alice")}
    for secret, good in (("wrong", False), (SECRET, True)):
        answer = requests.post(f"{url}/login/oauth/access_token", data=form, auth=("client", secret), timeout=5)
        assert ("access_token" in parse_qs(answer.text)) is good


@pytest.mark.parametrize(
    ("changed", "error", "description"),
    [
        (
            {"client_secret": "wrong"},
            "incorrect_client_credentials",
            "The client_id and/or client_secret passed are incorrect.",
        ),
        (
            {"client_id": "wrong"},
            "incorrect_client_credentials",
            "The client_id and/or client_secret passed are incorrect.",
        ),
        ({"code": "wrong"}, "bad_verification_code", "The code passed is incorrect or expired."),
        (
            {"redirect_uri": f"{CALLBACK}/below"},
            "redirect_uri_mismatch",
            "The redirect_uri MUST match the registered callback URL for this application.",
        ),
        ({"code_verifier": VERIFIER}, "bad_verification_code", "The code passed is incorrect or expired."),
        ({"grant_type": "password"}, "unsupported_grant_type", "The grant type is not supported."),
    ],
)
def test_what_is_wrong_with_an_exchange(url: str, changed: dict[str, str], error: str, description: str) -> None:
    answer = exchange(url, Browser(url).code("alice"), **changed)
    assert answer.keys() == {"error", "error_description", "error_uri"}
    assert (answer["error"], answer["error_description"]) == (error, description)
    assert answer["error_uri"].startswith("https://docs.github.com/")


def test_a_code_is_another_app_s(github: GitHub, url: str) -> None:
    github.register_app("other", "other-secret", CALLBACK)
    code = Browser(url).code("alice")
    assert exchange(url, code, client_id="other", client_secret="other-secret")["error"] == "bad_verification_code"
    # Who has no right to the code does not use it up.
    assert "access_token" in exchange(url, code)


def test_a_code_expires_after_10_minutes(github: GitHub, url: str) -> None:
    browser = Browser(url)
    code = browser.code("alice")
    github.advance(10 * 60 - 5)
    assert "access_token" in exchange(url, code)
    code = came_back(browser.authorize())["code"]
    github.advance(10 * 60)
    assert exchange(url, code)["error"] == "bad_verification_code"


@pytest.mark.parametrize(("verifier", "good"), [(VERIFIER, True), ("w" * 43, False), (None, False)])
def test_pkce_is_verified(url: str, verifier: str | None, good: bool) -> None:
    code = Browser(url).code("alice", code_challenge=CHALLENGE, code_challenge_method="S256")
    changed = {} if verifier is None else {"code_verifier": verifier}
    assert ("access_token" in exchange(url, code, **changed)) is good


def test_a_changed_client_secret_is_void_at_once_and_tokens_stay(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client")
    github.change_client_secret("client", "another")
    code = Browser(url).code("alice")
    assert exchange(url, code)["error"] == "incorrect_client_credentials"
    assert "access_token" in exchange(url, code, client_secret="another")
    assert ask(url, "/user", token).status_code == 200


def test_of_eleven_tokens_the_oldest_is_revoked(github: GitHub, url: str) -> None:
    other = github.issue_token("alice", "client", "user:email")
    first, *others = [github.issue_token("alice", "client", "read:org") for _ in range(11)]
    assert ask(url, "/user", first).status_code == 401
    assert all(ask(url, "/user", token).status_code == 200 for token in (*others, other))


def test_scopes() -> None:
    assert normalized("user:email,user unknown read:org") == {"user", "read:org"}
    assert covered({"user:email", "read:org"}, {"user", "admin:org"})
    assert not covered({"user"}, {"user:email"})
    assert not covered({"read:org"}, {"user"})


# The API


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
def test_without_a_good_token(url: str, header: str, message: str) -> None:
    answer = ask(url, "/api/v3/user", "", Authorization=header)
    assert answer.status_code == 401
    assert answer.json()["message"] == message
    assert answer.json()["documentation_url"].startswith("https://docs.github.com/rest")


def test_a_good_token_is_sent_as_one(github: GitHub, url: str) -> None:
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
    # The authorization stays, so that she is not asked again.
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


def test_who_is_invited_is_no_member_yet(github: GitHub, url: str) -> None:
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
    # To outsiders, and to an app without the scope, there is no such team.
    assert ask(url, f"{team}/members/alice", bob).status_code == 404
    assert ask(url, f"{team}/members/alice", github.issue_token("alice", "client", "user")).status_code == 404


def test_who_is_added_to_a_team_is_invited_to_the_organization(github: GitHub, url: str) -> None:
    github.add_team_member("acme", "data-science", "bob")
    alice, bob = (github.issue_token(login, "client", "read:org") for login in ("alice", "bob"))
    team = "/orgs/acme/teams/data-science"
    assert ask(url, f"{team}/memberships/bob", alice).json()["state"] == "pending"
    assert ask(url, f"{team}/members/bob", alice).status_code == 404
    assert ask(url, "/user/teams", bob).json() == []
    github.set_member("acme", "bob")
    assert ask(url, f"{team}/members/bob", alice).status_code == 204
    assert [found["slug"] for found in ask(url, "/user/teams", bob).json()] == ["data-science"]


def test_who_leaves_an_organization_leaves_its_teams(github: GitHub, url: str) -> None:
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
    # What it shows to everybody.
    assert ask(url, "/api/v3/orgs/Acme", token).json()["id"] == github.organization("acme").id
    assert ask(url, "/orgs/none", token).status_code == 404
    browser = Browser(url)
    page = browser.submit(browser.authorize(scope="user:email"), login="alice")
    assert "acme: an owner must approve this application" in page.text
    github.approve_app("acme", "client")
    assert ask(url, "/orgs/acme/members/alice", token).status_code == 204
    assert "acme: access granted" in browser.authorize(scope="user:email").text


@pytest.mark.parametrize("path", ["/api/v3/nothing", "/user/nothing", "/orgs/acme/nothing"])
def test_what_the_api_does_not_have_is_not_found_in_json(github: GitHub, url: str, path: str) -> None:
    answer = ask(url, path, github.issue_token("alice", "client"))
    assert (answer.status_code, answer.json()["message"]) == (404, "Not Found")
    assert requests.get(f"{url}/nothing", timeout=5).headers["Content-Type"].startswith("text/html")


# Limits and outages


def limits(answer: Response) -> dict[str, str]:
    names = ("Limit", "Remaining", "Used", "Resource")
    return {name: answer.headers[f"X-RateLimit-{name}"] for name in names}


def test_requests_are_counted_by_user(github: GitHub, url: str) -> None:
    alice, again, bob = (github.issue_token(login, "client") for login in ("alice", "alice", "bob"))
    assert limits(ask(url, "/user", alice)) == {
        "Limit": "5000",
        "Remaining": "4999",
        "Used": "1",
        "Resource": "core",
    }
    assert limits(ask(url, "/orgs/none/members/x", again))["Used"] == "2"
    assert limits(ask(url, "/user", bob))["Used"] == "1"
    # To ask for the limit does not count.
    for _ in range(2):
        answer = ask(url, "/rate_limit", alice)
        assert answer.json()["rate"] == answer.json()["resources"]["core"]
        assert answer.json()["rate"]["remaining"] == 4998


def test_an_unchanged_answer_is_free(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client", "read:org")
    first = ask(url, "/user/teams", token)
    etag = first.headers["ETag"]
    again = ask(url, "/user/teams", token, **{"If-None-Match": f'"other", {etag}'})
    assert (again.status_code, again.text, again.headers["ETag"]) == (304, "", etag)
    assert limits(again)["Used"] == limits(first)["Used"] == "1"
    github.remove_team_member("acme", "data-science", "alice")
    changed = ask(url, "/user/teams", token, **{"If-None-Match": etag})
    assert (changed.status_code, changed.json(), limits(changed)["Used"]) == (200, [], "2")
    assert changed.headers["ETag"] != etag
    # Nobody else's answer is the same.
    other = ask(url, "/user/teams", github.issue_token("bob", "client", "read:org"))
    assert other.json() == []
    assert other.headers["ETag"] != changed.headers["ETag"]


def test_the_primary_limit(github: GitHub, url: str) -> None:
    github.limit_rate(2, window_s=3600)
    token = github.issue_token("alice", "client")
    answers = [ask(url, "/user", token) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 403]
    assert [limits(answer)["Remaining"] for answer in answers] == ["1", "0", "0", "0"]
    assert answers[2].json()["message"] == f"API rate limit exceeded for user ID {github.user('alice').id}."
    assert "Retry-After" not in answers[2].headers
    assert 3590 < int(answers[2].headers["X-RateLimit-Reset"]) - time.time() <= 3600
    assert ask(url, "/user", github.issue_token("bob", "client")).status_code == 200
    github.advance(3600)
    assert ask(url, "/user", token).status_code == 200


@pytest.mark.parametrize(("status", "retry_after"), [(403, 60), (429, None)])
def test_the_secondary_limit(github: GitHub, url: str, status: int, retry_after: int | None) -> None:
    token = github.issue_token("alice", "client")
    github.limit_secondarily(status, retry_after)
    answer = ask(url, "/user", token)
    assert answer.status_code == status
    assert answer.json()["message"].startswith("You have exceeded a secondary rate limit.")
    assert answer.headers.get("Retry-After") == (str(retry_after) if retry_after else None)
    assert limits(answer)["Remaining"] == "5000"
    github.recover()
    assert ask(url, "/user", token).status_code == 200


def test_an_enterprise_server_without_limits(github: GitHub, url: str) -> None:
    github.limit_rate(None)
    token = github.issue_token("alice", "client")
    assert not [name for name in ask(url, "/api/v3/user", token).headers if name.startswith("X-RateLimit")]
    assert ask(url, "/api/v3/rate_limit", token).status_code == 404


@pytest.mark.parametrize("status", [502, 503])
def test_being_down(github: GitHub, url: str, status: int) -> None:
    token = github.issue_token("alice", "client")
    github.break_down(status)
    assert ask(url, "/api/v3/user", token).status_code == status
    assert Browser(url).authorize().status_code == status
    github.break_down(status, below="/api/v3/")
    assert ask(url, "/api/v3/user", token).status_code == status
    assert Browser(url).authorize().status_code == 200
    github.recover()
    assert ask(url, "/api/v3/user", token).status_code == 200


def test_answering_late(github: GitHub, url: str) -> None:
    token = github.issue_token("alice", "client")
    github.break_down(status=None, delay_s=0.3)
    begun = time.monotonic()
    assert ask(url, "/user", token).status_code == 200
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize("patient", [True, False])
def test_a_request_that_hangs_keeps_nobody_from_stopping(github: GitHub, patient: bool) -> None:
    github.break_down(status=None, delay_s=60)
    begun = time.monotonic()
    with ThreadPoolExecutor(1) as pool, running(github) as url:
        hanging = pool.submit(requests.get, f"{url}/user", timeout=10 if patient else 0.1)
        with pytest.raises(TimeoutError if patient else requests.Timeout):
            hanging.result(0.3)
    assert time.monotonic() - begun < 5
    assert [asked.status for asked in github.requests] == [499]


def test_the_state_outlives_the_server(github: GitHub) -> None:
    token = github.issue_token("alice", "client")
    with running(github) as url:
        pass
    with pytest.raises(requests.ConnectionError):
        ask(url, "/user", token)
    with running(github, port=urlsplit(url).port or 0) as again:
        assert again == url
        assert ask(url, "/user", token).status_code == 200


# Accounts


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
def test_what_cannot_be_a_login(github: GitHub, login: str) -> None:
    with pytest.raises(ValueError, match="cannot be a login"):
        github.add_user(login)


@pytest.mark.parametrize("login", ["a", "a-b-1", "a" * 39, "octocat_corp"])
def test_what_can(github: GitHub, login: str) -> None:
    assert github.add_user(login) is github.user(login.upper())


def test_users_and_organizations_share_logins(github: GitHub) -> None:
    with pytest.raises(ValueError, match="Acme is taken"):
        github.add_user("Acme")


# What was asked


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


# Control over HTTP


def control(url: str, method: str, **arguments: Any) -> Response:
    return requests.post(f"{url}/_control/{method}", json=arguments, headers=CONTROL, timeout=5)


def test_control_calls_methods_of_the_state(github: GitHub, url: str) -> None:
    made = control(url, "add_user", login="dora").json()
    assert (made["id"], made["login"]) == (github.user("dora").id, "dora")
    assert control(url, "set_member", organization="acme", login="dora", public=True).json() is None
    assert github.organization("acme").has(github.user("dora"), publicly=True)
    token = control(url, "issue_token", login="dora", client_id="client", scopes="read:org").json()
    assert ask(url, "/user", token).json()["login"] == "dora"
    assert control(url, "count", path="/user").json() == 1
    # It works while GitHub is down, or nothing could bring it up.
    control(url, "break_down", status=503)
    assert ask(url, "/user", token).status_code == 503
    control(url, "recover")
    assert ask(url, "/user", token).status_code == 200
    assert {asked["path"] for asked in requests.get(f"{url}/_control/requests", headers=CONTROL, timeout=5).json()} == {
        "/user"
    }


@pytest.mark.parametrize(
    ("method", "arguments", "status"),
    [
        ("add_user", {"login": "alice"}, 422),
        ("add_user", {"name": "no login"}, 422),
        ("delete_user", {"login": "nobody"}, 404),
        ("exchange", {}, 404),
        ("__init__", {}, 404),
    ],
)
def test_control_says_what_cannot_be_done(url: str, method: str, arguments: dict[str, Any], status: int) -> None:
    assert control(url, method, **arguments).status_code == status


def test_control_names_methods_that_there_are() -> None:
    assert not METHODS - set(dir(GitHub))


def test_control_needs_its_token(github: GitHub, url: str) -> None:
    for headers in ({}, {"X-Control-Token": "wrong"}):
        assert requests.post(f"{url}/_control/recover", headers=headers, timeout=5).status_code == 403
        assert requests.get(f"{url}/_control/requests", headers=headers, timeout=5).status_code == 403
    with running(github) as without:
        answer = requests.post(f"{without}/_control/recover", headers={"X-Control-Token": ""}, timeout=5)
        assert answer.status_code == 403


def test_a_process_of_its_own_by_https(tmp_path: Path) -> None:
    certipy = Certipy(store_dir=str(tmp_path))
    certipy.create_ca("authority")
    made = certipy.create_signed_pair("github", "authority", alt_names=["IP:127.0.0.1"])["files"]
    command = [sys.executable, "-m", "github", "--port", "0", "--https", made["cert"], made["key"]]
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(tests), "GITHUB_CONTROL_TOKEN": "control"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().strip()
            assert url.startswith("https://127.0.0.1:")
            session = requests.Session()
            session.trust_env, session.verify = False, made["ca"]
            answer = session.post(f"{url}/_control/add_user", json={"login": "a"}, headers=CONTROL, timeout=5)
            assert answer.json()["login"] == "a"
        finally:
            process.terminate()


def test_a_process_without_control_is_no_use() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "GITHUB_CONTROL_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-m", "github"], env=environment, capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 2
    assert "GITHUB_CONTROL_TOKEN is not set" in done.stderr


# The real client


class Callback:
    """What oauthenticator asks of the request that comes back to the Hub."""

    def __init__(self, code: str, verifier: str = VERIFIER) -> None:
        self.code = code
        self.state = base64.urlsafe_b64encode(json.dumps({"code_verifier": verifier}).encode()).decode()

    def get_argument(self, name: str) -> str:
        return {"code": self.code}[name]

    def get_state_cookie(self) -> str:
        return self.state


def authenticator(url: str, **traits: Any) -> GitHubOAuthenticator:
    given = {"client_id": "client", "client_secret": SECRET, "oauth_callback_url": CALLBACK, "scope": ["read:org"]}
    return GitHubOAuthenticator(github_url=url, **{**given, **traits})


def log_in(github: GitHub, url: str, login: str, **traits: Any) -> tuple[dict[str, Any], bool]:
    """Log in as the Hub does; return what it knows of the user, and whether they are allowed in."""

    async def run() -> tuple[dict[str, Any], bool]:
        hub = authenticator(url, **traits)
        asked = {"scope": " ".join(hub.scope), "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        code = await asyncio.to_thread(Browser(url).code, login, **asked)
        model = await hub.authenticate(Callback(code))
        return model, await hub.check_allowed(model["name"], model)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("login", "allowed", "expected"),
    [
        ("alice", "acme", True),
        ("carol", "acme", True),
        ("bob", "acme", False),
        ("alice", "acme:data-science", True),
        ("carol", "acme:data-science", False),
        ("bob", "acme:data-science", False),
    ],
)
def test_oauthenticator_lets_in_members(github: GitHub, url: str, login: str, allowed: str, expected: bool) -> None:
    model, is_allowed = log_in(github, url, login, allowed_organizations={allowed})
    assert model["name"] == login
    assert model["auth_state"]["github_user"]["id"] == github.user(login).id
    assert is_allowed is expected


@pytest.mark.parametrize(("login", "expected"), [("alice", False), ("carol", True)])
def test_oauthenticator_follows_to_the_public_members(github: GitHub, url: str, login: str, expected: bool) -> None:
    _, is_allowed = log_in(github, url, login, allowed_organizations={"acme"}, scope=[])
    assert is_allowed is expected


def test_oauthenticator_reads_all_pages_of_teams_and_the_email(github: GitHub, url: str) -> None:
    for number in range(101):
        github.add_team("acme", f"team-{number}")
        github.add_team_member("acme", f"team-{number}", "alice")
    model, _ = log_in(github, url, "alice", populate_teams_in_auth_state=True)
    assert len(model["auth_state"]["teams"]) == 102
    assert github.count("/api/v3/user/teams") == 2
    model, _ = log_in(github, url, "bob", scope=["user:email"])
    assert model["auth_state"]["github_user"]["email"] == github.user("bob").email


@pytest.mark.parametrize(
    ("traits", "verifier", "message"),
    [
        ({"client_secret": "wrong"}, VERIFIER, "The client_id and/or client_secret passed are incorrect."),
        ({"oauth_callback_url": f"{CALLBACK}/x"}, VERIFIER, "The redirect_uri MUST match"),
        ({}, "w" * 43, "The code passed is incorrect or expired."),
    ],
)
def test_oauthenticator_is_told_what_is_wrong(url: str, traits: dict[str, str], verifier: str, message: str) -> None:
    code = Browser(url).code("alice", code_challenge=CHALLENGE, code_challenge_method="S256")
    with pytest.raises(Exception, match=message):
        asyncio.run(authenticator(url, **traits).authenticate(Callback(code, verifier)))
