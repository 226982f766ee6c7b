"""Live collaboration in a workspace: two members in two browsers, and what is in the file whatever happens."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.browser import browser, shoot, sign_in
from e2e.client import Server, User, eventually
from e2e.deployment import Deployment, docker
from e2e.notebooks import SEEN_S, cell, notebook, others, saved, show, write
from playwright.sync_api import Browser, BrowserContext, Page, expect
from websockets import InvalidStatus

LAB = {"slug": "lab", "environment": "base", "users": ["ann", "bob"]}
QUIET = {**LAB, "slug": "quiet", "collaboration": False}
ACCOUNT = "workspace.lab"


@pytest.fixture(scope="module")
def members(deployment: Deployment) -> Iterator[tuple[User, User]]:
    deployment.run(settings={"hub_workspaces": [LAB, QUIET]}).succeeded()
    both = tuple(User(deployment.url, name, deployment.secret("user_password")) for name in ("ann", "bob"))
    for user in both:
        user.login().raise_for_status()
    ann, bob = both
    yield ann, bob
    for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
        docker("rm", "--force", name)


@pytest.fixture
def lab(members: tuple[User, User]) -> tuple[Server, Server]:
    """The running workspace, as each of its members reaches it."""
    hers, theirs = (member.workspace("lab") for member in members)
    if not members[0].servers(ACCOUNT):
        hers.start()
    for server in (hers, theirs):
        server.open().raise_for_status()
    return hers, theirs


def disabled(server: Server) -> set[str]:
    """Return the parts of JupyterLab that are turned off."""
    return set(json.loads(server.open().text.partition('"disabledExtensions": ')[2].partition("]")[0] + "]"))


def opened(chromium: Browser, deployment: Deployment, server: Server, name: str) -> Page:
    """Open a notebook in a browser of the server's user."""
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    sign_in(context, server.user)
    page = context.new_page()
    show(page, f"{deployment.url}{server.path}", name)
    return page


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


def a_version_comes_back(server: Server, name: str, good: list[str], ann: Page, bob: Page) -> None:
    """One destroys a cell; the other one brings the version before back by two clicks, while both have it open."""
    eventually("a save", lambda: saved(server, name) == good)
    # It is a version as soon as this answers.
    server.request("GET", f"jupyterhub-versions/{name}")
    cell(bob, 0).click()
    bob.keyboard.press("Control+a")
    bob.keyboard.insert_text("destroyed")
    eventually("a save", lambda: saved(server, name)[0] == "destroyed")
    ann.get_by_role("tab", name="File Browser").click()
    ann.locator(f".jp-DirListing-item[title*='{name}']").click(button="right")
    ann.get_by_role("menuitem", name="Versions").click()
    dialog = ann.get_by_role("dialog")
    expect(dialog.get_by_text(f"+{good[0]}")).to_be_visible()
    dialog.get_by_role("button", name="Bring this version back").click()
    for page in (ann, bob):
        # Cursors of others are in the text, with their names.
        for number, source in enumerate(good):
            expect(cell(page, number)).to_contain_text(source)
        expect(cell(page, 0)).not_to_contain_text("destroyed")
        expect(page.locator(".jp-Notebook .jp-Cell")).to_have_count(2)
    assert saved(server, name) == good


def test_two_members_edit_one_notebook(
    deployment: Deployment, lab: tuple[Server, Server], context: BrowserContext
) -> None:
    assert context.browser
    name = notebook(lab[0], "", "")
    ann, bob = (opened(context.browser, deployment, server, name) for server in lab)
    write(ann, 0, "a = 1  # by ann")
    expect(cell(bob, 0)).to_contain_text("a = 1  # by ann", timeout=SEEN_S * 1000)
    write(bob, 1, "b = 2  # by bob")
    expect(cell(ann, 1)).to_contain_text("b = 2  # by bob", timeout=SEEN_S * 1000)
    # Under their own names, in colors of their own.
    identities = [server.request("GET", "api/me").json()["identity"] for server in lab]
    assert [each["username"] for each in identities] == ["ann", "bob"]
    assert identities[0]["color"] != identities[1]["color"]
    for page, other in ((ann, "bob"), (bob, "ann")):
        expect(others(page, other)).to_be_attached(timeout=SEEN_S * 1000)
    ann.get_by_role("tab", name="Collaboration").click()
    expect(ann.locator("#jp-collaboration-panel").get_by_text("bob").first).to_be_visible()
    # jupyter-collaboration's button shares an address with a token, which would be the member's.
    expect(ann.locator("[title*=Share i]")).to_have_count(0)
    assert {"@jupyter/collaboration-extension:shared-link", "@jupyter/docprovider-extension:statusBarTimeline"} < (
        disabled(lab[0])
    )
    shoot(ann, "collaboration-1")
    shoot(bob, "collaboration-2")
    good = ["a = 1  # by ann", "b = 2  # by bob"]
    a_version_comes_back(lab[0], name, good, ann, bob)
    # A stop right after a keystroke loses nothing, and does not wait to be killed.
    write(bob, 0, "\nlast = 'words'")
    expect(cell(ann, 0)).to_contain_text("last = 'words'", timeout=SEEN_S * 1000)
    began = time.monotonic()
    lab[0].stop()
    assert time.monotonic() - began < 9
    ann.context.close()
    bob.context.close()
    lab[0].start()
    for server in lab:
        server.open().raise_for_status()
    expected = ["a = 1  # by ann\nlast = 'words'", "b = 2  # by bob"]
    assert saved(lab[0], name) == expected
    # And both find it when they come back, once.
    for server in lab:
        page = opened(context.browser, deployment, server, name)
        expect(cell(page, 0)).to_contain_text("last = 'words'")
        assert page.locator(".jp-Notebook .jp-Cell").count() == 2
        page.context.close()
    assert saved(lab[0], name) == expected


