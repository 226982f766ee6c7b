"""Exchanging a code for a token."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

import pytest
import requests
from github import GitHub
from github.scopes import covered, normalized
from github_client import CALLBACK, CHALLENGE, SECRET, VERIFIER, Browser, ask, came_back, exchange


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


def test_app_may_use_basic_authentication(url: str) -> None:
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
def test_errors_of_an_exchange(url: str, changed: dict[str, str], error: str, description: str) -> None:
    answer = exchange(url, Browser(url).code("alice"), **changed)
    assert answer.keys() == {"error", "error_description", "error_uri"}
    assert (answer["error"], answer["error_description"]) == (error, description)
    assert answer["error_uri"].startswith("https://docs.github.com/")


def test_code_of_another_app(github: GitHub, url: str) -> None:
    github.register_app("other", "other-secret", CALLBACK)
    code = Browser(url).code("alice")
    assert exchange(url, code, client_id="other", client_secret="other-secret")["error"] == "bad_verification_code"
    # A wrong client does not use up the code.
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
