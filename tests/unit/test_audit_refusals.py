"""A stranger cannot fill the trail with refused logins, and hides nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from fake_clock import Clock
from jupyterhub_ansible.audit import events, refusals
from jupyterhub_ansible.audit.refusals import LONGEST_S, PER_ADDRESS, TOTAL, WINDOW_S, Refusals

STRANGER, COLLEAGUE = "203.0.113.9", "198.51.100.7"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(events, "sinks", [found.append])
    return found


@pytest.fixture
def book(clock: Clock) -> Refusals:
    return Refusals(clock)


def refuse(book: Refusals, address: str, times: int = 1, **about: Any) -> None:
    for _ in range(times):
        book.record(address, address=address, actor="", result="refused", **about)


def lines(recorded: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Return addresses, each with how many more there were."""
    found = [(each["address"], each["details"].get("more", 0)) for each in recorded]
    recorded.clear()
    return found


def test_one_address_is_summed_up_and_hides_nobody(
    book: Refusals, clock: Clock, recorded: list[dict[str, Any]]
) -> None:
    refuse(book, STRANGER, 5000)
    refuse(book, COLLEAGUE, 3)
    assert lines(recorded) == [(STRANGER, 0)] * PER_ADDRESS + [(COLLEAGUE, 0)] * 3
    clock.now += WINDOW_S
    book.settle()
    assert recorded[0]["details"]["why"] == f"{5000 - PER_ADDRESS} more in {WINDOW_S} s"
    assert lines(recorded) == [(STRANGER, 5000 - PER_ADDRESS)]
    book.settle()
    assert lines(recorded) == []
    # The next minute is a new one.
    refuse(book, STRANGER)
    assert lines(recorded) == [(STRANGER, 0)]


def test_a_network_is_one_address(book: Refusals, recorded: list[dict[str, Any]]) -> None:
    for number in range(100):
        refuse(book, f"2001:db8::{number:x}")
    assert len(lines(recorded)) == PER_ADDRESS


def test_many_addresses_are_summed_up_as_well(book: Refusals, clock: Clock, recorded: list[dict[str, Any]]) -> None:
    for number in range(10_000):
        refuse(book, f"10.0.{number // 250}.{number % 250}")
    assert len(lines(recorded)) == TOTAL
    assert len(book._windows) == TOTAL
    clock.now += WINDOW_S
    book.settle()
    assert recorded[0]["details"]["why"].endswith(", from many addresses")
    assert lines(recorded) == [("", 10_000 - TOTAL)]


def test_a_time_of_throttling_is_one_line(book: Refusals, clock: Clock, recorded: list[dict[str, Any]]) -> None:
    refuse(book, STRANGER)
    for _ in range(20):
        refuse(book, STRANGER, 3, throttled=True)
        clock.now += WINDOW_S - 1
    assert lines(recorded) == [(STRANGER, 0)] * 2
    clock.now += 1
    book.settle()
    assert lines(recorded) == [(STRANGER, 59)]
    for _ in range(LONGEST_S // 30 + 1):
        refuse(book, STRANGER, throttled=True)
        clock.now += 30
    assert lines(recorded) == [(STRANGER, 0), (STRANGER, LONGEST_S // 30 - 1), (STRANGER, 0)]


def test_a_hub_that_stops_records_what_it_counted(book: Refusals, recorded: list[dict[str, Any]]) -> None:
    refuse(book, STRANGER, PER_ADDRESS + 2)
    book.settle(everything=True)
    assert lines(recorded)[-1] == (STRANGER, 2)


def test_nothing_else_is_summed_up(book: Refusals, recorded: list[dict[str, Any]]) -> None:
    for _ in range(TOTAL * 2):
        events.record("login", actor="ann", address=STRANGER)
    refuse(book, STRANGER)
    assert len(lines(recorded)) == TOTAL * 2 + 1
    assert refusals.SHARED is not book
