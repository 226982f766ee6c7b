"""Rate limits and outages."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
from github import GitHub, running
from github_client import Browser, ask
from requests import Response


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
    # Requests for the limit do not count.
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
    # For another user, the answer differs.
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
def test_hanging_request_does_not_block_shutdown(github: GitHub, patient: bool) -> None:
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
