"""For all tests: signals as in a terminal, a time limit, and an end of the processes that a test started."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_timeout

TESTS = Path(__file__).parent
# Seconds for a test with its fixtures, on a busy machine; pyproject.toml has the limit of the others.
LIMITS_S = {"unit": 60, "settings": 180}
# For fixtures to clean up after a failure; for processes to end after SIGTERM; before pytest is aborted; for pytest to
# exit when it is done.
TEARDOWN_S, END_S, LAST_S, EXIT_S = 300, 5, 900, 60
# Shells make background jobs ignore some of these, which programs that a test starts would inherit.
IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)


class Process(NamedTuple):
    """A process: its pid, which may be reused, and its start in clock ticks since boot."""

    pid: int
    since: int


# Durations and failures of this run, for the tables of tests/layers.py.
TIMES = TESTS.parent / "artefacts/times"
_took: dict[str, float] = {}
_failed: dict[str, str] = {}

# Ansible runs share packed modules.
os.environ["ANSIBLE_CALLBACK_PLUGINS"] = str(TESTS / "callback_plugins")
os.environ["ANSIBLE_CALLBACKS_ENABLED"] = "packed"

_LIMITED = pytest.StashKey[bool]()
_STDERR = pytest.StashKey[int]()


def descendants() -> set[Process]:
    """Return all running descendants of this process."""
    children: dict[int, list[Process]] = {}
    # Without the file in the pattern: pathlib would check that it exists, and fails if the process has just ended.
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # proc(5): after the name, which may contain anything, the state, the parent, and 17 fields later the start.
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        if fields[0] not in "ZX":
            children.setdefault(int(fields[1]), []).append(Process(int(folder.name), int(fields[19])))
    found: set[Process] = set()
    parents = [os.getpid()]
    while parents:
        found_here = children.get(parents.pop(), [])
        found |= {*found_here}
        parents += [process.pid for process in found_here]
    return found


def send(number: int, processes: set[Process]) -> None:
    """Send a signal to processes, some of which may have ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def end(begun: float) -> None:
    """Terminate the processes that were started since then, and kill those that do not end."""

    def found() -> set[Process]:
        return {process for process in descendants() if process.since >= begun}

    send(signal.SIGTERM, found())
    deadline = time.monotonic() + END_S
    while found() and time.monotonic() < deadline:
        time.sleep(0.05)
    # Stop all of them before killing any, or one could start another meanwhile.
    stopped: set[Process] = set()
    while more := found() - stopped:
        send(signal.SIGSTOP, more)
        stopped |= more
    send(signal.SIGKILL, stopped)
    while found() and time.monotonic() < deadline + END_S:
        time.sleep(0.05)


def pytest_configure(config: pytest.Config) -> None:
    """Give signals their usual effect even if a script runs the tests in the background."""
    for number in IGNORED:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED)
    # Not captured yet.
    config.stash[_STDERR] = os.dup(2)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Do not wait forever for a thread that a test left behind; print where it is."""
    faulthandler.dump_traceback_later(EXIT_S, exit=True, file=config.stash[_STDERR])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the limit of its layer, unless it has its own."""
    for item in items:
        layer = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if layer in LIMITS_S and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMITS_S[layer]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the duration of a test with its fixtures, and keep its first failure."""
    name = report.nodeid.rpartition("tests/")[2].partition("[docker:")[0].partition("[ansible:")[0]
    _took[name] = _took.get(name, 0) + report.duration
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        _failed.setdefault(name, f"{crash.path}:{crash.lineno}: {crash.message}" if crash else report.longreprtext)


def pytest_sessionfinish() -> None:
    """Save durations and failures by layer or scenario; the controller overwrites its workers' files."""
    layers = {name.partition("/")[0] for name in _took}
    if TIMES.exists() and layers:
        name = os.environ.get("MOLECULE_SCENARIO_NAME", "-".join(sorted(layers)))
        (TIMES / f"{name}.json").write_text(json.dumps({"seconds": _took, "failed": _failed}, indent=1))


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool:
    """At the limit, end the test's processes, for which it may be waiting, and then make it fail."""
    begun = float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK") // 1
    item.stash[_LIMITED] = True

    def cut_off(number: int, frame: object) -> None:
        __tracebackhide__ = True
        # The cleanup may hang as well.
        signal.setitimer(signal.ITIMER_REAL, TEARDOWN_S)
        end(begun)
        pytest_timeout.timeout_sigalrm(item, settings)

    signal.signal(signal.SIGALRM, cut_off)
    signal.setitimer(signal.ITIMER_REAL, settings.timeout)
    # The plugin calls this when the test has ended or failed.
    item.cancel_timeout = lambda: signal.setitimer(signal.ITIMER_REAL, 0)  # type: ignore[attr-defined]
    # The last resort, for code that does not react to signals.
    faulthandler.dump_traceback_later(settings.timeout + LAST_S, exit=True, file=item.config.stash[_STDERR])
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Limit the fixtures' cleanup after a failure, when the plugin's timer no longer runs."""
    if _LIMITED in item.stash and not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, TEARDOWN_S)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """Cancel the last resort."""
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
