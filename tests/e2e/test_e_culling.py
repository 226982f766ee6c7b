"""Idle servers are stopped and others are not, by real use with a short timeout; the notice in JupyterLab."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from secrets import token_hex

import pytest
from e2e.browser import TIMEOUT_MS, browser, shoot, type_code
from e2e.client import Marimo, NewUser, Server, User
from e2e.deployment import Deployment, docker
from playwright.sync_api import Page, expect

# The shortest that the setting may be, and what the Hub makes of it (jupyterhub_ansible.culling.interval), in seconds.
TIMEOUT_S = 60
INTERVAL_S = 16
NOTICE_S = 15
# Of the test's own looks, of the container's stop, and of a machine that does all this at once.
SLACK_S = 5
COMPUTE = "import time; time.sleep(900)"
ENVIRONMENTS = [
    {"slug": "base", "title": "Base", "idle_timeout_s": TIMEOUT_S},
    # The setting for all: never.
    {"slug": "datascience", "title": "Data science"},
]
NOTICE = "Nobody has used this server for a while"
KEEP = "Keep it running"

Open = Callable[[Server, ExitStack], None]


@pytest.fixture(scope="module", autouse=True)
def culled(deployment: Deployment) -> Iterator[None]:
    settings = {"hub_idle_timeout_s": 0, "images_environments": ENVIRONMENTS}
    deployment.run(settings=settings).succeeded()
    yield
    deployment.settle()


def busy_kernel(server: Server, pages: ExitStack) -> None:
    # Neither output nor processor time: only that the cell has not ended.
    kernel = server.kernel()
    kernel.send(COMPUTE)
    kernel.socket.close()


def idle_kernel(server: Server, pages: ExitStack) -> None:
    kernel = server.kernel()
    pages.enter_context(kernel.socket)
    assert kernel.execute("1 + 1").result == "2"


def busy_marimo(server: Server, pages: ExitStack) -> None:
    page, _ = Marimo(server).begin("busy.py", COMPUTE)
    page.close()


def terminal_with_a_job(server: Server, pages: ExitStack) -> None:
    terminal = server.terminal()
    terminal.run("sleep 900 & true")
    terminal.socket.close()


def idle_terminal(server: Server, pages: ExitStack) -> None:
    terminal = server.terminal()
    pages.enter_context(terminal.socket)
    terminal.run("sleep 0.1")


def computation_behind_an_idle_kernel(server: Server, pages: ExitStack) -> None:
    # What a finished cell left behind, as a training in a process of its own.
    kernel = server.kernel()
    kernel.execute("import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'while True: pass'])")
    kernel.socket.close()


def nothing(server: Server, pages: ExitStack) -> None:
    pass


BUSY: Mapping[str, Open] = {
    "busy-kernel": busy_kernel,
    "busy-marimo": busy_marimo,
    "job": terminal_with_a_job,
    "computing": computation_behind_an_idle_kernel,
}
IDLE: Mapping[str, Open] = {
    "idle-kernel": idle_kernel,
    "idle-terminal": idle_terminal,
    "untouched": nothing,
}


def log_in(page: Page, deployment: Deployment, user: User) -> None:
    page.goto(deployment.url)
    page.get_by_label("Username").fill(user.name)
    page.locator("#password_input").fill(deployment.secret("user_password"))
    page.get_by_role("button", name="Sign in").click()
    expect(page).not_to_have_url(re.compile("login"))


def open_jupyterlab(page: Page, url: str) -> None:
    """With a notebook, whose kernel is idle."""
    page.goto(f"{url}lab")
    page.locator('.jp-LauncherCard[data-category="Notebook"][title*="Python 3"]').click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()


def open_marimo(page: Page, url: str) -> None:
    """Both kinds of its pages, each of which asks for something every few seconds."""
    page.goto(f"{url}marimo/")
    with page.context.expect_page() as opened:
        page.get_by_text("Create a new notebook").click()
    type_code(opened.value.locator(".cm-content").first, "1 + 41")
    opened.value.keyboard.press("Control+Enter")
    expect(opened.value.locator(".output-area").first).to_contain_text("42")


def is_running(user: User) -> bool:
    # The Hub is asked, never the server.
    return bool(user.servers())


def test_who_is_idle_is_stopped_in_time_and_nobody_else(deployment: Deployment, new_user: NewUser) -> None:
    mark = token_hex(2)
    with ExitStack() as pages:
        used: dict[str, tuple[User, float]] = {}
        for name, use in {**BUSY, **IDLE}.items():
            user = new_user(f"{name}-{mark}")
            user.server().start("base")
            use(user.server(), pages)
            used[name] = user, time.monotonic()
        never = new_user(f"never-{mark}")
        never.server().start("datascience")
        # Open pages of three people: of two in front of JupyterLab one goes, and one answers the notice.
        chromium = pages.enter_context(browser()).browser
        assert chromium
        tabs: dict[str, Page] = {}
        for name, open_page in (("idle-marimo", open_marimo), ("leaves", open_jupyterlab), ("stays", open_jupyterlab)):
            user = new_user(f"{name}-{mark}")
            user.server().start("base")
            # In one browser, with cookies of their own.
            tabs[name] = chromium.new_context().new_page()
            tabs[name].set_default_timeout(TIMEOUT_MS)
            log_in(tabs[name], deployment, user)
            open_page(tabs[name], f"{deployment.url}{user.server().path}")
            used[name] = user, time.monotonic()

        gone: dict[str, float] = {}
        idle = {*IDLE, "idle-marimo", "leaves"}
        kept = False
        while gone.keys() < idle and time.monotonic() < max(at for _, at in used.values()) + TIMEOUT_S + 3 * INTERVAL_S:
            for name in idle - gone.keys():
                if not is_running(used[name][0]):
                    gone[name] = time.monotonic() - used[name][1]
            if not kept and tabs["stays"].get_by_text(NOTICE).is_visible():
                assert tabs["leaves"].get_by_text(NOTICE).count() <= 1
                told = time.monotonic() - used["stays"][1]
                shoot(tabs["stays"], "culling-1-notice")
                tabs["stays"].get_by_role("button", name=KEEP).click()
                expect(tabs["stays"].get_by_text(NOTICE)).not_to_be_visible()
                used["stays"] = used["stays"][0], time.monotonic()
                kept = True
            tabs["leaves"].wait_for_timeout(500)

        assert gone.keys() == idle, f"still there: {idle - gone.keys()}"
        wrong = {name: s for name, s in gone.items() if not TIMEOUT_S - SLACK_S < s < TIMEOUT_S + INTERVAL_S + SLACK_S}
        assert not wrong, f"seconds after their last use: {wrong}"
        assert kept, "no notice was seen"
        assert told < TIMEOUT_S, "the notice came too late"
        expect(tabs["leaves"].get_by_text("Your server at")).to_be_visible()
        shoot(tabs["leaves"], "culling-2-stopped")
        # All of these are older now than the timeout and the interval.
        assert [name for name in BUSY if not is_running(used[name][0])] == []
        assert is_running(never)
        assert is_running(used["stays"][0]), "the button did not keep it"
        # What it is kept for is there as well: the kernel.
        assert used["stays"][0].server().request("GET", "api/kernels").json()[0]["execution_state"] == "idle"

        # The culler in the log, and no more rights than it needs.
        log = docker("logs", "--tail", "2000", deployment.hub)
        assert "culler] Culling server" in log
        assert "Traceback" not in log

        # Who is too old goes, however busy.  A Hub that comes back waits until its servers had their say.
        deployment.run(settings={"hub_idle_timeout_s": 0, "hub_max_age_s": TIMEOUT_S}).succeeded()
        assert is_running(used["busy-kernel"][0])
        deadline = time.monotonic() + 60
        there = {*BUSY, "stays"}
        while there and time.monotonic() < deadline:
            there = {name for name in there if is_running(used[name][0])}
            time.sleep(1)
        assert not there
