"""A user's work in headless Chromium; screenshots are kept in artefacts/e2e/."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http import HTTPStatus
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import pytest
from e2e.browser import (
    accessibility_faults,
    browser,
    run_a_notebook_in_jupyterlab,
    run_a_notebook_in_marimo,
    shoot,
    sign_in,
    type_code,
)
from e2e.client import NewUser, Server, eventually
from e2e.deployment import CATALOGUE, Deployment, docker
from playwright.sync_api import BrowserContext, Error, Locator, Page, Response, WebSocket, expect


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

    def watch(socket: WebSocket) -> None:
        socket.on("socketerror", lambda error: missing.append(f"{error} {urlsplit(socket.url).path}"))

    context.on("response", refused)
    context.on("page", lambda page: page.on("websocket", watch))
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
    assert missing == []


MAKE_REPOSITORY = """
import json, subprocess
metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
notebook = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
git = "git -c user.name=a -c user.email=a@example.org"
make = f"git init -qb main ~/.src/course && cd ~/.src/course && cat > 'a b.ipynb' && git add . && {git} commit -qm a"
subprocess.run(make, shell=True, check=True, text=True, input=json.dumps(notebook))
"""
# What HTML in a frame tries; it shows the outcome.
FRAMED = """<p id="tried"></p><script>
const said = [];
const attempt = (name, what) => { try { said.push(name + ' ' + what()); } catch (error) { said.push(name + ' no'); } };
attempt('cookies', () => document.cookie);
attempt('storage', () => localStorage.length);
attempt('page', () => parent.document.title);
const ask = (name, url, options) => fetch(url, {credentials: 'include', ...options})
  .then(() => said.push(name + ' yes'), () => said.push(name + ' no'));
