"""Sharing by link: made, accepted, used, revoked, ended by time; what guests and strangers cannot do."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from e2e.browser import accessibility_faults, browser, go, shoot
from e2e.client import Kernel, Server, eventually
from e2e.deployment import ARTEFACTS, Deployment, docker
from e2e.people import Person, Place, github
from e2e.sharing import ask, link, open_as_guest
from playwright.sync_api import Page, expect
from websockets import ConnectionClosed, InvalidStatus

OUT_S = 30
"""Whose access has ended is out after so many seconds."""


@pytest.fixture(scope="module")
def place(deployment: Deployment) -> Iterator[Place]:
    with github(f"{deployment.name}-control", deployment.url, ARTEFACTS / "tls") as (account, settings, certificate):
        account.add_organization("acme")
        account.add_team("acme", "Data")
        # Its members have access by it, so the Hub knows them as a group.
        settings |= {"hub_sharing": "groups", "hub_github_allowed_teams": ["acme:data"]}
        deployment.run(settings=settings).succeeded()
        yield Place(deployment, account, settings, certificate)
        for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
            docker("rm", "--force", name)


@pytest.fixture(scope="module")
def ann(place: Place) -> Person:
    """Somebody who owns a running server, and another one."""
    ann = place.member("Ann", "data")
    ann.server().start("base")
    ann.server("other").start("base")
    ann.server().write("hers.txt", "by Ann")
    ann.server("other").write("secret.txt", "nobody else's")
    return ann


@pytest.fixture(scope="module")
def ben(place: Place) -> Person:
    return place.member("Ben", "data")


def shared(guest: Person, server: str = "") -> Server:
    """Return ann's server as a guest reaches it."""
    return Server(guest, server, owner="ann")


def ends(kernel: Kernel) -> None:
    """Wait until the Hub's answer ends the connection: nothing is sent."""
    end = time.monotonic() + OUT_S

    def receive() -> None:
        while True:
            kernel.receive(max(0.0, end - time.monotonic()))

    with pytest.raises(ConnectionClosed) as closed:
        receive()
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1008


def sign_in(page: Page, login: str) -> None:
    page.get_by_label("Username or email address").fill(login)
    page.get_by_role("button", name="Sign in").click()
    if page.get_by_role("button", name="Authorize").count():
        page.get_by_role("button", name="Authorize").click()


def test_link_from_hand_to_hand_in_a_browser(place: Place, ann: Person, ben: Person) -> None:
    host = urlsplit(place.settings["hub_github_url"]).hostname or ""
    url = place.deployment.url
    with browser(host) as context:
        owner = context.new_page()
        go(owner, f"{url}/hub/oauth_login?next=/hub/home")
        sign_in(owner, "Ann")
        owner.get_by_role("link", name="Share Default server").click()
        expect(owner.get_by_text("Nobody but you.")).to_be_visible()
        assert accessibility_faults(owner, "serious", "critical") == []
        owner.get_by_label("Access for").select_option("a week")
        owner.get_by_role("button", name="Make a link").click()
        made = owner.get_by_label("Copy this link and send it")
        expect(made).to_be_visible()
        address = made.input_value()
        assert address.startswith(f"{url}/hub/accept-share#")
        expect(owner.get_by_text("Ends in 6 days, used 0 times")).to_be_visible()
        shoot(owner, "sharing-1-owner")
        assert context.browser
        other = context.browser.new_context(ignore_https_errors=True)
        other.set_default_timeout(60_000)
        guest = other.new_page()
        # Not logged in: what stands behind the # comes through the login.
        go(guest, address)
        assert "#" not in guest.url
        guest.get_by_role("link", name="Log in").click()
        guest.get_by_role("button", name=re.compile("Sign in with")).click()
        sign_in(guest, "Ben")
        expect(guest.get_by_text("ann lets you use their server")).to_be_visible()
        assert accessibility_faults(guest, "serious", "critical") == []
        shoot(guest, "sharing-2-guest")
        guest.get_by_role("button", name="Accept").click()
        expect(guest.get_by_role("heading", name="Shared with you")).to_be_visible()
        assert accessibility_faults(guest, "serious", "critical") == []
        shoot(guest, "sharing-3-guest-s-home")
        guest.get_by_role("link", name="Open Default server of ann").click()
        guest.get_by_role("button", name=re.compile("Authorize")).click()
        expect(guest.get_by_text("hers.txt").first).to_be_visible()
        # Nobody gives on what was only given to them: the menu leads only the owner to the page Share.
        guest.get_by_role("menuitem", name="File", exact=True).click()
        expect(guest.get_by_role("menuitem", name="Hub Control Panel")).to_be_visible()
        expect(guest.get_by_role("menuitem", name="Share This Server")).to_have_count(0)
        go(lab := context.new_page(), f"{url}/user/ann/lab")
        lab.get_by_role("menuitem", name="File", exact=True).click()
        shoot(lab, "sharing-4-menu")
        with context.expect_page() as opened:
            lab.get_by_role("menuitem", name="Share This Server").click()
        expect(opened.value.get_by_role("heading", name="Share Default server")).to_be_visible()
        owner.reload()
        expect(owner.get_by_text("ben, since")).to_be_visible()
        owner.get_by_role("button", name="Remove ben").click()
        expect(owner.get_by_text("Nobody but you.")).to_be_visible()
        expect(owner.get_by_text("No links.")).to_be_visible()
        other.close()
    # Who came by it, and who finds it in a log: the code is in none.
    code = address.partition("#")[2]
    for container in (place.deployment.hub, f"{place.deployment.name}-proxy"):
        assert code not in docker("logs", container)
    assert ask(ben, "accept", code=code).status_code == 404


