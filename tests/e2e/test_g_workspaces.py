"""Communal workspaces: members open, start and stop them, under their own names; nobody else gets near."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
from e2e.browser import TIMEOUT_MS, accessibility_faults, browser, go, shoot
from e2e.client import Kernel, eventually
from e2e.deployment import ARTEFACTS, Deployment, docker
from e2e.notebooks import SEEN_S, cell, notebook, others, saved, show, write
from e2e.people import INTERVAL_S, Person, Place, github
from playwright.sync_api import BrowserContext, Page, WebSocket, expect
from websockets import ConnectionClosed, InvalidStatus

GENOMICS = {
    "slug": "genomics",
    "title": "Genomics",
    "description": "Notebooks of the sequencing group",
    "environment": "base",
    "groups": ["acme:data"],
    "users": ["Noor"],
    "start_groups": ["acme:data"],
}
SECOND = {"slug": "lectures", "environment": "base", "groups": ["acme:data"]}
ACCOUNT = "workspace.genomics"
VOLUME = "workspace-genomics---4a8a88ec84d4108e"
OUTSIDE = "Otto"


@pytest.fixture(scope="module")
def place(deployment: Deployment) -> Iterator[Place]:
    with github(f"{deployment.name}-control", deployment.url, ARTEFACTS / "tls") as (account, settings, certificate):
        account.add_organization("acme")
        for team in ("Operators", "Data"):
            account.add_team("acme", team)
        settings |= {"hub_workspaces": [GENOMICS], "hub_admin_users": ["Vera"]}
        deployment.run(settings=settings).succeeded()
        place = Place(deployment, account, settings, certificate)
        yield place
        for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
            docker("rm", "--force", name)


@pytest.fixture
def maya(place: Place) -> Person:
    """A member who may start the workspace, which runs; she is no administrator."""
    maya = place.member("Maya", "data")
    if not maya.servers(ACCOUNT):
        maya.workspace("genomics").start()
    maya.workspace("genomics").open().raise_for_status()
    return maya


def card(person: Person) -> str:
    """Return the card on the home page as text; "" if there is none."""
    found = re.search(
        rf'id="{ACCOUNT}">(.*?)</div>\s*</div>\s*</div>', person.request("GET", "/hub/home").text, re.DOTALL
    )
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[1])).strip() if found else ""


def closes(kernel: Kernel) -> None:
    """Wait for the connection's end; the kernel says little meanwhile."""
    end = time.monotonic() + INTERVAL_S + 30
    while time.monotonic() < end:
        kernel.receive(end - time.monotonic())


def test_members_work_in_one_server_under_their_own_names(place: Place) -> None:
    maya, noor = place.member("Maya", "data"), place.member("Noor")
    assert maya.request("GET", "/hub/admin").status_code == 403
    assert card(maya) == "Genomics Notebooks of the sequencing group Stopped Start"
    assert card(noor).endswith("Stopped: ask a member who may start it")
    hers, theirs = maya.workspace("genomics"), noor.workspace("genomics")
    # As the card's link does: without a form, since there is nothing to choose.
    page = hers.spawn_page()
    assert page.ok
    hers.wait_until_ready()
    assert theirs.open().ok
    hers.write("shared.txt", "by Maya")
    assert theirs.read("shared.txt") == "by Maya"
    for member, server in ((maya, hers), (noor, theirs)):
        me = server.request("GET", "api/me").json()
        assert me["identity"]["username"] == member.name
    assert "Running, in use by maya, noor Open Stop" in card(maya)
    assert card(noor).endswith("Running, in use by maya, noor Open")
    container = place.deployment.server(ACCOUNT)
    assert container["Name"] == f"/{place.deployment.name}-user-{VOLUME}"
    assert len(place.deployment.containers(f"label=jupyterhub-ansible.user={ACCOUNT}")) == 1
    # Noor may not stop it, nor give it another server or size; nor may Maya.
    assert noor.api("DELETE", f"users/{ACCOUNT}/server").status_code == 404
    assert noor.request("GET", f"/hub/spawn/{ACCOUNT}").status_code == 404
    assert maya.api("POST", f"users/{ACCOUNT}/servers/more").status_code == 404
    hers.stop()
    assert noor.api("POST", f"users/{ACCOUNT}/server").status_code == 404
    asked = noor.request("GET", f"/hub/user/{ACCOUNT}/lab")
    assert "Genomics is not running" in asked.text
    assert "Please ask a member who may start it." in asked.text
    refused = maya.api("POST", f"users/{ACCOUNT}/server", json={"user_options": {"profile": "datascience"}})
    assert refused.status_code == 400
    assert "There is no environment of that name" in refused.json()["message"]