(async () => {
  await ask('api', '/user/NAME/api/contents' + location.search);
  await ask('hub', '/hub/api/user');
  await ask('kernel', '/user/NAME/api/kernels' + location.search, {method: 'POST', body: '{}'});
  // The answer would be hidden, but not the kernel.
  await fetch('/user/NAME/api/kernels' + location.search, {method: 'POST', mode: 'no-cors', body: '{}'}).catch(() => 0);
  document.getElementById('tried').textContent = said.join(', ');
})();
</script>"""


def run_cell(page: Page, number: int, code: str) -> Locator:
    cell = page.locator(".jp-Notebook .jp-Cell").nth(number)
    type_code(cell.locator(".cm-content"), code)
    page.keyboard.press("Shift+Enter")
    return cell


def test_links_frames_and_errors_in_jupyterlab(
    deployment: Deployment, new_user: NewUser, context: BrowserContext
) -> None:
    user = new_user(f"lab-{token_hex(2)}")
    server = user.server()
    server.start("base")
    server.run(MAKE_REPOSITORY)
    server.write("plot.html", FRAMED.replace("NAME", user.name))
    sign_in(context, user)
    page = context.new_page()

    # --- links of the classic notebook, as nbgitpuller makes them
    pull = f"{deployment.url}/hub/user-redirect/git-pull?repo=/home/jovyan/.src/course&branch=main"
    page.goto(pull)
    expect(page.locator(".jp-DirListing-item", has_text="a b.ipynb")).to_be_visible()
    page.goto(f"{pull}&urlpath=tree/course/a%2520b.ipynb")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()
    expect(page.locator(".lm-TabBar-tabLabel", has_text="a b.ipynb")).to_be_visible()
    assert urlsplit(page.url).path == f"{server.path}lab/tree/course/a%20b.ipynb"

    # --- HTML in a frame, which is harmless
    shown = run_cell(page, 0, "from IPython.display import IFrame; IFrame('../plot.html', 700, 150)")
    tried = shown.frame_locator("iframe").locator("#tried")
    expect(tried).to_have_text("cookies no, storage no, page no, api no, hub no, kernel no")
    shoot(page, "7-frame")
    assert len(server.request("GET", "api/kernels").json()) == 1

    # --- a kernel that runs out of memory
    run_cell(page, 1, "much = [bytearray(50_000_000) for _ in range(10_000)]")
    explained = page.get_by_role("dialog").filter(has_text="Out of memory")
    restarting = page.get_by_role("dialog").filter(has_text="Kernel Restarting")
    page.add_locator_handler(restarting, lambda: restarting.get_by_role("button", name="Ok").click())
    expect(explained).to_contain_text(
        "a b.ipynb was stopped because this server ran out of memory: its limit is 1.5 GB"
    )
    shoot(page, "8-out-of-memory")
    explained.get_by_role("button", name="Ok").click()

    # --- nothing is offered that does not work here
    expect(page.locator("[title*=Share i]")).to_have_count(0)
    expect(page.locator("[data-id*=collab], [title*=Collaborat i]")).to_have_count(0)
    page.get_by_role("menuitem", name="File", exact=True).click()
    expect(page.locator(".lm-Menu-itemLabel", has_text="Log Out")).to_have_count(1)
    page.locator(".lm-Menu-itemLabel", has_text="Save and Export Notebook As").hover()
    expect(page.locator(".lm-Menu-itemLabel", has_text="Reveal.js Slides")).to_be_visible()
    formats = ("HTML", "Markdown", "Executable Script", "Reveal.js Slides")
    assert tuple(page.locator(".lm-Menu").nth(1).locator(".lm-Menu-itemLabel").all_inner_texts()) == formats
    shoot(page, "9-formats")

    # --- pages of errors lead back
    for path, said in (("marimo/?file=gone.py", "gone.py not found"), ("nowhere", "does not exist")):
        page.goto(f"{deployment.url}{server.path}{path}")
        expect(page.locator(".error")).to_contain_text(said)
        shoot(page, "10-error")
        page.get_by_role("link", name="Back to JupyterLab").click()
        expect(page.locator("#jp-main-dock-panel")).to_be_visible()


def test_named_servers_on_the_home_page(deployment: Deployment, new_user: NewUser, context: BrowserContext) -> None:
    user = new_user(f"home-{token_hex(2)}")
    sign_in(context, user)
    page = context.new_page()
    page.goto(f"{deployment.url}/hub/home")
    name, add = page.get_by_role("textbox", name="Name"), page.get_by_role("button", name="Add")
    focused, said = page.locator(":focus"), page.locator("#servers-said")

    def server(name: str) -> Locator:
        return page.locator(f"[data-server='{name}']")

    # --- any name, by keyboard; each gets an address of its own
    expect(name).to_have_accessible_description("Any name, such as My Server.")
    expect(add).to_be_disabled()
    for typed, slug in (("My Server", "my-server"), ("my server!", "my-server-2"), ("\u8bd5\u9a8c", "x")):
        name.fill(typed)
        expect(name).to_have_accessible_description(f"Its address: /user/{user.name}/{slug}/")
        page.keyboard.press("Enter")
        expect(server(slug)).to_contain_text("Never started")
        expect(focused).to_have_text(typed)
    expect(page.get_by_text("You have 3 of 3 further servers: delete one before you add another.")).to_be_visible()
    expect(name).to_be_hidden()
    for asked, why in (("My%20Server", "Try 'my-server'."), ("more", "already has the maximum of 3 named servers")):
        assert why in user.api("PUT", f"users/{user.name}/servers/{asked}").json()["message"]

    # --- its state changes on the open page; what it uses comes by itself
    user.server("my-server").start("base")
    page.reload()
    mine = server("my-server")
    expect(mine).to_contain_text("Running for less than a minute, last used just now")
    expect(mine).to_contain_text(f"Environment: {CATALOGUE[0]['title']}")
    expect(mine).to_contain_text(re.compile(r"Uses now: \d+ MB of 1.5 GB memory, \d\.\d processors"))
    shoot(page, "11-home")
    assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []
    page.set_viewport_size({"width": 320, "height": 700})
    page.emulate_media(color_scheme="dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    shoot(page, "11-home-small")
    assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []
    # Nothing overflows.
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    # Nobody else sees them.
    other = new_user(f"home-{token_hex(2)}")
    assert "my-server" not in other.request("GET", "/hub/home/servers").text
    assert "my-server" in user.request("GET", "/hub/home/servers").text
    page.get_by_role("button", name="Stop My Server", exact=True).press("Enter")
    expect(said).to_have_text("My Server: stopped")
    expect(mine).to_contain_text("Stopped, last used just now")
    expect(focused).to_have_text("My Server")

    # --- a start that takes long is cancelled
    slow, container = server("my-server-2"), f"{deployment.name}-user-{user.name}--my-server-2"
    starting = threading.Thread(target=user.api, args=("POST", f"users/{user.name}/servers/my-server-2"), daemon=True)
    starting.start()
    # Its process is stopped before it answers.
    eventually("the container", lambda: docker("pause", container, check=False) == container)
    page.reload()
    expect(slow).to_contain_text("Starting")
    expect(slow.get_by_role("link", name="Wait for it: my server!")).to_be_visible()
    shoot(page, "11-home-starting")
    page.get_by_role("button", name="Cancel the start of my server!").press("Enter")
    expect(slow).to_contain_text("Stopped")
    expect(slow.get_by_role("link", name="Start my server!")).to_be_visible()
    expect(focused).to_have_text("my server!")
    starting.join()
    assert not deployment.containers(f"name={container}")
    # Nothing of it keeps the next start from working.
    user.server("my-server-2").start("base")
    user.server("my-server-2").stop()

    # --- deleted, after it was said what becomes of the files
    page.get_by_role("button", name="Delete My Server", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Delete My Server?")
    expect(dialog).to_have_accessible_description(re.compile("Its files are kept"))
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    shoot(page, "12-delete-server")
    assert accessibility_faults(page, "minor", "moderate", "serious", "critical") == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Delete My Server", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    dialog.get_by_role("button", name="Delete").click()
    expect(mine).to_have_count(0)
    expect(said).to_have_text("My Server was deleted")
    expect(focused).to_have_text("Your servers")
    expect(name).to_be_visible()
    # As the page says.
    user.server("my-server").start("base")


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
