"""Requests of open pages that wait for a change: few of a user at a time, and nothing stays of those that are gone."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests
from hub_site import Site
from jupyterhub import orm
from jupyterhub_ansible.audit import pages, visits
from jupyterhub_ansible.messages.handlers import Inbox
from jupyterhub_ansible.web import waiting
from jupyterhub_ansible.web.waiting import MOST, WaitingHandler


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("hub")) as made:
        yield made


class Page:
    """An open page: its request waits for an answer."""

    def __init__(self, site: Site, path: str, session: requests.Session) -> None:
        self.socket = socket.create_connection(("127.0.0.1", site.port), timeout=10)
        cookies = "; ".join(f"{each.name}={each.value}" for each in session.cookies)
        head = f"GET /hub/{path} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\nCookie: {cookies}\r\n\r\n"
        self.socket.sendall(head.encode())

    def answer(self) -> tuple[dict[str, str], Any]:
        head, _, body = self.socket.recv(65536).partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        fields = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
        return {name.lower(): value for name, _, value in fields}, json.loads(body)


def eventually(what: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def held(site: Site) -> list[int]:
    """Return how many requests wait, by user."""
    found: list[int] = site.inside(lambda: [len(each) for each in WaitingHandler._waiting.values()])
    return found


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what is logged after the login, whose last line may come late."""
    return [each for each in caplog.messages if "/hub/login" not in each]


PATHS = {
    "messages?seen=": lambda: Inbox.messages.send("Hello", "ann", "olga", 60),
    f"{pages.VISITS_PATH}?known={{known}}": lambda: visits.opened("vera", "ann", ""),
}
"""Requests, and what answers them."""


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("jupyterhub_ansible.audit.events.sinks", [visits.SHARED.take])
    yield str(request.param).format(known=visits.SHARED.changes("ann"))
    for message in site.inside(lambda: [each.id for each in Inbox.messages.all()]):
        site.inside(partial(Inbox.messages.remove, message))


def test_a_change_answers_all_pages(site: Site, path: str) -> None:
    ann = site.session("ann")
    opened = [Page(site, path, ann) for _ in range(3)]
    eventually(lambda: held(site) == [3])
    site.inside(next(tell for start, tell in PATHS.items() if path.startswith(start.partition("?")[0])))
    for page in opened:
        headers, answer = page.answer()
        assert "retry-after" not in headers
        assert answer["messages"][0]["text"] == "Hello" if "messages" in answer else answer["latest"] not in path
    eventually(lambda: held(site) == [])


def test_a_page_that_is_closed_leaves_nothing(site: Site, path: str, caplog: pytest.LogCaptureFixture) -> None:
    ann = site.session("ann")
    caplog.clear()
    opened = [Page(site, path, ann) for _ in range(3)]
    eventually(lambda: held(site) == [3])
    for page in opened:
        page.socket.close()
    eventually(lambda: held(site) == [])
    assert logged(caplog) == []


def test_the_oldest_makes_room(site: Site, path: str, caplog: pytest.LogCaptureFixture) -> None:
    ann, ben = (site.session(name) for name in ("ann", "ben"))
    caplog.clear()
    other = Page(site, "messages?seen=", ben)
    eventually(lambda: held(site) == [1])
    first = Page(site, path, ann)
    eventually(lambda: sum(held(site)) == 2)
    opened = [Page(site, path, ann) for _ in range(MOST)]
    assert first.answer()[0]["retry-after"] == str(waiting.PAUSE_S)
    assert first.status == 429
    eventually(lambda: held(site) == [1, MOST])
    for page in (other, *opened):
        page.socket.close()
    eventually(lambda: held(site) == [])
    assert logged(caplog) == []


def test_waiting_is_no_activity_and_is_not_logged(
    site: Site, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyterhub_ansible.messages.handlers.WAIT_S", 0)
    monkeypatch.setattr(pages, "WAIT_S", 0)
    ann = site.session("ann")

    def last(value: Any = None) -> Any:
        found = orm.User.find(site.hub.db, "ann")
        if value is not None:
            found.last_activity = None
            site.hub.db.commit()
        return found.last_activity

    site.inside(lambda: last("never"))
    caplog.clear()
    for _ in range(3):
        Page(site, path, ann).answer()
    assert site.inside(last) is None
    assert logged(caplog) == []
    assert requests.get(f"{site.url}/messages", timeout=10).status_code == 403
    eventually(lambda: "403 GET /hub/messages" in caplog.text)
