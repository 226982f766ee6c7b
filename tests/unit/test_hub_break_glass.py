"""The emergency link: good once, and for minutes; nothing of it is kept but a digest."""

from pathlib import Path

import pytest
from jupyterhub_ansible import break_glass


@pytest.fixture
def ticket(tmp_path: Path) -> Path:
    return tmp_path / "break-glass.json"


def test_a_link_opens_until_it_expires(ticket: Path) -> None:
    key = break_glass.make(ticket, now=1000)
    assert break_glass.problem(ticket, key, now=1000 + break_glass.LINK_S) == ""
    assert break_glass.problem(ticket, key, now=1001 + break_glass.LINK_S) == "has expired"


def test_another_key_does_not_open(ticket: Path) -> None:
    break_glass.make(ticket, now=1000)
    assert "used already" in break_glass.problem(ticket, "x", now=1000)
    assert "used already" in break_glass.problem(ticket, "", now=1000)


def test_a_new_link_takes_the_place_of_the_old(ticket: Path) -> None:
    old = break_glass.make(ticket, now=1000)
    break_glass.make(ticket, now=1001)
    assert "used already" in break_glass.problem(ticket, old, now=1002)


def test_no_link_was_made(ticket: Path) -> None:
    assert "never made" in break_glass.problem(ticket, "x", now=1000)


def test_the_key_is_not_kept(ticket: Path) -> None:
    key = break_glass.make(ticket, now=1000)
    assert key not in ticket.read_text()
    assert ticket.stat().st_mode & 0o777 == 0o600


def test_the_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000)
    assert break_glass.lasts({"until": 1001})
    assert not break_glass.lasts({"until": 999})
    assert not break_glass.lasts(None)
