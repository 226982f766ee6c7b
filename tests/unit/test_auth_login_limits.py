"""Limits on passwords and tokens in a real JupyterHub without its proxy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from unittest.mock import AsyncMock

import pytest
import requests
from hub_site import DAY_S, PASSWORD, Site
from jupyterhub import orm
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub_ansible.audit import events, refusals
from jupyterhub_ansible.auth import emergency_link, throttle, tokens


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("hub")
    pages = ((emergency_link.PATH, emergency_link.EmergencyLinkHandler),)
    with pytest.MonkeyPatch.context() as patch, Site(folder, pages) as site:
        patch.setattr(emergency_link.EmergencyLinkHandler, "ticket", folder / "break-glass.json")
        yield site


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine, one more attempt may be allowed meanwhile.
    stands_still = time.monotonic()
    monkeypatch.setattr(refusals, "SHARED", refusals.Refusals())
    monkeypatch.setattr(throttle, "SHARED", throttle.LoginThrottle(clock=lambda: stands_still))


def statuses(answers: list[requests.Response]) -> dict[int, int]:
    found = [answer.status_code for answer in answers]
    return {status: found.count(status) for status in sorted(set(found))}


def test_guesses_on_the_login_page(site: Site) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.log_in("ann", "wrong"), range(30)))
    assert statuses(answers) == {403: throttle.PAIR.burst, 429: 30 - throttle.PAIR.burst}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["Retry-After"]) <= throttle.PAIR.seconds
    # The page allows another attempt.
    assert '<p class="login_error">Too many failed logins. Please try again in ' in refused.text
    assert 'name="password"' in refused.text
    assert site.log_in("ann", PASSWORD).status_code == 429
    assert site.log_in("ann", PASSWORD, "192.0.2.2").status_code == 302
    assert site.log_in("bob", PASSWORD).status_code == 302


@pytest.mark.parametrize("fields", [{"username": "ann", "password": "größer"}, {"username": "ann"}, {"password": "x"}])
def test_malformed_login_causes_no_traceback(site: Site, fields: dict[str, str]) -> None:
    with requests.Session() as session:
        session.get(f"{site.url}/login").raise_for_status()
        answer = session.post(f"{site.url}/login", data={"_xsrf": session.cookies["_xsrf"], **fields})
    assert answer.status_code == 403
    assert "Invalid username or password" in answer.text


def test_unreachable_directory_is_not_a_failed_login(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SharedPasswordAuthenticator, "authenticate", AsyncMock(side_effect=OSError("down")))
        assert statuses([site.log_in("ann", PASSWORD) for _ in range(8)]) == {500: 8}
    assert site.log_in("ann", PASSWORD).status_code == 302


def test_guesses_by_the_api(site: Site) -> None:
    site.log_in("ann", PASSWORD, "192.0.2.9")
    answers = [site.ask_for_token("ann", "wrong") for _ in range(8)]
    assert statuses(answers) == {403: throttle.PAIR.burst, 429: 8 - throttle.PAIR.burst}
    assert answers[-1].json()["message"].startswith("Too many failed logins. Please try again in ")
    assert int(answers[-1].headers["Retry-After"]) > 0
    # Page and API share their counts.
    assert site.log_in("ann", "wrong").status_code == 429
    assert site.ask_for_token("ann", PASSWORD, "192.0.2.2").status_code == 201


@pytest.mark.parametrize("body", ['{"auth": 1}', '{"auth": {"username": ["ann"]}}', "{}", ""])
def test_malformed_password_counts_too(site: Site, body: str) -> None:
    most = throttle.ADDRESS.burst
    answers = [requests.post(f"{site.url}/api/users/ann/tokens", data=body, timeout=30) for _ in range(most + 5)]
    assert statuses(answers) == {403: most, 429: 5}


def test_slowed_down_logins_are_one_line_of_the_audit_trail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "sinks", [recorded.append])
    site.log_in("ann", PASSWORD, "192.0.2.9")
    answers = [site.log_in("ann", "wrong") for _ in range(8)]
    answers += [site.ask_for_token("ann", "wrong") for _ in range(2)]
    assert statuses(answers) == {403: 5, 429: 5}
    assert [(each["event"], each["actor"], each["details"]) for each in recorded] == [
        ("login refused", "ann", {"why": "slowed down, since too many failed"})
    ]
    site.inside(lambda: refusals.SHARED.settle(everything=True))
    assert recorded[-1]["details"]["more"] == 4


def test_guesses_at_the_emergency_link(site: Site) -> None:
    def opened(key: str) -> requests.Response:
        return requests.get(f"{site.url}{emergency_link.PATH}?key={key}", timeout=30)

    answers = [opened("wrong") for _ in range(8)]
    assert statuses(answers) == {403: throttle.PAIR.burst, 429: 8 - throttle.PAIR.burst}
    assert "Too many failed logins. Please try again in " in answers[-1].text
    # A valid key cannot be guessed, and is never delayed.
    key = emergency_link.make(emergency_link.EmergencyLinkHandler.ticket, time.time())
    assert "Log in as the administrator" in opened(key).text


def test_tokens_expire(site: Site) -> None:
    site.log_in("carl", PASSWORD)
    made = site.ask_for_token("carl", PASSWORD).json()
    expires = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created"])
    assert expires.days in (89, 90)
    refused = site.ask_for_token("carl", PASSWORD, expires_in=91 * DAY_S)
    assert (refused.status_code, refused.json()["message"]) == (
        400,
        f"token expires_in: {91 * DAY_S} must not exceed {90 * DAY_S}",
    )
    for over in (0, -1):
        refused = site.ask_for_token("carl", PASSWORD, expires_in=over)
        assert refused.status_code == 400
        assert refused.json()["message"] == "token expires_in must be a positive number of seconds"
    cookies = site.log_in("carl", PASSWORD).cookies
    page = requests.get(f"{site.url}/token", cookies=cookies, timeout=30).text
    assert "Max (90 days)" in page
    assert ">Never</option>" not in page


def test_number_of_tokens_is_limited(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST", 3)
    site.log_in("dora", PASSWORD)
    made = [site.ask_for_token("dora", PASSWORD) for _ in range(3)]
    assert statuses(made) == {201: 3}
    refused = site.ask_for_token("dora", PASSWORD)
    assert refused.status_code == 409
    assert "dora has 3 API tokens, the most that a user may have. Revoke those" in refused.json()["message"]
    assert "token" not in refused.json()
    # For each user; an unauthorized caller does not learn the number.
    assert site.ask_for_token("emil", "wrong").status_code == 403
    assert "3 API tokens" not in site.ask_for_token("dora", "wrong").text
    db = orm.new_session_factory(site.config.JupyterHub.db_url)()
    assert len(tokens.made_by(orm.User.find(db, "dora"))) == 3
    # Revoking one makes room.
    first = made[0].json()
    requests.delete(
        f"{site.url}/api/users/dora/tokens/{first['id']}",
        headers={"Authorization": f"token {first['token']}"},
        timeout=30,
    ).raise_for_status()
    assert site.ask_for_token("dora", PASSWORD).status_code == 201
