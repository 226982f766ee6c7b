"""A hanging test is ended, its position is shown, and nothing is left behind; signals work as in a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project import ROLES

PROJECT = ROLES.parent
CONFTEST = PROJECT / "tests/conftest.py"
# A duration that no other test on this machine uses.
NAP = ["sleep", str(300_000 + os.getpid())]
# Bodies of tests.
HANGS = {
    "in_python": "time.sleep(300)",
    # `with` waits for the program, so it has to be ended first.
    "reading": "with subprocess.Popen(NAP, stdout=subprocess.PIPE) as run: run.stdout.read()",
    "on_one_that_does_not_want_to_end": "subprocess.Popen(OBSTINATE, start_new_session=True).wait()",
    "in_a_thread": "with ThreadPoolExecutor() as pool: pool.submit(subprocess.run, NAP).result()",
}
HEAD = f"""
import os, signal, subprocess, threading, time
from concurrent.futures import ThreadPoolExecutor
import pytest
NAP = {NAP}
OBSTINATE = ["sh", "-c", "trap '' TERM; sleep {NAP[1]}; sleep {NAP[1]}"]
def soon(limit):
    # The limit is set; it ends here, and not while a busy machine is still on its way to what hangs.
    assert limit - 20 < signal.getitimer(signal.ITIMER_REAL)[0] <= limit
    signal.setitimer(signal.ITIMER_REAL, 0.5)
"""


# What takes too long ends by itself (`soon`), or by what a test sets: never because the machine is busy.
TIMES_S = {"TEARDOWN_S": 40, "END_S": 0.5, "LAST_S": 30, "EXIT_S": 3}


class Suite:
    """Tests of a project that has this one's conftest.py, with shorter times."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.times()
        shutil.copy(PROJECT / "pyproject.toml", folder)

    def times(self, **seconds: float) -> None:
        """Set the times of the conftest."""
        lines = [f"{name} = {value}\n" for name, value in {**TIMES_S, **seconds}.items()]
        (self.folder / "conftest.py").write_text(CONFTEST.read_text() + "".join(lines))

    def run(self, test: str, *arguments: str, ignoring: int | None = None) -> tuple[int, str]:
        """Run a test in pytest, started by a process that ignores a signal; it ends within seconds."""
        path = self.folder / "test_it.py"
        path.write_text(HEAD + test)
        before = signal.signal(ignoring, signal.SIG_IGN) if ignoring else None
        try:
            run = subprocess.Popen(
                [sys.executable, "-m", "pytest", *arguments, path],
                cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        finally:
            if ignoring:
                signal.signal(ignoring, before)
        try:
            output, _ = run.communicate(timeout=50)
        finally:
            run.kill()
        return run.returncode, output


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    return Suite(tmp_path)


def left() -> list[str]:
    """Processes of these tests that are still sleeping."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command[:2] == [word.encode() for word in NAP]:
            found.append(folder.name)
    return found


def test_a_hanging_test_is_ended_and_its_position_is_shown(suite: Suite) -> None:
    head = "@pytest.mark.timeout(30)\ndef test_{}(cleaned):\n    soon(30)\n    {}\n"
    tests = [head.format(name, body) for name, body in HANGS.items()]
    code, output = suite.run(
        "@pytest.fixture\n"
        "def cleaned():\n"
        "    yield\n"
        "    print('put back')\n"
        "def test_passes():\n"
        "    pass\n" + "".join(tests),
    )
    assert code == 1, output
    assert f"{len(HANGS)} failed, 1 passed" in output
    for name, body in HANGS.items():
        _, _, failure = output.partition(f"_ test_{name} _")
        # The line, and the limit.
        shown, _, _ = failure.partition("Timeout (>30.0s)")
        assert re.search(rf"^>\s+{re.escape(body)}$", shown, re.MULTILINE), output
    assert output.count("put back") == len(HANGS)
    assert left() == []


def test_fixtures_that_hang_after_a_failure_are_ended_too(suite: Suite) -> None:
    code, output = suite.run(
        "@pytest.fixture\n"
        "def first():\n"
        "    yield\n"
        "    print('put back')\n"
        "@pytest.fixture\n"
        "def slow(first):\n"
        "    yield\n"
        "    soon(40)\n"
        "    time.sleep(300)  # here\n"
        "@pytest.mark.timeout(20)\n"
        "def test_fails(slow):\n"
        "    assert False\n",
    )
    assert code == 1, output
    assert "1 failed, 1 error" in output
    assert ">       time.sleep(300)  # here" in output or ">   time.sleep(300)  # here" in output
    assert "put back" in output


def test_code_that_ignores_signals_ends_the_run_and_its_position_is_shown(suite: Suite) -> None:
    suite.times(LAST_S=1)
    code, output = suite.run(
        "@pytest.mark.timeout(3)\n"
        "def test_hangs():\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
        "    time.sleep(300)\n",
    )
    assert code == 1, output
    assert "Timeout (0:00:04)!" in output
    assert "in test_hangs" in output


def test_a_left_over_thread_does_not_block_the_end(suite: Suite) -> None:
    code, output = suite.run(
        "def test_leaves_one():\n    threading.Thread(target=time.sleep, args=(300,), name='left').start()\n",
    )
    assert code == 1, output
    assert "1 passed" in output
    assert "Timeout (0:00:03)!" in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGALRM])
def test_signals_that_a_background_script_ignores_work(suite: Suite, number: int) -> None:
    code, output = suite.run(
        "def test_program_hears_it():\n"
        "    run = subprocess.Popen(NAP)\n"
        "    time.sleep(0.2)\n"
        f"    run.send_signal({int(number)})\n"
        f"    assert run.wait(30) == -{int(number)}\n"
        "def test_the_tests_hear_it():\n"
        "    with pytest.raises(KeyboardInterrupt):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(1)\n",
        ignoring=number,
    )
    assert code == 0, output


def test_each_layer_has_its_limit(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("timeout")
    assert marker
    assert marker.args == (60,)
    # For machines and deployed Hubs, and for a scenario's tests, which Molecule runs in another folder.
    assert float(pytestconfig.getini("timeout")) == 1200
    asked = [sys.executable, "-m", "pytest", "--collect-only", "--hosts=local://", "../../tests/testinfra/docker"]
    said = subprocess.check_output(asked, cwd=PROJECT / "molecule/docker", text=True, stderr=subprocess.STDOUT)
    assert f"rootdir: {PROJECT}" in said
    assert "timeout: 1200.0s" in said


def molecule_run(folder: Path, *scenarios: str, limit_s: int = 50, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of molecule/run with stand-ins for the programs that it starts."""
    ipv6 = folder / "ipv6"
    ipv6.write_text("0\n")
    script = (PROJECT / "molecule/run").read_text().replace("/proc/sys/net/ipv6/conf/default/disable_ipv6", str(ipv6))
    texts = {
        "molecule/run": script,
        "molecule/vps/build": "",
        "molecule/vps/install-mmdebstrap": "",
        "bin/ansible-playbook": "",
        "bin/id": "echo 0",
        "bin/docker": f'echo "$@" >>{folder}/docker.log',
        **{f"bin/{name}": text for name, text in programs.items()},
        "tests/e2e/run": "exec molecule test e2e",
    }
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text if text is script else f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "LANES": "1"}
    environment["SCENARIO_LIMIT_S"] = str(limit_s)
    # The timeout of subprocess ends only bash.
    command = [str(folder / "molecule/run"), *scenarios]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=55)


