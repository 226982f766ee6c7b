"""The recorder and the Hub's outbox, over a real socket: nothing is lost, nothing is written twice."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_ansible.audit import chain, check, events, outbox, recorder
from project import IMAGES

PROGRAM = """
import sys
from pathlib import Path
from jupyterhub_ansible.audit import recorder
folder, size = Path(sys.argv[1]), int(float(sys.argv[2]) * 1024**2)
recorder.Recorder(recorder.Trail(folder, size), recorder.listening(folder / "recorder.sock")).run()
"""


class Place:
    """A recorder that can be killed, its folder, and outboxes."""

    def __init__(self, folder: Path) -> None:
        self.trail, self.spool = folder / "trail", folder / "spool"
        self.trail.mkdir()
        self.socket = self.trail / "recorder.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.outboxes: list[outbox.Outbox] = []

    def record(self, megabytes: float = 200) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-S", "-c", PROGRAM, str(self.trail), str(megabytes)],
            env={"PYTHONPATH": str(IMAGES / "hub")},
            stdout=subprocess.PIPE,
        )
        until = time.monotonic() + 20
        while not self.answers():
            assert time.monotonic() < until
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            outbox.deliver_once({"no": "event"}, "test", self.socket)
        except OSError as error:
            return "did not write" in str(error)
        return True

    def kill(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def outbox(self) -> outbox.Outbox:
        made = outbox.Outbox(self.socket, self.spool, logging.getLogger("audit"))
        made.start()
        self.outboxes.append(made)
        return made

    def written(self) -> list[dict[str, Any]]:
        files = chain.files(self.trail)
        return [json.loads(line) for path in files for line in path.read_bytes().split(b"\n")[:-1]]

    def numbers(self) -> list[int]:
        return [each["details"]["n"] for each in self.written() if "n" in each["details"]]

    def settles(self, count: int) -> None:
        until = time.monotonic() + 20
        while len(self.numbers()) < count:
            assert time.monotonic() < until, self.numbers()
            time.sleep(0.02)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for each in made.outboxes:
        each.close(0.1)
    made.kill()


def numbered(number: int) -> dict[str, Any]:
    return events.event("login", actor="ann", n=number)


def test_events_are_chained_in_their_order(place: Place) -> None:
    place.record()
    box = place.outbox()
    for number in range(250):
        box.put(numbered(number))
    assert box.close(20)
    assert place.numbers() == list(range(250))
    assert place.spool.read_bytes() == b""
    verdict = chain.verified(place.trail, check.remembered(place.socket))
    assert (verdict.problems, verdict.first, verdict.last.number) == ([], 1, 250)
    first = place.written()[0]
    assert first["source"] == "hub"
    assert first["recorded"] >= first["time"]
    assert [path.stat().st_mode & 0o777 for path in chain.files(place.trail)] == [0o640]
    assert place.socket.stat().st_mode & 0o777 == 0o660


def test_a_recorder_that_is_killed_again_and_again_loses_nothing(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.record()
    box = place.outbox()
    for number in range(600):
        box.put(numbered(number))
        if number % 200 == 100:
            place.kill()
        if number % 200 == 150:
            assert place.spool.stat().st_size, "they wait in a file, too"
            place.record()
    place.settles(600)
    assert place.numbers() == list(range(600))
    assert chain.verified(place.trail, check.remembered(place.socket)).problems == []
    assert "The audit trail's recorder does not answer" in caplog.text


def test_an_answer_that_makes_no_sense_does_not_end_the_line(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.record()
    read, failures = outbox.Outbox._read, iter([UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])

    def failing(answers: Any) -> str:
        for error in failures:
            raise error
        return read(answers)

    monkeypatch.setattr(outbox.Outbox, "_read", staticmethod(failing))
    box = place.outbox()
    box.put(numbered(1))
    assert box.close(20)
    assert place.numbers() == [1]
    assert "was not understood" in caplog.text


def test_a_hub_that_is_killed_loses_nothing(place: Place) -> None:
    box = place.outbox()
    for number in range(30):
        box.put(numbered(number))
    spooled = place.spool.read_bytes()
    assert len(spooled.splitlines()) == 30
    # Of some, the recorder's answer never arrived.
    place.record()
    place.settles(30)
    assert box.close(20)
    place.spool.write_bytes(spooled + outbox.line_of(numbered(30)) + b'{"half a li')
    assert place.outbox().close(20)
    assert place.numbers() == list(range(31))


def test_a_line_that_was_half_written_is_replaced(place: Place) -> None:
    place.record()
    box = place.outbox()
    box.put(numbered(0))
    place.settles(1)
    place.kill()
    with chain.files(place.trail)[0].open("ab") as file:
        file.write(b'{"number":2,"reco')
    place.record()
    box.put(numbered(1))
    place.settles(2)
    assert place.numbers() == [0, 1]
    assert chain.verified(place.trail, {}).problems == []


def test_old_files_are_removed_and_the_chain_goes_on(place: Place) -> None:
    place.record(0.1)
    box = place.outbox()
    for number in range(1500):
        box.put(numbered(number))
    assert box.close(30)
    files = chain.files(place.trail)
    assert len(files) == chain.FILES
    assert sum(path.stat().st_size for path in files) < 2 * 0.1 * 1024**2 + 100 * 400 * chain.FILES
    verdict = chain.verified(place.trail, check.remembered(place.socket))
    assert (verdict.problems, verdict.last.number) == ([], 1500)
    assert verdict.first > 1
    # A recorder that is started again takes the chain up where it was.
    place.kill()
    place.record(0.1)
    assert check.remembered(place.socket) == {1500: verdict.last.hash}


def test_what_had_to_be_dropped_is_recorded_as_a_gap(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "MOST", 10)
    box = place.outbox()
    for number in range(17):
        box.put(numbered(number))
    assert "10 events wait already, further ones are lost" in caplog.text
    place.record()
    place.settles(10)
    # What was written is confirmed a moment later.
    until = time.monotonic() + 20
    while place.spool.stat().st_size:
        assert time.monotonic() < until
    box.put(numbered(17))
    assert box.close(20)
    assert [(each["event"], each["details"].get("lost")) for each in place.written()[10:]] == [
        ("gap", 7),
        ("login", None),
    ]


def test_nobody_else_s_line_enters_the_trail(place: Place) -> None:
    """A client cannot choose number and hash, nor write what is no event."""
    place.record()
    given = {**numbered(0), "number": 7, "before": "f" * 64, "recorded": "never"}
    outbox.deliver_once(given, "host", place.socket)
    [line] = place.written()
    assert (line["number"], line["before"], line["source"]) == (1, "0" * 64, "host")
    assert line["recorded"] != "never"
    for nonsense in ({"no": "id"}, {"id": 1, "x": "y" * 20_000}):
        with pytest.raises(OSError, match=r"did not write|reset|Broken"):
            outbox.deliver_once(nonsense, "host", place.socket)
    assert len(place.written()) == 1
    assert place.answers(), "it still serves others"


def test_the_check_compares_with_recorder_and_log(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chain, "FOLDER", place.trail)
    monkeypatch.setattr(chain, "SOCKET", place.socket)
    monkeypatch.setattr(sys, "argv", ["audit", "check"])
    place.record()
    assert check.main() == 0
    assert "no lines yet" in capsys.readouterr().out
    box = place.outbox()
    for number in range(5):
        box.put(numbered(number))
    place.settles(5)
    assert check.main() == 0
    said = capsys.readouterr().out
    assert "Lines 1 to 5 are as they were written." in said
    last = place.written()[-1]
    assert f"line 5 {check.remembered(place.socket)[5]}" in said
    # A shortened trail shows as long as the recorder remembers, and later by its log.
    [path] = chain.files(place.trail)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4]))
    assert check.main() == 1
    assert "line 5 is missing at the end" in capsys.readouterr().out
    place.kill()
    assert check.main() == 0
    assert "does not answer" in capsys.readouterr().err
    log = f"trail: line {last['number']} {'a' * 64}\n"
    assert check.noted([log, "something else\n", "trail: line 0 " + "0" * 64]) == {5: "a" * 64}


@pytest.mark.parametrize("given", ["", "7", "0.5", "-8", "many"])
def test_a_size_that_is_none_is_refused(given: str) -> None:
    """In a Compose application nothing else checks it."""
    with pytest.raises(SystemExit) as refused:
        recorder.main([f"--keep-mb={given}"])
    assert str(refused.value).startswith(f"JUPYTERHUB_AUDIT_KEEP_MB ({given!r}): ")
    assert "at least 8" in str(refused.value)


def test_the_recorder_is_small(place: Place) -> None:
    """It imports nothing but the standard library; measured 10 MB here."""
    place.record()
    assert place.process
    rollup = Path(f"/proc/{place.process.pid}/smaps_rollup")
    if not os.access(rollup, os.R_OK):
        pytest.skip("the kernel does not say")
    [rss] = [int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Rss:")]
    assert rss < 25_000
