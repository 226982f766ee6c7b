"""The administrators' page: who is on and with what, and messages that reach open pages without a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from e2e.browser import accessibility_faults, as_user, browser, shoot
from e2e.client import User
from e2e.deployment import Deployment, docker
from playwright.sync_api import expect

SEEN_MS = 5_000


@pytest.fixture(scope="module")
def people(deployment: Deployment) -> Iterator[tuple[User, User]]:
    """The administrator, and a user whose server runs."""
    deployment.run().succeeded()
    admin = User(deployment.url, "admin", deployment.secret("admin_password"))
    user = User(deployment.url, "una", deployment.secret("user_password"))
    for each in (admin, user):
        each.login().raise_for_status()
    user.server().start("base")
    # A kept deployment may still have messages of an interrupted run.
    for number in re.findall(r'data-now="remove" data-id="(\d+)"', admin.request("GET", "/hub/admin/servers").text):
        admin.request("POST", "/hub/messages/send", json={"remove": int(number)}).raise_for_status()
    yield admin, user
    for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
        docker("rm", "--force", name)


def test_messages_reach_open_pages_and_servers_are_seen(deployment: Deployment, people: tuple[User, User]) -> None:
    admin, user = people
    with browser() as context:
        page, lab, home = (as_user(context, each) for each in (admin, user, user))
        lab.goto(f"{deployment.url}{user.server().path}lab?reset")
        expect(lab.locator(".jp-Launcher")).to_be_visible()
        home.goto(f"{deployment.url}/hub/home")
        page.goto(f"{deployment.url}/hub/admin")
        row = page.locator("#servers-now tr", has_text="una")
        expect(row).to_contain_text(re.compile(r"running for[\s\S]*JupyterLab and marimo[\s\S]*MB of "))
        # JupyterHub's own list is on the same page; its buttons without names are not ours.
        expect(page.get_by_role("button", name="Shutdown Hub")).to_be_visible()
        assert accessibility_faults(page, "serious", "critical", within="#now") == []
        page.get_by_label("Message to open pages").fill("The machine restarts at noon: save your work. <b>&")
        page.get_by_label("For", exact=True).select_option("an hour")
        page.get_by_role("button", name="Send").click()
        for shown in (lab, home, page):
            text = shown.get_by_role("status").get_by_text("The machine restarts at noon: save your work. <b>&")
            expect(text.first).to_be_visible(timeout=SEEN_MS)
        shoot(page, "admin-1")
        shoot(lab, "admin-2-lab")
        # To one person only.
        row.get_by_role("button", name="Message to una").click()
        page.get_by_label("Message to open pages").fill("Una, your kernel uses all of the memory.")
        page.get_by_role("button", name="Send").click()
        expect(lab.get_by_text("Una, your kernel uses")).to_be_visible(timeout=SEEN_MS)
        expect(page.get_by_role("list", name="Messages").get_by_text("(to una, from admin")).to_be_visible()
        assert page.locator("#messages").get_by_text("Una, your kernel uses").count() == 0
        # Dismissed here, removed everywhere.
        lab.locator("#jupyterhub-messages").get_by_role("button", name="Dismiss").first.click()
        expect(lab.get_by_text("The machine restarts at noon")).to_have_count(0)
        page.get_by_role("button", name="Remove this message: The machine restarts").click()
        expect(home.get_by_text("The machine restarts at noon")).to_have_count(0, timeout=SEEN_MS)
        page.get_by_role("button", name="Measure the homes").click()
        expect(page.get_by_text("Homes as they were")).to_be_visible()
        expect(row).to_contain_text(re.compile(r"[0-9.]+ (Bytes|kB|MB)\s*Stop"))
        page.on("dialog", lambda dialog: dialog.accept())
        row.get_by_role("button", name="Stop Default server of una").click()
        expect(row).to_have_count(0)


def test_only_administrators_send_messages_and_see_servers(people: tuple[User, User]) -> None:
    admin, user = people
    body = {"text": "hello", "username": None, "lasts_s": 900}
    refused = user.request("POST", "/hub/messages/send", json=body)
    assert refused.status_code == 403
    assert "Only administrators" in refused.json()["message"]
    assert user.request("GET", "/hub/admin/servers").status_code == 403
    assert user.request("POST", "/hub/admin/homes", json={}).status_code == 403
    for wrong, status in (({"text": ""}, 400), ({"username": "nobody-here"}, 404), ({"lasts_s": 5}, 400)):
        assert admin.request("POST", "/hub/messages/send", json={**body, **wrong}).status_code == status, wrong
    # A token sends none, and a page that is not logged in gets none.
    user.session.cookies.clear()
    assert user.request("GET", "/hub/messages").status_code == 403
