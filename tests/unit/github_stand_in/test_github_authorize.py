"""Signing in, and authorizing an app."""

from __future__ import annotations

import pytest
from github import GitHub
from github.oauth import redirects_to
from github_client import CALLBACK, CHALLENGE, SECRET, VERIFIER, Browser, came_back, exchange


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


def test_sign_in_by_email_and_as_an_unknown_user(github: GitHub, url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="mallory")
    assert 'role="alert"' in page.text
    assert "Authorize JupyterHub" in browser.submit(page, login=github.user("alice").email).text


def test_signing_up_is_offered_unless_the_app_does_not_want_it(url: str) -> None:
    assert "Create an account" in Browser(url).authorize().text
    assert "Create an account" not in Browser(url).authorize(allow_signup="false").text


def test_authorized_app_is_asked_again_only_for_more_scopes(url: str) -> None:
    browser = Browser(url)
    browser.code("alice")
    assert "code" in came_back(browser.authorize())
    # Without scopes, the granted ones apply.
    code = came_back(browser.authorize(scope=""))["code"]
    assert exchange(url, code)["scope"] == "read:org"
    page = browser.authorize(scope="read:org user:email")
    assert "Authorize JupyterHub" in page.text
    # In another browser, the same user only has to sign in.
    other = Browser(url)
    assert "code" in came_back(other.submit(other.authorize(), login="alice"))


def test_cancel_is_reported_to_the_app(url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    back = came_back(browser.submit(page, authorize="0"))
    assert back["error"] == "access_denied"
    assert back["error_description"] == "The user has denied your application access."
    assert back["state"] == "xyz"
    # It granted nothing.
    assert "Authorize JupyterHub" in browser.authorize().text


@pytest.mark.parametrize("token", ["", "wrong"])
def test_another_site_cannot_press_the_button(url: str, token: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    assert browser.submit(page, authorize="1", authenticity_token=token).status_code == 422
    assert "Authorize JupyterHub" in browser.authorize().text


def test_redirect_uri_of_the_form_is_checked_again(url: str) -> None:
    browser = Browser(url)
    page = browser.submit(browser.authorize(), login="alice")
    back = came_back(browser.submit(page, authorize="1", redirect_uri="https://evil.example.com/"))
    assert back["error"] == "redirect_uri_mismatch"


def test_an_unknown_app_is_not_found(url: str) -> None:
    page = Browser(url).authorize(client_id="another")
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")


def test_wrong_redirect_uri_is_reported_to_the_registered_one(url: str) -> None:
    back = came_back(Browser(url).authorize(redirect_uri="https://evil.example.com/hub/oauth_callback"))
    assert back["error"] == "redirect_uri_mismatch"
    assert back["state"] == "xyz"


@pytest.mark.parametrize("pkce", [{"code_challenge": CHALLENGE}, {"code_challenge_method": "S256"}])
def test_a_challenge_is_of_sha256(url: str, pkce: dict[str, str]) -> None:
    assert came_back(Browser(url).authorize(**pkce))["error"] == "invalid_request"
    plain = {"code_challenge": VERIFIER, "code_challenge_method": "plain"}
    assert came_back(Browser(url).authorize(**plain))["error"] == "invalid_request"


def test_sign_in_redirects_nowhere_else(url: str) -> None:
    browser = Browser(url)
    for elsewhere in ("https://evil.example.com/", "//evil.example.com/", "/\\evil.example.com"):
        form = {"login": "alice", "return_to": elsewhere}
        answer = browser.post(f"{url}/session", data=form, allow_redirects=False)
        assert answer.headers["Location"] == "/"


def test_user_names_are_escaped(github: GitHub, url: str) -> None:
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
        # Attempts to bypass the check.
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
