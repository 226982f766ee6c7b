"""The key of backups is shown to people only."""

from __future__ import annotations

from pathlib import Path

import pytest

from bin import backup_key

ANSIBLE = """#!/bin/sh
echo "$@" >{folder}/arguments
cat {folder}/says
exit {code}
"""


def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str, code: int = 0) -> None:
    program = folder / "ansible"
    program.write_text(ANSIBLE.format(folder=folder, code=code))
    program.chmod(0o755)
    (folder / "says").write_text(says)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(("terminal", "environment"), [(False, {}), (True, {"CI": "true"}), (False, {"CI": "1"})])
def test_it_is_shown_on_a_terminal_only(terminal: bool, environment: dict[str, str]) -> None:
    with pytest.raises(backup_key.RefusedError, match="on a terminal only"):
        backup_key.refuse_others(terminal, environment)
    backup_key.refuse_others(True, {})


def test_every_host_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(tmp_path, monkeypatch, "one | CHANGED | rc=0 >>\naaaa\ntwo | CHANGED | rc=0 >>\nbbbb\n")
    assert backup_key.keys("inventory/x.yml", ["--limit", "one"]) == {"one": "aaaa", "two": "bbbb"}
    arguments = (tmp_path / "arguments").read_text()
    assert "--inventory inventory/x.yml" in arguments
    assert arguments.endswith("/backup/secrets/password --limit one\n")


def test_a_host_without_a_key_is_named_and_no_key_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    says = "one | CHANGED | rc=0 >>\ncanary\ntwo | FAILED | rc=1 >>\ncat: No such file\n"
    answering(tmp_path, monkeypatch, says, code=2)
    with pytest.raises(backup_key.RefusedError) as refused:
        backup_key.keys("inventory/x.yml", [])
    assert ("two | FAILED" in str(refused.value), "canary" in str(refused.value)) == (True, False)
    assert "set backup_plan, and deploy" in str(refused.value)