@pytest.mark.parametrize("end", ["removed", "time"])
def test_whose_access_ends_is_out_with_open_connections(place: Place, ann: Person, ben: Person, end: str) -> None:
    code = link(ann, lasts_s=3600 if end == "removed" else 60)
    began = time.monotonic()
    assert ask(ben, "accept", code=code).status_code == 204
    # Twice is no better.
    assert ask(ben, "accept", code=code).status_code == 204
    open_as_guest(ben, "ann").raise_for_status()
    guests = shared(ben)
    assert guests.read("hers.txt") == "by Ann"
    with guests.kernel() as kernel, ann.server().kernel() as hers:
        assert kernel.execute("open('hers.txt').read()").result == "'by Ann'"
        if end == "removed":
            [share] = re.findall(r'data-end="guest" data-id="(\d+)"', ann.request("GET", "/hub/share").text)
            assert ask(ann, "end", server="", what="guest", id=int(share)).status_code == 204
        else:
            time.sleep(max(0.0, 60 - (time.monotonic() - began)))
        ends(kernel)
        with pytest.raises(InvalidStatus):
            kernel.reconnect()
        assert not ben.request("GET", f"{guests.path}api/contents").ok
        assert hers.execute("1 + 1").result == "2"
    assert "Shared with you" not in ben.request("GET", "/hub/home").text
    assert ask(ben, "accept", code=code).status_code == 404
    assert open_as_guest(ben, "ann").status_code == 403


def test_guest_starts_a_stopped_server_as_its_owner_chose_it(place: Place, ann: Person, ben: Person) -> None:
    server = ann.server()
    ask(ben, "accept", code=link(ann)).raise_for_status()
    server.stop()
    assert "Stopped: ask ann to start it" in re.sub(r"\s+", " ", ben.request("GET", "/hub/home").text)
    assert "Please ask ann to start it" in ben.request("GET", "/hub/user/ann/lab").text
    refused = ask(ben, "start", owner="ann", server="")
    assert (refused.status_code, "Please ask ann" in refused.json()["message"]) == (403, True)
    ask(ben, "accept", code=link(ann, start=True)).raise_for_status()
    # Only that: neither another environment nor another name, stop or further server.
    own = ("users/ann/server", {"user_options": {"profile": "datascience"}})
    for method, (path, body) in {"POST": own, "PATCH": own, "DELETE": own, "PUT": ("users/ann/servers/x", {})}.items():
        assert ben.api(method, path, json=body).status_code in (403, 404), method
    assert ben.request("GET", "/hub/spawn/ann").status_code in (403, 404)
    assert ask(ben, "start", owner="ann", server="").status_code == 202
    eventually("it runs", lambda: open_as_guest(ben, "ann").ok)
    container = place.deployment.server("ann")
    assert "env-base" in container["Config"]["Image"]
    # It was started while it was shared: both see what the other one types.
    assert "JUPYTERHUB_COLLABORATION=1" in container["Config"]["Env"]


