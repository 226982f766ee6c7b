"""A user's work in headless Chromium; screenshots are kept in artefacts/e2e/."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.browser import browser, run_a_notebook_in_jupyterlab, run_a_notebook_in_marimo, shoot
from e2e.client import NewUser, Server
from e2e.deployment import Deployment
from playwright.sync_api import BrowserContext, Error, Page, Response, expect


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


def log_in(page: Page, deployment: Deployment, name: str) -> None:
    page.goto(deployment.url)
    page.get_by_label("Username").fill(name)
    page.locator("#password_input").fill(deployment.secret("user_password"))
    shoot(page, "1-login")
    page.get_by_role("button", name="Sign in").click()


def log_in_and_choose(page: Page, deployment: Deployment, name: str) -> None:
    """From the Hub's address to the page that offers the environments."""
    log_in(page, deployment, name)
    # The first environment is preselected.
    expect(page.get_by_role("radio").first).to_be_checked()
    shoot(page, "2-environments")


def test_user_works_in_a_browser(deployment: Deployment, new_user: NewUser, context: BrowserContext) -> None:
    # A new name: in a kept deployment, JupyterLab would reopen what was open.
    user = new_user(f"browser-{token_hex(2)}")
    asked_outside: set[str] = set()
    broken: list[str] = []
    missing: list[str] = []

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != urlsplit(deployment.url).netloc:
            asked_outside.add(url)

    def uncaught(error: Error) -> None:
        broken.append(str(error))

    context.on("request", lambda request: note(request.url))

    def refused(response: Response) -> None:
        if response.status >= HTTPStatus.BAD_REQUEST:
            missing.append(f"{response.status} {response.request.method} {urlsplit(response.url).path}")

    context.on("response", refused)
    context.on("weberror", lambda event: uncaught(event.error))
    page = context.new_page()
    try:
        log_in_and_choose(page, deployment, user.name)
        page.get_by_role("radio", name="Data science").check()
        page.get_by_role("button", name="Start").click()
        expect(page.locator(".jp-Launcher")).to_be_visible()
        shoot(page, "3-jupyterlab")
        run_a_notebook_in_jupyterlab(page)
        shoot(page, "4-jupyterlab-notebook")
        page.goto(f"{deployment.url}{user.server().path}marimo/")
        expect(page.get_by_text("Create a new notebook")).to_be_visible()
        shoot(page, "5-marimo")
        notebook = run_a_notebook_in_marimo(page, context)
        shoot(notebook, "6-marimo-notebook")
    except Exception:
        for number, failed in enumerate(context.pages):
            shoot(failed, f"failed-{number}")
        raise
    # The pages work without internet access.
    assert asked_outside == set()
    assert broken == []
    # JupyterLab looks for language servers, and works without them (jupyter_server_config.d).
    assert [line for line in missing if not line.endswith("/lsp/status")] == []


def cell(code: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": code, "metadata": {}, "outputs": [], "execution_count": None, "id": "a"}


def save_notebook(server: Server, path: str, code: str) -> None:
    # Otherwise JupyterLab asks for a kernel.
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    content = {"cells": [cell(code)], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    server.request("PUT", f"api/contents/{path}", json={"type": "notebook", "content": content})


def test_version_is_compared_and_brought_back_in_two_clicks(
    deployment: Deployment, new_user: NewUser, context: BrowserContext
) -> None:
    user = new_user(f"versions-{token_hex(2)}")
    server = user.server()
    server.start("base")
    save_notebook(server, "work.ipynb", "the_good_one = 1")
    save_notebook(server, "work.ipynb", "destroyed = 2")
    page = context.new_page()
    log_in(page, deployment, user.name)
    item = page.locator(".jp-DirListing-item[title*='work.ipynb']")
    try:
        item.dblclick()
        editor = page.locator(".jp-Notebook .cm-content").first
        expect(editor).to_contain_text("destroyed = 2")
        # Not saved yet.
        editor.click()
        page.keyboard.insert_text("unsaved; ")
        item.click(button="right")
        page.get_by_role("menuitem", name="Versions").click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("+the_good_one = 1")).to_be_visible()
        expect(dialog.get_by_text("\N{MINUS SIGN}destroyed = 2")).to_be_visible()
        shoot(page, "7-versions")
        # The two clicks.
        dialog.get_by_role("option").last.click()
        dialog.get_by_role("button", name="Bring this version back").click()
        # The open notebook follows.
        expect(editor).to_have_text("the_good_one = 1")
        expect(page.get_by_text("is again as on")).to_be_visible()
        shoot(page, "8-version-brought-back")
    except Exception:
        shoot(page, "failed-versions")
        raise
    kept = server.request("GET", "jupyterhub-versions/work.ipynb").json()["versions"]
    contents = [server.read(f"versions/work.ipynb/{each['name']}") for each in kept]
    for code in ("the_good_one", "unsaved", "destroyed", "the_good_one"):
        assert code in contents.pop(0)