def test_outsider_neither_sees_nor_reaches_it(place: Place, maya: Person) -> None:
    outsider = place.member(OUTSIDE)
    for page in ("/hub/home", "/hub/spawn"):
        assert "Genomics" not in outsider.request("GET", page).text
    for method, path in (("GET", ""), ("POST", "/server"), ("DELETE", "/server"), ("POST", "/tokens")):
        assert outsider.api(method, f"users/{ACCOUNT}{path}").status_code in (403, 404), path
    assert ACCOUNT not in outsider.api("GET", "users").text
    opened = outsider.workspace("genomics").open()
    assert opened.status_code == 403
    assert "You do not have permission to access" in opened.text
    assert outsider.request("GET", f"/hub/spawn/{ACCOUNT}").status_code == 404
    with pytest.raises(InvalidStatus):
        outsider.websocket(f"/user/{ACCOUNT}/api/events/subscribe")
    maya.workspace("genomics").stop()
    assert outsider.request("GET", f"/hub/user/{ACCOUNT}/lab").status_code == 404


def test_token_of_the_server_opens_nothing(place: Place, maya: Person) -> None:
    """All members can read it, and a former one may have kept it."""
    variables = dict(each.partition("=")[::2] for each in place.deployment.server(ACCOUNT)["Config"]["Env"])
    stranger = requests.Session()
    stranger.headers["Authorization"] = f"token {variables['JUPYTERHUB_API_TOKEN']}"
    for path in (f"/user/{ACCOUNT}/api/contents", "/hub/api/users", f"/hub/api/users/{ACCOUNT}/tokens"):
        assert stranger.get(place.deployment.url + path, timeout=60).status_code in (403, 404), path


@pytest.mark.parametrize("left", ["team", "organization"])
def test_member_who_leaves_is_out_with_open_connections(place: Place, maya: Person, left: str) -> None:
    leaving = place.member(f"Lee-{left}", "data")
    leaving.workspace("genomics").open().raise_for_status()
    with maya.workspace("genomics").kernel() as stays, leaving.workspace("genomics").kernel() as kernel:
        stays.execute("x = 1")
        kernel.execute("x = 2")
        if left == "team":
            place.github.remove_team_member("acme", "data", leaving.account)
        else:
            place.github.remove_member("acme", leaving.account)
        # Nothing is sent: the server itself must notice.
        with pytest.raises(ConnectionClosed) as closed:
            closes(kernel)
        assert closed.value.rcvd
        assert closed.value.rcvd.code == 1008
        with pytest.raises(InvalidStatus):
            kernel.reconnect()
        assert not leaving.request("GET", f"/user/{ACCOUNT}/api/contents").ok
        assert stays.execute("x + 1").result == "2"
    if left == "team":
        assert leaving.is_logged_in()
        assert card(leaving) == ""
        assert leaving.workspace("genomics").open().status_code == 403


def sign_in(context: BrowserContext, place: Place, login: str, path: str) -> Page:
    """Sign in at GitHub, to which one has logged in before, with a new browser session; come to a page of the Hub."""
    page = context.new_page()
    go(page, f"{place.deployment.url}/hub/oauth_login?next={path}")
    page.get_by_label("Username or email address").fill(login)
    page.get_by_role("button", name="Sign in").click()
    return page


