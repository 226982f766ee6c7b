"""A line that was removed, added, moved or edited shows; a shortened trail does if its end is known from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jupyterhub_ansible.audit import chain


def write(folder: Path, *sizes: int) -> list[chain.Position]:
    """Write files of so many lines; return the position of each line."""
    positions = [chain.Position()]
    for size in sizes:
        text = b""
        first = positions[-1].number + 1
        for _ in range(size):
            line, position = chain.linked(positions[-1], "now", {"event": f"event {positions[-1].number + 1}"})
            text += line + b"\n"
            positions.append(position)
        chain.file_of(folder, first).write_bytes(text)
    return positions[1:]


def problems(folder: Path, anchors: dict[int, str] | None = None) -> list[str]:
    return chain.verified(folder, anchors or {}).problems


def test_a_trail_as_it_was_written(tmp_path: Path) -> None:
    assert chain.verified(tmp_path, {}) == chain.Verdict()
    positions = write(tmp_path, 3, 4, 1)
    verdict = chain.verified(tmp_path, {each.number: each.hash for each in positions})
    assert (verdict.problems, verdict.first, verdict.last) == ([], 1, positions[-1])


def without(*numbers: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [line for number, line in enumerate(lines, 1) if number not in numbers]


def edited(number: int, *, before: bytes = b"event", after: bytes = b"nothing") -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: [
        line.replace(before, after) if place == number else line for place, line in enumerate(lines, 1)
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without(3), ["line 3 is missing"]),
        (without(2, 3, 4), ["lines 2 to 4 are missing"]),
        (without(1), ["line 1 is missing"]),
        (edited(3), ["line 3 was edited"]),
        (
            edited(3, before=b'"number":3', after=b'"number":8'),
            ["lines 3 to 7 are missing", "line 4 is not in its place"],
        ),
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], ["line 2 is not in its place"]),
        (
            lambda lines: [*lines[:2], b"#", *lines[2:]],
            ["000000000001.jsonl: the line after line 2 is not one of the trail's"],
        ),
    ],
)
def test_a_change_in_the_middle_shows(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], said: list[str]
) -> None:
    write(tmp_path, 6)
    path = chain.file_of(tmp_path, 1)
    path.write_bytes(b"\n".join(change(path.read_bytes().split(b"\n"))))
    assert problems(tmp_path)[: len(said)] == said


def test_a_change_at_the_end_shows_if_the_end_is_known(tmp_path: Path) -> None:
    positions = write(tmp_path, 3, 2)
    known = {positions[-1].number: positions[-1].hash}
    path = chain.file_of(tmp_path, 4)
    text = path.read_bytes()
    path.write_bytes(text.replace(b"event 5", b"event 6"))
    assert problems(tmp_path) == [], "nothing ties the last line to anything"
    assert problems(tmp_path, known) == ["line 5 was edited: its hash is not the one that was noted"]
    path.write_bytes(text.partition(b"\n")[0] + b"\n")
    assert problems(tmp_path) == []
    assert problems(tmp_path, known) == ["line 5 is missing at the end"]
    path.unlink()
    assert problems(tmp_path, known) == ["lines 4 to 5 are missing at the end"]


def test_a_chain_written_anew_shows_if_a_hash_was_noted(tmp_path: Path) -> None:
    noted = write(tmp_path, 6)[3]
    line, position = chain.linked(chain.Position(), "now", {"event": "another"})
    lines = [line]
    while position.number < 6:
        line, position = chain.linked(position, "now", {"event": f"event {position.number + 1}"})
        lines.append(line)
    chain.file_of(tmp_path, 1).write_bytes(b"\n".join(lines) + b"\n")
    assert problems(tmp_path) == []
    assert problems(tmp_path, {4: noted.hash}) == ["line 4 was edited: its hash is not the one that was noted"]


def test_a_file_in_the_middle_and_the_oldest_one(tmp_path: Path) -> None:
    write(tmp_path, *[2] * chain.FILES)
    chain.file_of(tmp_path, 5).unlink()
    assert problems(tmp_path) == ["lines 5 to 6 are missing"]
    for path in tmp_path.iterdir():
        path.unlink()
    positions = write(tmp_path, *[2] * (chain.FILES + 1))
    chain.file_of(tmp_path, 1).unlink()
    assert problems(tmp_path, {1: positions[0].hash}) == [], "that is what the recorder does itself"
    chain.file_of(tmp_path, 3).unlink()
    assert problems(tmp_path) == ["lines 1 to 4 are missing"], "it keeps eight files"
