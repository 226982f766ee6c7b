"""When a user's server was last active, as its own extension determines it."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_idle.activity import COMPUTING, Activity
from jupyterhub_idle.plan import Plan, planned
from jupyterhub_idle.processes import TICKS_PER_S, Process
from tornado.httpclient import HTTPError

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"


class Manager:
    """Jupyter's manager of kernels, as far as it is used."""

    def __init__(self) -> None:
        self.kernels: dict[str, Any] = {}

    def list_kernel_ids(self) -> list[str]:
        return list(self.kernels)

    def get_kernel(self, kernel_id: str) -> Any:
        return self.kernels[kernel_id]


class Marimo:
    """marimo's server: whether a cell is running, or the error instead of an answer."""

    runs: bool | Exception = False

    async def is_running(self) -> bool:
        if isinstance(self.runs, Exception):
            raise self.runs
        return self.runs


class Server:
    """A server without activity since it was started, long ago."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.processes: list[Process] = []
        self.logged: list[str] = []
        monkeypatch.setattr("jupyterhub_idle.processes.processes", lambda: iter(self.processes))
        self.kernels, self.marimo = Manager(), Marimo()
        self.terminals: dict[str, Any] = {}
        self.settings: dict[str, Any] = {
            "started": LONG_AGO,
            "last_activity_times": {},
            # What Jupyter itself counts as activity: polls of open pages, and the culling of a kernel.
            "api_last_activity": datetime.now(UTC),
            "kernel_manager": self.kernels,
            "terminal_manager": SimpleNamespace(terminals=self.terminals),
        }
        log = SimpleNamespace(info=lambda *words: self.logged.append(words[0] % words[1:]))
        self.activity = Activity(SimpleNamespace(settings=self.settings), self.marimo, log)  # type: ignore[arg-type]

    def looks_in_use(self) -> bool:
        asyncio.run(self.activity.look())
        return self.is_in_use()

    def is_in_use(self) -> bool:
        return self.activity.last_activity() > LONG_AGO + timedelta(days=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    return Server(monkeypatch)


def kernel(state: str, at: datetime = LONG_AGO) -> Any:
    return SimpleNamespace(execution_state=state, last_activity=at)


def request(method: str, path: str, accept: str = "*/*", status: int = 200, user: str | None = "alice") -> Any:
    return SimpleNamespace(
        request=SimpleNamespace(method=method, path=f"/user/alice{path}", headers={"Accept": accept}),
        get_status=lambda: status,
        _jupyter_current_user=user,
    )


def test_nothing_runs_and_pages_poll(server: Server) -> None:
    server.kernels.kernels = {"1": kernel("idle"), "2": kernel("starting"), "3": SimpleNamespace()}
    assert not server.looks_in_use()
    assert server.activity.last_activity() == LONG_AGO


def test_a_busy_kernel_counts_as_active_for_a_while_after_it_is_gone(server: Server) -> None:
    server.kernels.kernels = {"1": kernel("busy")}
    assert server.looks_in_use()
    server.kernels.kernels = {}
    assert server.is_in_use()


def test_an_idle_kernel_counts_from_its_last_message_on_and_not_from_its_end(server: Server) -> None:
    at = LONG_AGO + timedelta(hours=1)
    server.kernels.kernels = {"1": kernel("idle", at)}
    assert server.activity.last_activity() == at
    server.kernels.kernels = {}
    assert server.activity.last_activity() == at


def test_marimo(server: Server) -> None:
    server.marimo.runs = True
    assert server.looks_in_use()


@pytest.mark.parametrize("error", [TimeoutError("no answer"), ValueError("odd"), HTTPError(599)])
def test_a_marimo_that_does_not_answer_is_not_active_and_is_logged(server: Server, error: Exception) -> None:
    server.marimo.runs = error
    assert not server.looks_in_use()
    assert len(server.logged) == 1


def process(
    pid: int, command: str, session: int, *, terminal: int = 34816, state: str = "S", ticks: int = 0
) -> Process:
    return Process(pid, command, state, session, terminal, ticks)


def test_a_job_keeps_its_terminal_too(server: Server) -> None:
    for number in (7, 8):
        server.terminals[str(number)] = SimpleNamespace(ptyproc=SimpleNamespace(pid=number), last_activity=LONG_AGO)
    server.processes = [process(7, "bash", 7), process(8, "bash", 8)]
    assert not server.looks_in_use()
    server.processes.append(process(9, "sleep", 7))
    assert server.looks_in_use()
    assert server.terminals["7"].last_activity > LONG_AGO
    # Jupyter culls this one, regardless of the other.
    assert server.terminals["8"].last_activity == LONG_AGO


def test_a_computing_background_process_counts(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # Possibly left behind by a finished cell.
    server.kernels.kernels = {"1": kernel("idle")}
    now = time.monotonic()
    monkeypatch.setattr("jupyterhub_idle.activity.time", SimpleNamespace(monotonic=lambda: now))
    for share, in_use in ((COMPUTING * 0.9, False), (COMPUTING * 1.1, True)):
        now += 100
        before = server.processes[0].ticks if server.processes else 0
        ticks = before + round(100 * share * TICKS_PER_S)
        # The server itself, which also uses CPU time.
        own = process(os.getpid(), "jupyterhub-sing", 1, terminal=0, ticks=10**6 * round(now))
        server.processes = [process(30, "python", 30, terminal=0, ticks=ticks), own]
        assert server.looks_in_use() is in_use
        assert (server.kernels.kernels["1"].last_activity > LONG_AGO) is in_use


@pytest.mark.parametrize(
    ("asked", "counts"),
    [
        (request("GET", "/api/kernels"), False),
        (request("HEAD", "/lab"), False),
        (request("PUT", "/lab/api/workspaces/default"), False),
        (request("POST", "/marimo/api/home/running_notebooks"), False),
        (request("GET", "/lab", HTML), True),
        (request("GET", "/lab", HTML, status=302, user=None), False),
        (request("PUT", "/api/contents/Untitled.ipynb"), True),
        (request("PUT", "/api/contents/Untitled.ipynb", status=403), False),
        (request("POST", "/marimo/api/kernel/run"), True),
        (request("POST", "/api/security/csp-report", user=None), False),
    ],
)
def test_requests(server: Server, asked: Any, counts: bool) -> None:
    server.activity.count_request(asked)
    assert server.is_in_use() is counts


def test_other_extensions_activity_counts(server: Server) -> None:
    server.settings["last_activity_times"]["jupyter-server-proxy"] = datetime.now(UTC)
    assert server.is_in_use()


def test_keep_marks_kernels_and_terminals_as_active(server: Server) -> None:
    server.kernels.kernels = {"1": kernel("idle")}
    server.terminals["1"] = SimpleNamespace(ptyproc=SimpleNamespace(pid=7), last_activity=LONG_AGO)
    server.activity.keep()
    assert server.kernels.kernels["1"].last_activity == server.terminals["1"].last_activity > LONG_AGO
    assert server.is_in_use()


def test_the_end_is_the_earlier_of_both() -> None:
    started, used = LONG_AGO, LONG_AGO + timedelta(seconds=50)
    assert Plan().end(started, used) is None
    assert Plan(timeout_s=60).end(started, used) == (LONG_AGO + timedelta(seconds=110), "idle")
    assert Plan(timeout_s=60, max_age_s=100).end(started, used) == (LONG_AGO + timedelta(seconds=100), "age")
    assert Plan(max_age_s=200).end(started, used) == (LONG_AGO + timedelta(seconds=200), "age")


def test_timeouts_come_from_the_hub() -> None:
    text = '{"timeout_s": 60, "max_age_s": 0, "notice_s": 15, "look_s": 4}'
    assert planned({"JUPYTERHUB_IDLE_CULLING": text}) == Plan(60, 0, 15, 4)
    # A server that is never culled, or not started by a Hub; activity is checked anyway.
    assert planned({}) == Plan(0, 0, 0, 150)