def test_three_people_in_browsers(place: Place, maya: Person) -> None:
    """Two members edit one notebook, until one of them is not a member any more; the third never was."""
    for name, *team in (("Lena", "data"), (OUTSIDE,)):
        place.member(name, *team)
    shared = maya.workspace("genomics")
    shared.write("shared.txt", "by Maya")
    name = notebook(shared, "", "")
    host = urlsplit(place.settings["hub_github_url"]).hostname or ""
    with browser(host) as context:
        assert context.browser
        hers = sign_in(context, place, "Maya", "/hub/home")
        start_by_card(hers, place)
        # A new server asks for a new login.
        shared.open().raise_for_status()
        contexts = [context.browser.new_context(ignore_https_errors=True) for _ in range(2)]
        for each in contexts:
            each.set_default_timeout(TIMEOUT_MS)
        url = f"{place.deployment.url}/user/{ACCOUNT}/"
        theirs = sign_in(contexts[0], place, "Lena", f"/user/{ACCOUNT}/lab/tree/shared.txt")
        expect(theirs.get_by_text("by Maya").first).to_be_visible()
        sockets = documents_of(theirs)
        for page in (hers, theirs):
            show(page, url, name)
        write(hers, 0, "a = 1  # by Maya")
        expect(cell(theirs, 0)).to_contain_text("a = 1  # by Maya", timeout=SEEN_S * 1000)
        write(theirs, 1, "b = 2  # by Lena")
        expect(cell(hers, 1)).to_contain_text("b = 2  # by Lena", timeout=SEEN_S * 1000)
        for page, other in ((hers, "lena"), (theirs, "maya")):
            expect(others(page, other)).to_be_attached(timeout=SEEN_S * 1000)
        shoot(hers, "workspaces-4-together")
        # Both leave, and come back.
        for page in (hers, theirs):
            page.goto(f"{place.deployment.url}/hub/home")
        for page in (hers, theirs):
            show(page, url, name)
            expect(cell(page, 0)).to_contain_text("a = 1  # by Maya")
            expect(cell(page, 1)).to_contain_text("b = 2  # by Lena")
            expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
        refused_in_a_browser(sign_in(contexts[1], place, OUTSIDE, "/hub/home"), place)
        # Out of the team: the connection of the open document ends, too.
        place.github.remove_team_member("acme", "data", "Lena")
        removed = time.monotonic()
        open_now = sockets[-1]
        while not open_now.is_closed():
            assert time.monotonic() - removed < INTERVAL_S + 30
            theirs.wait_for_timeout(200)
        # JupyterLab says in dialogs, sooner or later, that something failed; somebody determined types all the same.
        theirs.evaluate("setInterval(() => document.querySelectorAll('dialog').forEach((each) => each.remove()), 20)")
        write(theirs, 1, " too late")
        write(hers, 0, " and on")
        eventually("a save", lambda: saved(shared, name)[0] == "a = 1  # by Maya and on")
        # As long as everybody sees what a member types.
        hers.wait_for_timeout(SEEN_S * 1000)
        expect(cell(hers, 1)).not_to_contain_text("too late")
        assert saved(shared, name)[1] == "b = 2  # by Lena"


def start_by_card(page: Page, place: Place) -> None:
    """Stop the workspace on the home page, and start it on the start page."""
    shown = page.locator(f'[id="{ACCOUNT}"]')
    expect(shown.get_by_text("Running")).to_be_visible()
    shoot(page, "workspaces-1-home")
    assert accessibility_faults(page, "serious", "critical") == []
    page.on("dialog", lambda dialog: dialog.accept())
    shown.get_by_role("button", name="Stop Genomics").click()
    expect(shown.get_by_text("Stopped")).to_be_visible()
    page.goto(f"{place.deployment.url}/hub/spawn")
    expect(shown.get_by_role("link", name="Start Genomics")).to_be_visible()
    shoot(page, "workspaces-2-start-page")
    shown.get_by_role("link", name="Start Genomics").click()
    expect(page.get_by_text("shared.txt").first).to_be_visible(timeout=60_000)
    shoot(page, "workspaces-3-opened")


