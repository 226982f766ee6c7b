"""A user's work in headless Chromium; screenshots are kept in artefacts/e2e/."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from secrets import token_hex
from urllib.parse import urlsplit

import pytest
from e2e.browser import browser, run_a_notebook_in_jupyterlab, run_a_notebook_in_marimo, shoot
from e2e.client import NewUser
from e2e.deployment import Deployment
from playwright.sync_api import BrowserContext, Error, Page, Response, expect


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    with browser() as context:
        yield context


def log_in_and_choose(page: Page, deployment: Deployment, name: str) -> None:
    """From the Hub's address to the page that offers the environments."""
    page.goto(deployment.url)
    page.get_by_label("Username").fill(name)
    page.locator("#password_input").fill(deployment.secret("user_password"))
    shoot(page, "1-login")
    page.get_by_role("button", name="Sign in").click()
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
