"""A script, its settings and its unit are installed, and its effect is in force (with a stand-in for the script)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from project import run_module

# The file beside the script stands for the rules in the kernel.  Without its first line it cannot be executed, as on a
# file system that is mounted noexec.
SCRIPT = """#!/no/such/shell
cd "$(dirname "$0")"
if [ "$1" = lacks ]; then cat lacks 2>/dev/null; exit 0; fi
echo "$1" >> calls
[ ! -e broken ] || { echo "no such table" >&2; exit 1; }
wanted=$(cat "$0" "$0.conf")
if [ "$(cat loaded 2>/dev/null)" = "$wanted" ]; then echo "in force"
elif [ "$1" = check ]; then echo "not in force"
else echo "$wanted" > loaded; echo "loaded"; fi
"""
SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")/.."
case $* in
  *is-enabled*) [ -e enabled ] ;;
  *enable*) touch enabled ;;
  *daemon-reload) rm -f reload ;;
  "restart "*) echo "$*" >> restarts; touch running ;;
  "show --property SubState"*)
    [ -e running ] && echo SubState=running || echo SubState=dead
    [ -e reload ] && echo NeedDaemonReload=yes || echo NeedDaemonReload=no ;;
esac
"""


class Fence:
    """A target machine, represented by a folder, on which the module runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script, self.settings, self.unit = (folder / name for name in ("fence", "fence.conf", "fence.service"))
        self.content, self.subnet = SCRIPT, "10.213.0.0/20"
        (folder / "bin").mkdir()
        (folder / "bin/systemctl").write_text(SYSTEMCTL)
        (folder / "bin/systemctl").chmod(0o755)

    def run(self, *, dry: bool = False, unit: str | None = "[Unit]\n") -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "about": "The fence",
            "path": str(self.script),
            "content": self.content,
            "settings": {"subnet": self.subnet, "name": "a hub"},
            "lacks": True,
            "_ansible_check_mode": dry,
            "_ansible_diff": True,
        }
        if unit:
            arguments["unit"] = {"path": str(self.unit), "content": unit}
        return run_module("watched_script", arguments, PATH=f"{self.folder}/bin:{os.environ['PATH']}")

    def predicted(self, **options: Any) -> dict[str, Any]:
        """Run it, after a dry run that must report the same and change nothing."""
        before = self._state()
        prediction = self.run(dry=True, **options)
        assert self._state() == before
        result = self.run(**options)
        assert {**prediction, "invocation": None} == {**result, "invocation": None}
        return result

    def _state(self) -> dict[str, tuple[str, int]]:
        files = (path for path in self.folder.iterdir() if path.is_file() and path.name != "calls")
        return {path.name: (path.read_text(), path.stat().st_mode) for path in files}

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().split()


def test_first_run_writes_and_loads(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    result = fence.predicted()
    assert result["changed"]
    settings = "name='a hub'\nsubnet=10.213.0.0/20\n"
    assert result["written"] == [str(fence.unit), str(fence.settings), str(fence.script)], "the script needs the others"
    assert [(diff["before"], diff["after"]) for diff in result["diff"]] == [
        ("", "[Unit]\n"),
        ("", settings),
        ("", SCRIPT),
    ]
    assert (tmp_path / "loaded").read_text() == SCRIPT + settings
    modes = [path.stat().st_mode & 0o777 for path in (fence.script, fence.settings, fence.unit)]
    assert modes == [0o755, 0o644, 0o644]


def test_second_run_changes_nothing(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    fence.run()
    result = fence.predicted()
    assert (result["changed"], result["written"], result["diff"]) == (False, [], [])


def test_other_rules_are_written_and_loaded(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    first = fence.run()
    fence.content += "# other rules\n"
    result = fence.predicted()
    assert (result["changed"], result["written"]) == (True, [str(fence.script)])
    assert fence.content in (tmp_path / "loaded").read_text()
    assert result["digest"] != first["digest"]
    # The dry run did not run the old script, which it would have replaced.
    assert fence.calls() == ["keep", "keep"]


def test_other_settings_are_written_and_loaded(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    first = fence.run()
    fence.subnet = "10.214.0.0/20"
    result = fence.predicted()
    assert (result["changed"], result["written"]) == (True, [str(fence.settings)])
    assert "10.214.0.0/20" in (tmp_path / "loaded").read_text()
    assert result["digest"] != first["digest"]


@pytest.mark.parametrize("state", ["enabled", "running", "reload"])
def test_systemd_runs_the_unit(tmp_path: Path, state: str) -> None:
    fence = Fence(tmp_path)
    fence.run()
    assert (tmp_path / "restarts").read_text() == "restart fence.service\n", "nothing here restarts an engine"
    for name in ("enabled", "running"):
        assert (tmp_path / name).exists()
    if state == "reload":
        (tmp_path / state).touch()
    else:
        (tmp_path / state).unlink()
    assert fence.predicted()["changed"]
    assert (tmp_path / state).exists() != (state == "reload")
    assert not fence.predicted()["changed"]


def test_rules_removed_by_hand_are_restored(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    fence.run()
    (tmp_path / "loaded").unlink()
    result = fence.predicted()
    assert (result["changed"], result["written"]) == (True, [])
    assert fence.calls() == ["keep", "check", "keep"]


def test_mode_changed_by_hand_is_restored(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    fence.run()
    fence.script.chmod(0o600)
    result = fence.predicted()
    assert (result["changed"], result["written"]) == (True, [str(fence.script)])
    assert fence.script.stat().st_mode & 0o777 == 0o755


def test_other_unit_is_written(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    fence.run()
    result = fence.predicted(unit="[Unit]\nDescription=Another\n")
    assert (result["changed"], result["written"]) == (True, [str(fence.unit)])


def test_without_systemd_there_is_no_unit(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    assert fence.predicted(unit=None)["written"] == [str(fence.settings), str(fence.script)]
    assert not (tmp_path / "restarts").exists()
    assert not fence.unit.exists()


def test_rules_that_cannot_be_loaded_stop_the_run(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    (tmp_path / "broken").touch()
    result = fence.run()
    assert result["failed"]
    assert "no such table" in result["msg"]
    assert str(fence.script) in result["msg"]


def test_missing_kernel_support_is_reported_by_every_run(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    (tmp_path / "lacks").write_text("this kernel cannot count\n")
    for _ in range(2):
        result = fence.run()
        assert not result.get("failed")
        assert "The fence: this kernel cannot count" in str(result["warnings"])
    (tmp_path / "lacks").unlink()
    assert "warnings" not in fence.run()


def test_its_folder_is_made(tmp_path: Path) -> None:
    fence = Fence(tmp_path)
    fence.script = tmp_path / "srv/hub/fence"
    assert fence.run(dry=True)["changed"]
    assert not (tmp_path / "srv").exists()
    before = os.umask(0o077)
    try:
        assert fence.run()["changed"]
    finally:
        os.umask(before)
    assert (tmp_path / "srv/hub/loaded").exists()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("srv", "srv/hub")] == [0o755, 0o755]
    assert not fence.run()["changed"]