def test_guest_reaches_nothing_else(place: Place, ann: Person, ben: Person) -> None:
    ask(ben, "accept", code=link(ann)).raise_for_status()
    open_as_guest(ben, "ann").raise_for_status()
    inside = shared(ben).run("import os; print(os.environ['JUPYTERHUB_API_TOKEN'])").stdout.strip()
    stranger = requests.Session()
    stranger.headers["Authorization"] = f"token {inside}"
    closed = ("/user/ann/other/api/contents", "/user/ann/api/contents", "/hub/api/users/ann/tokens", "/hub/api/users")
    for path in closed:
        assert stranger.get(place.deployment.url + path, timeout=60).status_code in (403, 404), path
    assert open_as_guest(ben, "ann", "other").status_code == 403
    with pytest.raises(InvalidStatus):
        ben.websocket("/user/ann/other/api/events/subscribe")
    for path in ("users/ann", "users/ann/tokens", "shares/ann/", "share-codes/ann/"):
        assert ben.api("GET", path).status_code in (403, 404) or "other" not in ben.api("GET", path).text, path
    # Nobody gives on what was only given to them.
    assert ben.api("POST", "share-codes/ann/", json={}).status_code in (403, 404)
    assert ben.api("POST", "shares/ann/", json={"user": "otto"}).status_code in (403, 404)
    assert ask(ben, "links", server="other", lasts_s=3600, start=False).status_code == 404
    # A token does not share, not even the owner's own.
    with_token = requests.Session()
    with_token.headers["Authorization"] = f"token {ann.token()}"
    made = with_token.post(
        f"{place.deployment.url}/hub/sharing/links", json={"server": "", "lasts_s": 3600, "start": False}, timeout=60
    )
    assert made.status_code == 403
    # Nor does another guest without a group in common get in by the same link.
    otto = place.member("Otto")
    refused = ask(otto, "accept", code=link(ann))
    assert refused.status_code == 403
    assert "none in common with ann" in refused.json()["message"]
    assert open_as_guest(otto, "ann").status_code == 403


ECHO = """
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers["Cookie"]).encode())
threading.Thread(target=HTTPServer(("127.0.0.1", 8123), Echo).serve_forever, daemon=True).start()
"""


def test_named_server_gets_no_cookie_of_the_default_server(ann: Person, ben: Person) -> None:
    other = ann.server("other")
    ask(ben, "accept", code=link(ann, "other")).raise_for_status()
    open_as_guest(ben, "ann", "other").raise_for_status()
    # What a guest could leave behind: a page that shows what the owner's browser sends.
    with shared(ben, "other").kernel() as kernel:
        kernel.execute(ECHO)
        ann.server().open().raise_for_status()
        other.open().raise_for_status()
        sent = {each.name: each.path for each in ann.session.cookies if each.name.startswith("jupyterhub-user-")}
        assert sent == {"jupyterhub-user-ann": "/user/ann/", "jupyterhub-user-ann--other": "/user/ann/other/"}
        seen = ann.request("GET", f"{other.path}proxy/8123/")
        seen.raise_for_status()
    assert "jupyterhub-user-ann--other=" in seen.text
    assert "jupyterhub-user-ann=" not in seen.text
    ask(ann, "end", server="other", what="all").raise_for_status()


def test_shares_outlast_the_hub_and_end_with_the_setting(place: Place, ann: Person, ben: Person) -> None:
    ask(ben, "accept", code=link(ann)).raise_for_status()
    open_as_guest(ben, "ann").raise_for_status()
    before = {name: at for name, at in place.deployment.start_times().items() if "-user-" in name}
    settings = {**place.settings, "hub_sharing": "everybody"}
    place.deployment.run(settings=settings).succeeded()
    assert place.deployment.run(settings=settings).succeeded().changed == 0
    assert open_as_guest(ben, "ann").ok
    otto = place.member("Otto")
    ask(otto, "accept", code=link(ann)).raise_for_status()
    # The same holder of a link, where only a group is let in.
    place.deployment.run(settings=place.settings).succeeded()
    eventually("otto is out", lambda: not otto.request("GET", "/user/ann/api/contents").ok, OUT_S)
    assert open_as_guest(ben, "ann").ok
    place.deployment.run(settings={**place.settings, "hub_sharing": "nobody"}).succeeded()
    eventually("ben is out", lambda: not ben.request("GET", "/user/ann/api/contents").ok, OUT_S)
    assert "Share Default server" not in ann.request("GET", "/hub/home").text
    assert ask(ann, "links", server="", lasts_s=3600, start=False).status_code == 403
    assert place.deployment.start_times().items() >= before.items()