def test_the_longest_scenarios_start_first(tmp_path: Path) -> None:
    """Except for two that do not need this host's images, which are still being built; known times count."""
    seconds = tmp_path / "artefacts/molecule/hub.seconds"
    seconds.parent.mkdir(parents=True)
    seconds.write_text("2000")
    names = ["ingress", "proxy", "e2e", "docker", "hub", "compose", "resilience_trixie"]
    done = molecule_run(tmp_path, *names, molecule=f'echo "$@" >>{tmp_path}/order')
    assert done.returncode == 0, done.stdout + done.stderr
    begun = [line.split() for line in (tmp_path / "order").read_text().splitlines()]
    order = [name for words in begun for name in names if name in words]
    assert {*order[:2]} == {"docker", "compose"}
    assert order[2:] == ["hub", "e2e", "ingress", "resilience_trixie", "proxy"]


def test_a_hanging_scenario_is_ended_and_its_position_is_shown(tmp_path: Path) -> None:
    """In Ansible, not in its tests, which have their own limits."""
    done = molecule_run(tmp_path, "one", limit_s=5, molecule=f"echo 'TASK [hub : Wait]'\n{' '.join(NAP)} &\nwait")
    assert done.returncode == 1, done.stderr
    assert "TASK [hub : Wait]" in done.stdout
    assert "killed after 5 s; the output above shows where it hung" in done.stdout
    assert "0 passed, 1 failed" in done.stdout
    assert "scenario=one" in (tmp_path / "docker.log").read_text()
    assert left() == []
