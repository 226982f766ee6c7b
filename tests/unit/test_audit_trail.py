"""The trail is read backwards, in pages, over several files, while it is being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jupyterhub_ansible.audit import chain, trail
from jupyterhub_ansible.audit.trail import Query

ANYTHING = Query()
NAMES = ("ann", "bob", "vera")


def write(folder: Path, *sizes: int) -> None:
    """Write files of so many lines each; the last line of the last file is not whole."""
    position = chain.Position()
    for size in sizes:
        path, text = chain.file_of(folder, position.number + 1), b""
        for _ in range(size):
            number = position.number + 1
            fields: dict[str, Any] = {
                "event": "login" if number % 2 else "server started",
                "actor": NAMES[number % 3],
                "target": "ann/gpu" if number % 5 == 0 else "",
                "details": {"n": number, "note": f"Grün {number}" if number % 10 == 0 else ""},
            }
            line, position = chain.linked(position, "now", fields)
            text += line + b"\n"
        path.write_bytes(text)
    with path.open("ab") as file:
        file.write(b'{"number":9')


def everything(folder: Path, query: Query = ANYTHING) -> list[int]:
    found, place = [], None
    while True:
        page = trail.search(folder, query, place)
        assert len(page.events) <= trail.PAGE
        found += [event["details"]["n"] for event in page.events]
        if page.older is None:
            return found
        # As the page's link carries it.
        place = trail.place(str(page.older))
        assert place == page.older


@pytest.mark.parametrize("block", [7, 100, 256 * 1024])
@pytest.mark.parametrize("sizes", [(1,), (130,), (40, 1, 200, 60)])
def test_all_lines_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], block: int
) -> None:
    monkeypatch.setattr(trail, "_BLOCK", block)
    write(tmp_path, *sizes)
    assert everything(tmp_path) == list(range(sum(sizes), 0, -1))


def test_an_empty_trail(tmp_path: Path) -> None:
    assert trail.search(tmp_path, Query()) == trail.Found()
    chain.file_of(tmp_path, 1).touch()
    assert trail.search(tmp_path, Query()) == trail.Found()


def test_search(tmp_path: Path) -> None:
    write(tmp_path, 100, 100)
    by_name = {name: [n for n in range(200, 0, -1) if NAMES[n % 3] == name] for name in NAMES}
    assert everything(tmp_path, Query(person="bob")) == by_name["bob"]
    mine = {*by_name["ann"], *(n for n in range(1, 201) if n % 5 == 0)}
    assert everything(tmp_path, Query(person="ann")) == sorted(mine, reverse=True), "also as the owner of a server"
    assert everything(tmp_path, Query(person="an")) == []
    assert everything(tmp_path, Query(event="login")) == list(range(199, 0, -2))
    assert everything(tmp_path, Query(text="gRÜN 1")) == [190, 180, 170, 160, 150, 140, 130, 120, 110, 100, 10]
    assert everything(tmp_path, Query(person="vera", event="login", text="grün")) == []


def test_a_long_search_goes_on_in_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 300, 300)
    monkeypatch.setattr(trail, "LOOKED_AT", 5_000)
    page = trail.search(tmp_path, Query(text="Grün 10"))
    assert page.events == []
    assert page.older
    assert everything(tmp_path, Query(text="Grün 10")) == [100, 10]


def test_new_lines_do_not_shift_a_page(tmp_path: Path) -> None:
    write(tmp_path, 120)
    first = trail.search(tmp_path, Query())
    path = chain.file_of(tmp_path, 1)
    line, _ = chain.linked(
        chain.Position(120), "now", {"event": "login", "actor": "ann", "target": "", "details": {"n": 0}}
    )
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0] + b"\n" + line + b"\n")
    assert first.events[-1]["details"]["n"] == 71
    assert trail.search(tmp_path, Query(), first.older).events[0]["details"]["n"] == 70


@pytest.mark.parametrize("text", ["", "1", "1-", "-5", "x-1", "1--1", "1-1-1", "../1-1", "1" * 50 + "-1"])
def test_a_place_that_is_none(text: str) -> None:
    assert trail.place(text) is None


def test_a_place_beyond_the_trail(tmp_path: Path) -> None:
    write(tmp_path, 3)
    assert len(trail.search(tmp_path, Query(), trail.Place(1, 10**9)).events) == 3
    assert len(trail.search(tmp_path, Query(), trail.Place(900, 5)).events) == 3
    assert trail.search(tmp_path, Query(), trail.Place(0, 5)).events == []


def test_recent_events_are_in_order(tmp_path: Path) -> None:
    write(tmp_path, 3, 2, 2)
    assert [event["details"]["n"] for event in trail.recent(tmp_path)] == [4, 5, 6, 7]
    assert json.dumps(trail.recent(tmp_path))
