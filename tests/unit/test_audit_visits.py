"""Owners of servers see who was in them, and hear of it at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub_ansible.audit import events, visits

NOW = datetime.now(UTC)


def visit(visitor: str, server: str = "ann/", ago: float = 0) -> dict[str, Any]:
    made = events.event(visits.OPENED, actor=visitor, target=server)
    return {**made, "time": (NOW - timedelta(seconds=ago)).isoformat()}


def test_the_last_visits_of_each_server() -> None:
    found = visits.Visits()
    found.load([visit("old", ago=8 * 86400), visit("bob", ago=50), visit("vera", ago=40), visit("bob", ago=30)])
    found.take(visit("vera", "ann/gpu"))
    found.take(events.event("workspace opened", actor="vera", target="workspace.lab/"))
    assert [(each.visitor, each.seen) for each in found.of("ann/", NOW)] == [
        ("bob", NOW - timedelta(seconds=30)),
        ("vera", NOW - timedelta(seconds=40)),
    ]
    assert [each.visitor for each in found.of("ann/gpu", NOW)] == ["vera"]
    assert found.of("workspace.lab/", NOW) == found.of("bob/", NOW) == []
    for number in range(20):
        found.take(visit(f"guest-{number}", ago=20 - number))
    assert [each.visitor for each in found.of("ann/", NOW)] == [f"guest-{number}" for number in range(19, 14, -1)]


def test_somebody_who_stays_is_recorded_once() -> None:
    found = visits.Visits()
    assert found.is_new("ann/", "vera", NOW)
    found.take(visit("vera"))
    for minutes in (5, 19, 33):
        assert not found.is_new("ann/", "vera", NOW + timedelta(minutes=minutes))
    assert found.is_new("ann/", "vera", NOW + timedelta(minutes=49))


def test_the_owner_s_page_hears_of_a_visit_at_once() -> None:
    async def heard() -> None:
        found = visits.Visits()
        known = await found.changed("ann", "", 20)
        pages = [asyncio.create_task(found.changed("ann", known, 20)) for _ in range(2)]
        other = asyncio.create_task(found.changed("bob", found.changes("bob"), 0.2))
        await asyncio.sleep(0.05)
        assert not any(page.done() for page in pages)
        found.take(visit("vera", "ann/gpu"))
        async with asyncio.timeout(0.1):
            latest = [await page for page in pages]
        assert latest == [found.changes("ann")] * 2
        assert latest[0] != known
        assert await other == found.changes("bob"), "a page that hears nothing asks again"
        # Between two requests of the page.
        found.take(visit("bob"))
        assert await found.changed("ann", latest[0], 20) != latest[0]

    asyncio.run(heard())
