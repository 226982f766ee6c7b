"""What bringing a version back would change, as the dialog shows it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jupyterhub_versions import difference as module
from jupyterhub_versions.difference import LONGEST_LINE, MOST_LINES, difference, main
from project import IMAGES


def notebook(*sources: str, output: str = "") -> bytes:
    """As nbformat writes it: sources are lists of lines."""
    cells = [
        {
            "cell_type": "code",
            "source": source.splitlines(keepends=True),
            "outputs": [{"output_type": "stream", "name": "stdout", "text": [output]}],
        }
        for source in sources
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}, indent=1).encode()


def test_of_a_notebook_only_sources_of_cells_are_shown() -> None:
    present = notebook("import numpy", "x = 1\ny = 2", "print(x)", output="long output")
    version = notebook("import numpy", "x = 3\ny = 2", "print(x)")
    assert difference(present, version, notebook=True) == {
        "note": "",
        "lines": ["@", " [code]", " import numpy", " [code]", "-x = 1", "+x = 3", " y = 2", " [code]", " print(x)"],
    }


def test_a_new_cell_changes_none_of_those_after_it() -> None:
    cells = [f"cell_{number}" for number in range(20)]
    found = difference(notebook(*cells), notebook(*cells[:3], "new", *cells[3:]), notebook=True)["lines"]
    assert [line for line in found if line[0] in "+-"] == ["+[code]", "+new"]


def test_when_nothing_readable_differs_it_says_so() -> None:
    one, other = notebook("x"), notebook("x", output="1")
    assert difference(one, one, notebook=True) == {"note": "This is what the file contains now.", "lines": []}
    assert difference(one, other, notebook=True) == {"note": "Only outputs or metadata differ.", "lines": []}
    assert difference(b"a\r\n", b"a\n", notebook=False) == {"note": "Only line ends differ.", "lines": []}


@pytest.mark.parametrize("damaged", [b"{", b"[]", b'{"cells": [1]}', b"\xff\xfe", b'{"cells": 3}'])
def test_a_damaged_notebook_is_compared_as_text(damaged: bytes) -> None:
    lines = difference(damaged, notebook("import numpy"), notebook=True)["lines"]
    assert "+import numpy" in lines
    assert [line for line in lines if line[0] == "-"] != []


def test_places_are_apart_and_headers_are_left_out() -> None:
    old = [f"line {number}" for number in range(100)]
    new = [*old[:10], "new", *old[10:90], "--- new", *old[90:]]
    lines = difference("\n".join(old).encode(), "\n".join(new).encode(), notebook=False)["lines"]
    assert lines.count("@") == 2
    assert [line for line in lines if line[0] == "+"] == ["+new", "+--- new"]
    assert not [line for line in lines if line[0] == "-"]


def test_it_is_bounded() -> None:
    many = "\n".join(str(number) for number in range(3 * MOST_LINES)).encode()
    found = difference(b"", many, notebook=False)
    assert len(found["lines"]) == MOST_LINES
    assert found["note"] == f"Only the first {MOST_LINES} lines are shown."
    [_, shown] = difference(b"", b"x" * 10**6, notebook=False)["lines"]
    assert len(shown) == LONGEST_LINE + 1


def test_a_notebook_of_30_mb_takes_seconds() -> None:
    output = "x" * 3_000_000
    present = notebook(*[f"print({number})" for number in range(10)], output=output)
    assert len(present) > 30_000_000
    begun = time.monotonic()
    found = difference(present, notebook(*[f"print({number})" for number in range(11)], output=output), notebook=True)
    assert "+print(10)" in found["lines"]
    assert time.monotonic() - begun < 20


def printed_for(*arguments: str) -> str:
    """Run the program as the server starts it."""
    return subprocess.run(
        [sys.executable, "-m", "jupyterhub_versions.difference", *arguments],
        cwd=IMAGES / "singleuser/versions",
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_the_program_prints_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "version.txt").write_text("äöü")
    # Of a file that was deleted, everything comes back.
    arguments = [str(tmp_path / "deleted.txt"), str(tmp_path / "version.txt")]
    printed = printed_for(*arguments)
    assert json.loads(printed) == {"note": "", "lines": ["@", "+äöü"]}
    main(*arguments)
    assert json.loads(capsys.readouterr().out) == json.loads(printed)


def test_when_memory_runs_out_it_is_killed_before_kernels() -> None:
    # It compares with what the kernel says of itself.
    assert json.loads(printed_for("/nowhere", "/proc/self/oom_score_adj"))["lines"] == ["@", "+1000"]


def test_very_large_files_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 1024**2)
    (tmp_path / "a.txt").write_bytes(b"x" * (1024**2 + 1))
    (tmp_path / "b.txt").write_text("b")
    main(str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))
    assert json.loads(capsys.readouterr().out) == {"note": "Files of more than 1 MB are not compared.", "lines": []}
