"""A user's browser: Debian's headless Chromium, and the steps that several tests share."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.client import User
from e2e.deployment import ARTEFACTS
from playwright.sync_api import BrowserContext, Error, Locator, Page, expect, sync_playwright

# Takes half the processor time of the full Chromium.
CHROMIUM = Path("/usr/bin/chromium-headless-shell")
# Installed by npm from the lock file beside this one (tests/e2e/run).
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
TRIES = 3
# The default for new network interfaces of this machine; absent where the kernel has no IPv6.
_IPV6_OF_NEW_INTERFACES = Path("/proc/sys/net/ipv6/conf/default/disable_ipv6")


@contextmanager
def steady_network() -> Iterator[None]:
    """Keep Chromium from aborting page loads.

    On this machine a container's interface gets a link-local address a second or two after the container starts.
    Chromium takes the unused address for a change of network, and aborts all requests with ERR_NETWORK_CHANGED,
    including those of the page that the container's user is waiting for.
    """
    if not _IPV6_OF_NEW_INTERFACES.exists():
        yield
        return
    before = _IPV6_OF_NEW_INTERFACES.read_text()
    _IPV6_OF_NEW_INTERFACES.write_text("1")
    try:
        yield
    finally:
        _IPV6_OF_NEW_INTERFACES.write_text(before)


@contextmanager
def browser(
    *hosts: str, width: int = 1280, height: int = 800, dark: bool = False, names: Mapping[str, str] | None = None
) -> Iterator[BrowserContext]:
    """Open a fresh browser that can reach only the Hub under test and these hosts, whatever a page requests.

    `names` maps host names to addresses.
    """
    mapped = [f"MAP {name} {address}" for name, address in (names or {}).items()]
    rules = ", ".join([*mapped, "MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in ("127.0.0.1", *hosts))])
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, f"--host-resolver-rules={rules}"])
        # The GitHub stand-in has a self-signed certificate.
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            ignore_https_errors=True,
        )
        context.set_default_timeout(TIMEOUT_MS)
        yield context
        chromium.close()


def go(page: Page, url: str) -> None:
    """Open a page, again if Chromium aborts it: other tests create networks on this machine."""
    for _ in range(TRIES):
        try:
            page.goto(url)
        except Error as error:
            if "ERR_NETWORK_CHANGED" not in str(error):
                raise
        else:
            return
    page.goto(url)


def sign_in(context: BrowserContext, user: User) -> None:
    """Give a browser the cookies of a user who is logged in."""
    context.add_cookies(
        [
            {"name": each.name, "value": each.value or "", "domain": "127.0.0.1", "path": each.path}
            for each in user.session.cookies
        ]
    )


def as_user(context: BrowserContext, user: User) -> Page:
    """Return a page of another session, in which a user is logged in."""
    assert context.browser
    made = context.browser.new_context()
    made.set_default_timeout(TIMEOUT_MS)
    sign_in(made, user)
    return made.new_page()


def appears(page: Page, locator: Locator) -> None:
    """Wait for something on a page; reload the page if it does not appear.

    Chromium aborts page loads (ERR_NETWORK_CHANGED) when other tests create networks or start containers.
    """
    for _ in range(TRIES):
        with suppress(AssertionError):
            expect(locator).to_be_visible(timeout=TIMEOUT_MS / 2)
            return
        page.reload()
    expect(locator).to_be_visible()


def shoot(page: Page, name: str) -> None:
    """Keep a screenshot if Chromium can take one: it is for people to look at, and proves nothing."""
    page.wait_for_load_state()
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    try:
        page.screenshot(path=ARTEFACTS / f"{name}.png")
    except Error as error:
        # Seen on a busy machine: "Unable to capture screenshot".
        print(f"no screenshot {name}: {error}")


def accessibility_faults(page: Page, *impacts: str, within: str = "html") -> list[str]:
    """Return the faults of these impacts (minor, moderate, serious, critical) that axe-core finds.

    Args:
        page: the page.
        impacts: which faults count.
        within: a selector of the part.
    """
    page.add_script_tag(path=AXE)
    found = page.evaluate("part => axe.run(part)", within)
    # Otherwise axe-core checked nothing.
    assert len(found["passes"]) > 10
    return [
        f"{fault['id']} ({fault['impact']}): {node['html']}"
        for fault in found["violations"]
        if fault["impact"] in impacts
        for node in fault["nodes"]
    ]


def type_code(editor: Locator, code: str) -> None:
    """Type into a cell, and check that the code is there: an editor that is still loading loses the focus."""
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
    """From marimo's start page to a cell's output."""
    with context.expect_page() as opened:
        page.get_by_text("Create a new notebook").click()
    notebook = opened.value
    notebook.set_default_timeout(TIMEOUT_MS)
    appears(notebook, notebook.locator(".cm-content").first)
    type_code(notebook.locator(".cm-content").first, code)
    notebook.keyboard.press("Control+Enter")
    expect(notebook.locator(".output-area").first).to_contain_text(shows)
    return notebook


def do_the_main_job(context: BrowserContext, url: str, login: str, shots: str) -> None:
    """Open the Hub, sign in at GitHub, authorize, come back, work in JupyterLab and marimo, log out.

    Args:
        context: a fresh browser.
        url: of the Hub.
        login: at GitHub, of somebody who may log in and has not yet.
        shots: the prefix of the screenshots' names.
    """
    page = context.new_page()
    go(page, url)
    appears(page, page.get_by_role("button", name="Sign in with GitHub"))
    shoot(page, f"{shots}-1-hub")
    page.get_by_role("button", name="Sign in with GitHub").click()
    appears(page, page.get_by_label("Username or email address"))
    page.get_by_label("Username or email address").fill(login)
    page.get_by_role("button", name="Sign in").click()
    authorize = page.get_by_role("button", name=re.compile("^Authorize"))
    appears(page, authorize)
    shoot(page, f"{shots}-2-authorize")
    authorize.click()
    appears(page, page.get_by_role("radio").first)
    expect(page.get_by_role("radio").first).to_be_checked()
    assert page.url.startswith(url)
    page.get_by_role("radio", name="Data science").check()
    page.get_by_role("button", name="Start").click()
    appears(page, page.locator(".jp-Launcher"))
    run_a_notebook_in_jupyterlab(page)
    page.keyboard.press("Control+s")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator(".jp-mod-dirty")).to_have_count(0)
    shoot(page, f"{shots}-3-notebook")
    go(page, f"{url}/user/{login.lower()}/marimo/")
    appears(page, page.get_by_text("Create a new notebook"))
    run_a_notebook_in_marimo(page, context)
    go(page, f"{url}/hub/home")
    log_out = page.get_by_role("button", name="Logout").or_(page.get_by_role("link", name="Logout")).first
    appears(page, log_out)
    log_out.click()
    appears(page, page.get_by_role("button", name="Sign in with GitHub"))
    shoot(page, f"{shots}-4-logged-out")
