"""Idle servers are stopped and busy ones are not, in real use with a short timeout; the notice in JupyterLab."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from secrets import token_hex

import pytest
from e2e.browser import TIMEOUT_MS, browser, run_a_notebook_in_marimo, shoot
from e2e.client import NewUser, Server, User
from e2e.deployment import Deployment, docker
from e2e.marimo_client import Marimo
from playwright.sync_api import Page, expect

# The shortest allowed timeout, and the Hub's interval for it (culling.plan.interval).
TIMEOUT_S = 60
INTERVAL_S = 16
# For a busy machine: until the decision, which is logged, and until the container has stopped.
DECISION_SLACK_S = 5
SLACK_S = 15
COMPUTE = "import time; time.sleep(900)"
COMPUTE_A_LITTLE = "import time\nwhile True:\n    sum(range(10**6))\n    time.sleep(0.05)"
ENVIRONMENTS = [
    {"slug": "base", "title": "Base", "idle_timeout_s": TIMEOUT_S},
    # The general setting applies: never.
    {"slug": "datascience", "title": "Data science"},
]
NOTICE = "Nobody has used this server for a while"
KEEP = "Keep it running"

Open = Callable[[Server, ExitStack], None]


@pytest.fixture(scope="module", autouse=True)
def culled(deployment: Deployment) -> None:
    settings = {"hub_idle_timeout_s": 0, "images_environments": ENVIRONMENTS}
    deployment.run(settings=settings).succeeded()


def busy_kernel(server: Server, pages: ExitStack) -> None:
    # Neither output nor processor time, just a cell that has not ended.
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
    # A process that a finished cell left behind, such as a training: more processor time than jupyterhub_idle ignores,
    # and less than would slow down the other tests.
    kernel = server.kernel()
    kernel.execute(f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {COMPUTE_A_LITTLE!r}])")
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
    # Logging in leads to the server, which is running already.
    expect(page.locator(".jp-Launcher")).to_be_visible()


def open_jupyterlab(page: Page, url: str) -> None:
    """Open JupyterLab with a notebook whose kernel is idle."""
    page.goto(f"{url}lab")
    page.locator('.jp-LauncherCard[data-category="Notebook"][title*="Python 3"]').click()
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible()


def open_marimo(page: Page, url: str) -> None:
    """Open both kinds of marimo's pages, which send requests every few seconds."""
    page.goto(f"{url}marimo/")
    run_a_notebook_in_marimo(page, page.context, "1 + 41", "42")


def is_running(user: User) -> bool:
    # Asks the Hub: a request to the server would count as use.
    return bool(user.servers())


class Watch(threading.Thread):
    """Checks every two seconds which users' servers are gone, and keeps how long after their last use."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.used: dict[str, tuple[User, float]] = {}
        self.gone: dict[str, float] = {}
        self._end = threading.Event()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()

    def run(self) -> None:
        while not self._end.wait(2):
            for name, (user, used) in list(self.used.items()):
                if name not in self.gone and not is_running(user):
                    self.gone[name] = time.monotonic() - used


def test_idle_servers_are_stopped_in_time_and_busy_ones_are_not(deployment: Deployment, new_user: NewUser) -> None:
    mark = token_hex(2)
    with ExitStack() as pages:
        watch = pages.enter_context(Watch())

        def started(name: str, profile: str = "base") -> User:
            user = new_user(f"{name}-{mark}")
            user.server().start(profile)
            return user

        def in_use_until_now(name: str, user: User) -> None:
            watch.used[name] = user, time.monotonic()

        for name, use in {**BUSY, **IDLE}.items():
            user = started(name)
            use(user.server(), pages)
            in_use_until_now(name, user)
        in_use_until_now("never", started("never", "datascience"))

        # Open pages of three users: one in marimo, two in JupyterLab, of whom one leaves and one answers the notice.
        chromium = pages.enter_context(browser()).browser
        assert chromium
        tabs: dict[str, Page] = {}
        for name, open_page in (("idle-marimo", open_marimo), ("leaves", open_jupyterlab), ("stays", open_jupyterlab)):
            # In one browser, with separate cookies.
            context = chromium.new_context()
            context.set_default_timeout(2 * TIMEOUT_MS)
            tabs[name] = context.new_page()
            user = started(name)
            log_in(tabs[name], deployment, user)
            open_page(tabs[name], f"{deployment.url}{user.server().path}")
            in_use_until_now(name, user)
        stays, used = watch.used["stays"]

        notice = tabs["stays"].get_by_text(NOTICE)
        expect(notice).to_be_visible()
        assert time.monotonic() < used + TIMEOUT_S, "the notice came too late"
        shoot(tabs["stays"], "culling-1-notice")
        tabs["stays"].get_by_role("button", name=KEEP).click()
        expect(notice).not_to_be_visible()

        # By then the last idle server must be stopped; the kept one would be gone as well if nobody had kept it.
        late = TIMEOUT_S + INTERVAL_S + SLACK_S
        time.sleep(used + late - time.monotonic())
        idle = {*IDLE, "idle-marimo", "leaves"}
        assert set(watch.gone) == idle
        wrong = {name: seconds for name, seconds in watch.gone.items() if not TIMEOUT_S < seconds < late}
        assert not wrong, f"seconds after their last use: {wrong}"
        expect(tabs["leaves"].get_by_text("Would you like to restart it?")).to_be_visible()
        shoot(tabs["leaves"], "culling-2-stopped")
        # The kept server still has its kernel.
        [kernel] = stays.server().request("GET", "api/kernels").json()
        assert kernel["execution_state"] == "idle"

        # The culler stopped them, and only them.  Servers of other tests, older than this Hub, have more time.
        log = docker("logs", "--tail", "5000", deployment.hub)
        culled = re.findall(r"culler\] Culling server \S+ \(inactive for 00:(\d\d):(\d\d)\)", log)
        inactive = [60 * int(minutes) + int(seconds) for minutes, seconds in culled]
        assert len(inactive) == len(idle)
        assert TIMEOUT_S <= min(inactive) <= max(inactive) <= TIMEOUT_S + INTERVAL_S + DECISION_SLACK_S
        assert "Traceback" not in log
