"""The audit trail: a day of several people is in it, each action once and under the right name, and no secret."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import requests
from e2e.browser import accessibility_faults, appears, browser, go, shoot
from e2e.client import User, eventually, hidden_fields
from e2e.deployment import Deployment, docker
from playwright.sync_api import expect

DAY = token_hex(2)
ADA, BOB, CLEO, DAN = (f"{name}-{DAY}" for name in ("ada", "bob", "cleo", "dan"))
LAB = {"slug": "lab", "environment": "base", "users": [ADA, BOB]}
TEAM = f"team-{DAY}"
OF_THE_HUB = ("hub started", "hub stopped")


class Trail:
    """The trail, as root on the machine sees it."""

    def __init__(self, deployment: Deployment) -> None:
        self.name = f"{deployment.name}-audit"
        self.folder = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", self.name))

    @property
    def text(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.jsonl")))

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def checked(self) -> str:
        return docker("exec", self.name, "python", "-m", "jupyterhub_ansible", "audit", "check", check=False)


@pytest.fixture(scope="module")
def hub(deployment: Deployment) -> Iterator[Deployment]:
    deployment.run(settings={"hub_workspaces": [LAB]}).succeeded()
    yield deployment
    for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
        docker("rm", "--force", name)


def log_in(hub: Deployment, name: str, password: str = "") -> User:
    is_admin = name == "admin"
    user = User(hub.url, name, password or hub.secret("admin_password" if is_admin else "user_password"))
    user.login()
    return user


def submit(user: User, page: requests.Response) -> requests.Response:
    """Press the button of a page with a form that has only hidden fields, as for an authorization."""
    scopes = re.findall(r'name="scopes" value="([^"]*)"', page.text)
    fields = {**hidden_fields(page.text), **({"scopes": scopes} if scopes else {})}
    return user.session.post(page.url, data=fields, timeout=60)


def open_other(user: User, owner: str) -> None:
    page = user.request("GET", f"/user/{owner}/lab")
    page.raise_for_status()
    if "Authorize access" in page.text:
        page = submit(user, page)
    assert page.ok, page.text
    assert f"/user/{owner}/lab" in page.url


def test_a_day_of_five_people(hub: Deployment) -> None:
    trail = Trail(hub)
    # The first login makes the account.
    log_in(hub, "admin")
    time.sleep(1)
    before = len(trail.events())
    expected: list[tuple[str, str, str]] = []

    def then(event: str, actor: str, target: str = "") -> None:
        expected.append((event, actor, target))

    admin = log_in(hub, "admin")
    then("login", "admin")
    people = {name: log_in(hub, name) for name in (ADA, BOB, CLEO, DAN)}
    for name in people:
        then("login", name)
        then("user created", name, name)
        if name in LAB["users"]:
            then("role given", name, name)
            then("role given", name, name)
    ada, bob, cleo, dan = people.values()
    assert "Invalid username or password" in User(hub.url, DAN, "wrong-password").login().text
    then("login refused", DAN)
    ada.server().start("base")
    then("server started", ADA, f"{ADA}/")
    token = ada.token()
    then("token made", ADA, ADA)
    made = ada.api("GET", f"users/{ADA}/tokens").json()["api_tokens"]
    [id_] = [each["id"] for each in made if each["note"] == "end-to-end test"]
    assert ada.api("DELETE", f"users/{ADA}/tokens/{id_}").ok
    then("token revoked", ADA, ADA)
    open_other(admin, ADA)
    then("server opened", "admin", f"{ADA}/")
    assert admin.api("POST", f"users/{CLEO}/server", json={"user_options": {"profile": "base"}}).status_code in (
        201,
        202,
    )
    eventually("the start", lambda: admin.api("GET", f"users/{CLEO}").json()["servers"].get("", {}).get("ready", False))
    then("server started", "admin", f"{CLEO}/")
    cleo.server().stop()
    then("server stopped", CLEO, f"{CLEO}/")
    dan.server().start("base")
    then("server started", DAN, f"{DAN}/")
    docker("kill", hub.server(DAN)["Id"])
    eventually("its end", lambda: not dan.servers())
    then("server ended", "hub", f"{DAN}/")

    # While the recorder is away.
    docker("kill", trail.name)
    assert admin.api("POST", f"groups/{TEAM}").ok
    then("group made", "admin", TEAM)
    assert admin.api("POST", f"groups/{TEAM}/users", json={"users": [DAN]}).ok
    then("group joined", "admin", DAN)
    assert admin.api("DELETE", f"groups/{TEAM}/users", json={"users": [DAN]}).ok
    then("group left", "admin", DAN)
    assert admin.api("DELETE", f"groups/{TEAM}").ok
    then("group deleted", "admin", TEAM)
    docker("start", trail.name)

    for is_admin in (True, False):
        assert admin.api("PATCH", f"users/{DAN}", json={"admin": is_admin}).ok
        then("admin given" if is_admin else "admin taken", "admin", DAN)
    code = admin.api("POST", f"share-codes/{ADA}/").json()["code"]
    then("share link made", "admin", f"{ADA}/")
    submit(cleo, cleo.request("GET", f"/hub/accept-share?code={code}"))
    then("share accepted", CLEO, f"{ADA}/")
    open_other(cleo, ADA)
    then("server opened", CLEO, f"{ADA}/")
    assert admin.api("DELETE", f"shares/{ADA}/").ok
    then("share revoked", "admin", f"{ADA}/")
    assert admin.api("DELETE", f"share-codes/{ADA}/").ok
    then("share link revoked", "admin", f"{ADA}/")
    # The Hub is killed, too, and nothing of this is lost or told twice.
    docker("kill", "--signal", "KILL", hub.hub)
    docker("start", hub.hub)
    eventually("the Hub", lambda: admin.request("GET", "/hub/health").ok)
    ada.workspace("lab").start()
    then("server started", ADA, "workspace.lab/")
    then("workspace opened", ADA, "workspace.lab/")
    assert bob.workspace("lab").open().ok
    then("workspace opened", BOB, "workspace.lab/")
    bob.workspace("lab").stop()
    then("server stopped", BOB, "workspace.lab/")
    dan.request("GET", "/hub/logout")
    then("logout", DAN)
    assert admin.api("DELETE", f"users/{CLEO}").ok
    then("user deleted", "admin", CLEO)
    ada.server().stop()
    then("server stopped", ADA, f"{ADA}/")

    assert len(expected) >= 30
    day: list[dict[str, Any]] = []

    def is_over() -> bool:
        day[:] = [each for each in trail.events()[before:] if each["event"] not in OF_THE_HUB]
        return len(day) >= len(expected)

    eventually("all events", is_over, 10)
    time.sleep(1)
    is_over()
    found = Counter((each["event"], each["actor"], each["target"]) for each in day)
    assert found == Counter(expected)
    # Everybody came from this machine; what nobody asked for comes from nowhere.
    addresses = {each["address"] for each in day if each["actor"] != "hub"}
    assert len(addresses) == 1
    assert "" not in addresses
    secrets = [token, code, "wrong-password", hub.secret("user_password"), hub.secret("admin_password")]
    secrets += [str(cookie.value) for user in (admin, *people.values()) for cookie in user.session.cookies]
    said = trail.text + docker("logs", trail.name)
    assert [secret for secret in secrets if len(secret) > 7 and secret in said] == []
    assert trail.checked().startswith("Lines 1 to ")


def test_a_removed_and_an_edited_line_show_and_the_hub_can_do_neither(hub: Deployment) -> None:
    trail = Trail(hub)
    path = sorted(trail.folder.glob("*.jsonl"))[-1]
    text = path.read_bytes()
    lines = text.splitlines(keepends=True)
    number = json.loads(lines[-3])["number"]
    for changed, said in (
        ([*lines[:-3], *lines[-2:]], f"line {number} is missing"),
        ([*lines[:-3], lines[-3].replace(b'"event":"', b'"event":"x'), *lines[-2:]], f"line {number} was edited"),
        (lines[:-1], "missing at the end"),
    ):
        path.write_bytes(b"".join(changed))
        assert said in trail.checked()
    path.write_bytes(text)
    assert trail.checked().startswith("Lines 1 to ")
    inside = f"echo x >>/srv/audit/{path.name}; rm /srv/audit/{path.name}; touch /srv/audit/x"
    refused = docker("exec", hub.hub, "sh", "-c", inside, check=False)
    assert (refused.count("Permission denied"), refused.count("Read-only file system")) == (1, 2)
    assert path.read_bytes() == text
    [recorder] = hub.containers(f"name={trail.name}").values()
    limits = recorder["HostConfig"]
    assert (limits["NetworkMode"], limits["ReadonlyRootfs"], limits["CapDrop"]) == ("none", True, ["ALL"])


def test_owner_sees_an_administrator_within_seconds(hub: Deployment) -> None:
    owner = f"owner-{DAY}"
    log_in(hub, owner).server().start("base")
    admin = log_in(hub, "admin")
    with browser() as context:
        page = context.new_page()
        go(page, f"{hub.url}/hub/login?next=/hub/home")
        page.get_by_label("Username").fill(owner)
        page.get_by_label("Password").fill(hub.secret("user_password"))
        page.get_by_role("button", name="Sign in").click()
        appears(page, page.get_by_role("heading", name="Default server"))
        expect(page.get_by_text("was in it")).to_have_count(0)
        time.sleep(1)
        open_other(admin, owner)
        expect(page.get_by_text(re.compile(r"^admin was in it: \d{4}-"))).to_be_visible(timeout=5000)
        shoot(page, "audit-home")
        assert page.goto(f"{hub.url}/hub/audit")
        expect(page.get_by_text("Only administrators may read the audit trail.")).to_be_visible()
        expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    with browser() as context:
        page = context.new_page()
        go(page, f"{hub.url}/hub/login?next=/hub/home")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(hub.secret("admin_password"))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_role("row").nth(1)).to_contain_text("login")
        page.get_by_label("Person").fill(owner)
        page.get_by_label("Event").select_option("server opened")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("row")).to_have_count(2)
        expect(page.get_by_role("row").nth(1)).to_contain_text(f"{owner}/")
        shoot(page, "audit-page")
        assert accessibility_faults(page, "critical", "serious") == []
        page.get_by_label("Event").select_option("all")
        page.get_by_label("Text").fill("NOTHING like that")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_text("Nothing was found.")).to_be_visible()
