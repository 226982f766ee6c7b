"""The emergency link: valid once, for minutes; only its digest is stored."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyterhub_ansible.auth import emergency_link


@pytest.fixture
def ticket(tmp_path: Path) -> Path:
    return tmp_path / "break-glass.json"


def test_link_is_valid_until_it_expires(ticket: Path) -> None:
    key = emergency_link.make(ticket, now=1000)
    assert emergency_link.problem(ticket, key, now=1000 + emergency_link.LINK_S) == ""
    assert emergency_link.problem(ticket, key, now=1001 + emergency_link.LINK_S) == "has expired"


def test_wrong_key_is_refused(ticket: Path) -> None:
    emergency_link.make(ticket, now=1000)
    assert "used already" in emergency_link.problem(ticket, "x", now=1000)
    assert "used already" in emergency_link.problem(ticket, "", now=1000)


def test_new_link_replaces_the_old_one(ticket: Path) -> None:
    old = emergency_link.make(ticket, now=1000)
    emergency_link.make(ticket, now=1001)
    assert "used already" in emergency_link.problem(ticket, old, now=1002)


def test_no_link_was_created(ticket: Path) -> None:
    assert "never made" in emergency_link.problem(ticket, "x", now=1000)


def test_key_is_not_stored(ticket: Path) -> None:
    key = emergency_link.make(ticket, now=1000)
    assert key not in ticket.read_text()
    assert ticket.stat().st_mode & 0o777 == 0o600


def test_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000)
    assert emergency_link.lasts({"until": 1001})
    assert not emergency_link.lasts({"until": 999})
    assert not emergency_link.lasts(None)


def test_each_line_is_written_at_once(ticket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A terminal interleaves both streams, so that lines written in pieces could be torn.
    settings = SimpleNamespace(hub_authenticator="github", jupyterhub_url="https://hub.example")
    monkeypatch.setattr(emergency_link, "load", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr(emergency_link, "TICKET", ticket)
    monkeypatch.setattr(emergency_link, "LOG", ticket.with_name("log"))
    monkeypatch.setattr("sys.argv", ["break_glass"])
    # A pipe in packet mode shows each write separately.
    ours, theirs = os.pipe2(os.O_DIRECT)
    with os.fdopen(theirs, "wb", buffering=0) as raw, io.TextIOWrapper(raw, write_through=True) as both:
        monkeypatch.setattr(sys, "stdout", both)
        monkeypatch.setattr(sys, "stderr", both)
        emergency_link.main()
        monkeypatch.undo()
        written = [os.read(ours, 4096).decode() for _ in range(2)]
    os.close(ours)
    assert written[0].startswith("https://hub.example/hub/break-glass?key=")
    assert [line.count("\n") for line in written] == [1, 1]
    assert all(line.endswith("\n") for line in written)
