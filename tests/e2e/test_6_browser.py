"""The main job as a person does it, in headless Chromium; screenshots are kept in artefacts/e2e/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import pytest
from e2e.client import NewUser
from e2e.deployment import ARTEFACTS, Deployment
from playwright.sync_api import BrowserContext, Error, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",  # everything runs as root here
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    # Nothing but the Hub under test is contacted, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
TIMEOUT_MS = 60_000


@pytest.fixture
def context() -> Iterator[BrowserContext]:
    """A fresh browser."""
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(TIMEOUT_MS)
        yield context
        browser.close()


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot."""
    page.screenshot(path=ARTEFACTS / f"{name}.png")


def log_in_and_choose(page: Page, deployment: Deployment, name: str) -> None:
    """From the Hub's address to the page that offers the environments."""
    page.goto(deployment.url)
    page.get_by_label("Username").fill(name)
    page.locator("#password_input").fill(deployment.secret("user_password"))
    shoot(page, "1-login")
    page.get_by_role("button", name="Sign in").click()
    # The first of the catalogue is preselected: nobody has to choose.
    expect(page.get_by_role("radio").first).to_be_checked()
    shoot(page, "2-environments")


def type_code(editor: Locator, code: str) -> None:
    """Type into a cell, and look that it is there: an editor that is still loading loses the focus."""
    editor.click()
    editor.page.keyboard.insert_text(code)
    expect(editor).to_contain_text(code)


def run_a_notebook_in_jupyterlab(page: Page) -> None:
    """From JupyterLab's launcher to a cell's output."""
    page.locator('.jp-LauncherCard[data-category="Notebook"][title*="Python 3"]').click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    cell = page.locator(".jp-Notebook .jp-Cell").first
    type_code(
        cell.locator(".cm-content"), "import numpy; print(numpy.arange(9).reshape(3, 3).trace(), 'in JupyterLab')"
    )
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output")).to_have_text("12 in JupyterLab")


def run_a_notebook_in_marimo(page: Page, context: BrowserContext) -> Page:
    """From marimo's first page to a cell's output."""
    with context.expect_page() as opened:
        page.get_by_text("Create a new notebook").click()
    notebook = opened.value
    notebook.set_default_timeout(TIMEOUT_MS)
    type_code(notebook.locator(".cm-content").first, "import numpy; f'{numpy.arange(4).sum()} in marimo'")
    notebook.keyboard.press("Control+Enter")
    expect(notebook.locator(".output-area").first).to_contain_text("6 in marimo")
    return notebook


def test_login_environment_jupyterlab_and_marimo(
    deployment: Deployment, new_user: NewUser, context: BrowserContext
) -> None:
    # A new name: JupyterLab opens what was open in the home, in a deployment that was kept.
    user = new_user(f"browser-{token_hex(2)}")
    asked_outside: set[str] = set()
    broken: list[str] = []

    def note(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != urlsplit(deployment.url).netloc:
            asked_outside.add(url)

    def uncaught(error: Error) -> None:
        broken.append(str(error))

    context.on("request", lambda request: note(request.url))
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
    # A network without the outside shows the same pages.
    assert asked_outside == set()
    assert broken == []
