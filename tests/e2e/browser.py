"""A person's browser: Debian's Chromium, headless, and what is done in it in more than one test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.deployment import ARTEFACTS
from playwright.sync_api import BrowserContext, Error, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
# By npm, from the lock beside this file (tests/e2e/run).
AXE = Path(__file__).with_name("node_modules") / "axe-core/axe.min.js"
FLAGS = [
    "--no-sandbox",  # everything runs as root here
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
TIMEOUT_MS = 60_000


@contextmanager
def browser(
    *hosts: str, width: int = 1280, height: int = 800, dark: bool = False, names: Mapping[str, str] | None = None
) -> Iterator[BrowserContext]:
    """Open a fresh one, which contacts nothing but the Hub under test and these hosts, whatever a page asks for.

    `names` are names of hosts with the address of each.
    """
    found = [f"MAP {name} {address}" for name, address in (names or {}).items()]
    rules = ", ".join([*found, "MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in ("127.0.0.1", *hosts))])
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, f"--host-resolver-rules={rules}"])
        # GitHub's stand-in has a certificate of the test's own.
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            ignore_https_errors=True,
        )
        context.set_default_timeout(TIMEOUT_MS)
        yield context
        chromium.close()


def appears(page: Page, locator: Locator) -> None:
    """Wait for something on a page, which is loaded anew if need be.

    Chromium gives up what it is loading (ERR_NETWORK_CHANGED) when other tests start containers on the machine.
    """
    for _ in range(3):
        with suppress(AssertionError):
            expect(locator).to_be_visible(timeout=TIMEOUT_MS / 2)
            return
        page.reload()
    expect(locator).to_be_visible()


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot, if Chromium can take one: it is for people to look at, and proves nothing."""
    page.wait_for_load_state()
    try:
        page.screenshot(path=ARTEFACTS / f"{name}.png")
    except Error as error:
        # Seen on a busy machine: "Unable to capture screenshot".
        print(f"no screenshot {name}: {error}")


def accessibility_faults(page: Page, *impacts: str) -> list[str]:
    """Return what axe-core finds wrong with a page, of these impacts (minor, moderate, serious, critical)."""
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")
    # Otherwise nothing was looked at.
    assert len(found["passes"]) > 10
    return [
        f"{fault['id']} ({fault['impact']}): {node['html']}"
        for fault in found["violations"]
        if fault["impact"] in impacts
        for node in fault["nodes"]
    ]


def type_code(editor: Locator, code: str) -> None:
    """Type into a cell, and look that it is there: an editor that is still loading loses the focus."""
    editor.click()
    editor.page.keyboard.insert_text(code)
    expect(editor).to_contain_text(code)


def run_a_notebook_in_jupyterlab(
    page: Page,
    code: str = "import numpy; print(numpy.arange(9).reshape(3, 3).trace(), 'in JupyterLab')",
    shows: str = "12 in JupyterLab",
) -> None:
    """From JupyterLab's launcher to a cell's output."""
    page.locator('.jp-LauncherCard[data-category="Notebook"][title*="Python 3"]').click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    cell = page.locator(".jp-Notebook .jp-Cell").first
    type_code(cell.locator(".cm-content"), code)
    page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output")).to_have_text(shows)


def run_a_notebook_in_marimo(
    page: Page,
    context: BrowserContext,
    code: str = "import numpy; f'{numpy.arange(4).sum()} in marimo'",
    shows: str = "6 in marimo",
) -> Page:
    """From marimo's first page to a cell's output."""
    with context.expect_page() as opened:
        page.get_by_text("Create a new notebook").click()
    notebook = opened.value
    notebook.set_default_timeout(TIMEOUT_MS)
    type_code(notebook.locator(".cm-content").first, code)
    notebook.keyboard.press("Control+Enter")
    expect(notebook.locator(".output-area").first).to_contain_text(shows)
    return notebook