def documents_of(page: Page) -> list[WebSocket]:
    """Return the connections of shared documents that the page opens from now on."""
    found: list[WebSocket] = []
    page.on("websocket", lambda each: found.append(each) if "/api/collaboration/room/json" in each.url else None)
    return found


def refused_in_a_browser(page: Page, place: Place) -> None:
    """The outsider sees no card, and learns from address and API only that there is nothing for them."""
    expect(page.get_by_role("heading", name="Your servers")).to_be_visible()
    expect(page.get_by_text("Genomics")).to_have_count(0)
    headers = "{ 'X-XSRFToken': jhdata.xsrf_token }"
    answer = page.evaluate(f"fetch('/hub/api/users/{ACCOUNT}', {{ headers: {headers} }}).then(each => each.json())")
    assert answer["message"] == "No access to resources or resources not found"
    page.goto(f"{place.deployment.url}/user/{ACCOUNT}/lab")
    expect(page.get_by_text("You do not have permission to access").first).to_be_visible()


def test_account_of_a_workspace_is_neither_deleted_nor_changed(place: Place, maya: Person) -> None:
    admin = place.member("Vera")
    assert "</code> are workspaces: as they are declared" in admin.request("GET", "/hub/admin").text
    for method, body in (("DELETE", None), ("PATCH", {"name": "genomics"}), ("PATCH", {"admin": True})):
        refused = admin.api(method, f"users/{ACCOUNT}", json=body)
        assert refused.status_code == 403
        assert "is the account of a workspace, and can be neither changed nor deleted" in refused.json()["message"]
    # To others, as if it were not there.
    outsider = place.member(OUTSIDE).api("DELETE", f"users/{ACCOUNT}")
    assert "workspace" not in outsider.text
    assert maya.workspace("genomics").open().ok


def test_changes_leave_all_servers_alone_and_a_removed_one_keeps_its_files(place: Place, maya: Person) -> None:
    personal = place.working("Mia")
    before = place.deployment.start_times()
    changed = {**{key: value for key, value in GENOMICS.items() if key != "users"}, "title": "Genomes"}
    settings = {**place.settings, "hub_workspaces": [changed, SECOND]}
    place.deployment.run(settings=settings).succeeded()
    assert place.deployment.run(settings=settings).succeeded().changed == 0
    servers = {name: started for name, started in before.items() if "-user-" in name}
    assert place.deployment.start_times().items() >= servers.items()
    assert "Genomes" in card(maya)
    assert 'id="workspace.lectures"' in maya.request("GET", "/hub/home").text
    assert place.member("Noor").workspace("genomics").open().status_code == 403
    place.deployment.run(settings={**place.settings, "hub_workspaces": [SECOND]}).succeeded()
    eventually("the server is gone", lambda: not place.runs(ACCOUNT))
    assert "the workspace is not in hub_workspaces any more. Its files stay" in docker("logs", place.deployment.hub)
    [volume] = json.loads(docker("volume", "inspect", f"{place.deployment.name}-user-{VOLUME}"))
    assert volume["Labels"]["jupyterhub-ansible.user"] == ACCOUNT
    assert card(maya) == ""
    for path in (f"/hub/user/{ACCOUNT}/lab", f"/hub/spawn/{ACCOUNT}"):
        assert maya.request("GET", path).status_code in (403, 404)
    admin = place.member("Vera")
    refused = admin.api("POST", f"users/{ACCOUNT}/server")
    assert refused.status_code == 403
    assert "There is no workspace of this name any more" in refused.json()["message"]
    assert admin.api("DELETE", f"users/{ACCOUNT}").status_code == 204
    assert place.runs("mia")
    assert personal.server().open().ok