def test_pages_of_other_origins_cannot_connect(lab: tuple[Server, Server]) -> None:
    """Such as HTML in a sandbox, to which a browser may attach the member's cookies."""
    path = f"{lab[0].path}api/collaboration/room/JupyterLab:globalAwareness"
    lab[0].user.websocket(path).close()
    for origin in ("null", "https://other.example"):
        with pytest.raises(InvalidStatus, match="403"):
            lab[0].user.websocket(path, origin)


def test_killed_while_somebody_types_without_pause(
    deployment: Deployment, lab: tuple[Server, Server], context: BrowserContext
) -> None:
    assert context.browser
    name = notebook(lab[0], "")
    page = opened(context.browser, deployment, lab[0], name)
    cell(page, 0).click()
    began, typed = time.monotonic(), 0
    when: list[float] = []
    while time.monotonic() - began < 8:
        page.keyboard.type(f"{typed} ", delay=50)
        typed += 1
        when.append(time.monotonic())
    killed = time.monotonic()
    docker("kill", deployment.server(ACCOUNT)["Name"].removeprefix("/"))
    page.context.close()
    eventually("the Hub notices", lambda: not lab[0].user.servers(ACCOUNT))
    lab[0].start()
    lab[0].open().raise_for_status()
    [text] = saved(lab[0], name)
    # It may end in the middle of a number.
    assert "".join(f"{number} " for number in range(typed)).startswith(text)
    count = text.count(" ")
    assert [number for number in range(count, typed) if when[number] < killed - SEEN_S] == []
    # Opening it brings back what the file did not have yet.
    page = opened(context.browser, deployment, lab[0], name)
    expect(cell(page, 0)).to_contain_text(f"{typed - 2} {typed - 1}")
    eventually("the file has it, too", lambda: saved(lab[0], name)[0].split()[-1:] == [str(typed - 1)])
    page.context.close()


OUT_OF_MEMORY = ("cut_off", "2", "4", "2")
"""Of the server's: before the cut ends."""


@pytest.mark.parametrize("arguments", [(), OUT_OF_MEMORY], ids=["as delivered", "out of memory"])
def test_no_loss_and_no_double(deployment: Deployment, arguments: tuple[str, ...]) -> None:
    """Whatever happens to pages, files and the server: documents.py."""
    script = Path(__file__).with_name("documents.py")
    found, errors = deployment.run_in_image(script, *arguments, scratch=("/full", "16m"))
    cuts = [seen for seen in found if seen["scenario"] == "cut_off"]
    assert len(cuts) == (2 if arguments else 1), errors
    for seen in cuts:
        assert seen["same"], seen
        assert (seen["missing"], seen["doubled"], len(seen["cells"]), seen["dialogs"]) == ([], 0, 6, []), seen
    others = {seen["scenario"]: seen for seen in found}
    if arguments:
        cells = [["one", "one first later"], ["two", "two"]]
        assert others["condensed"] == {"scenario": "condensed", "same": True, "cells": cells}
        return
    assert others["interleaved"] == {"scenario": "interleaved", "same": True, "missing": [], "cells": ["one", "two"]}
    killed = others["typed_before_kill"]
    assert killed["same"], killed
    assert killed["unsaved_s"] <= SEEN_S
    # Perhaps a keystroke that the server had not received.
    assert killed["lost_s"] <= 0.3
    # Pages that were open have it, and bring it back once.
    assert killed["returned"], killed
    assert killed["dialogs"] == []
    cells = [["one", "one good"], ["two", "two and on"]]
    assert others["brought_back"] == {"scenario": "brought_back", "same": True, "cells": cells}
    # On a full home people see each other's changes, which are saved as soon as there is room.
    typed = [["one", "one typed"]]
    assert others["full_home"] == {"scenario": "full_home", "seen": typed, "before": [["one", "one"]], "after": typed}
    assert others["stopped"]["cells"] == [["one", "one last"]]
    assert others["stopped"]["took_s"] < 9


def test_off_elsewhere_and_from_the_next_start(deployment: Deployment, members: tuple[User, User]) -> None:
    """Neither the server's part nor the browser's is loaded; turning it on or off leaves all running servers alone."""
    ann, _ = members
    personal, quiet = ann.server(), ann.workspace("quiet")
    personal.start("base")
    quiet.start()

    def is_off(server: Server) -> bool:
        asked: dict[str, Any] = {"format": "text", "type": "file"}
        server.write("a.txt", "a")
        answer = ann.request("PUT", f"{server.path}api/collaboration/session/a.txt", json=asked)
        hidden = {"@jupyter/collaboration-extension", "@jupyter/docprovider-extension"} < disabled(server)
        assert answer.status_code == (404 if hidden else 201)
        return hidden

    assert is_off(personal)
    assert is_off(quiet)
    before = deployment.start_times()
    settings = {"hub_workspaces": [LAB, {**QUIET, "collaboration": True}]}
    assert deployment.run(settings=settings).succeeded().changed > 0
    assert deployment.run(settings=settings).succeeded().changed == 0
    after = deployment.start_times()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == {deployment.hub}
    assert is_off(quiet)
    quiet.stop()
    quiet.start()
    assert not is_off(quiet)
    assert is_off(personal)
