"""oauthenticator's own GitHub authenticator against the stand-in."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from github import GitHub
from github_client import CALLBACK, CHALLENGE, SECRET, VERIFIER, Browser
from oauthenticator.github import GitHubOAuthenticator


class Callback:
    """The callback request to the Hub, as far as oauthenticator uses it."""

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
    """Log in as the Hub does; return the auth model, and whether the user is allowed."""

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
def test_oauthenticator_allows_members(github: GitHub, url: str, login: str, allowed: str, expected: bool) -> None:
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
def test_oauthenticator_gets_the_error(url: str, traits: dict[str, str], verifier: str, message: str) -> None:
    code = Browser(url).code("alice", code_challenge=CHALLENGE, code_challenge_method="S256")
    with pytest.raises(Exception, match=message):
        asyncio.run(authenticator(url, **traits).authenticate(Callback(code, verifier)))
