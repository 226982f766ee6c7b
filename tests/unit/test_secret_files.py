from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from project import run_module

OWNER = os.getuid()


def run(
    path: Path, files: dict[str, Any], check: bool = False, rotate: tuple[str, ...] = (), exact: bool = False
) -> dict[str, Any]:
    """Keep these files in a folder of the test's own user."""
    arguments = {
        "path": str(path),
        "root": str(path.parent),
        "owner": OWNER,
        "files": files,
        "rotate": list(rotate),
        "exact": exact,
        "_ansible_check_mode": check,
    }
    return run_module("secret_files", arguments)


def test_generates_once_and_keeps(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "secrets"
    first = run(folder, {"token": {}, "short": {"bytes": 8}})
    token = (folder / "token").read_text()
    assert first["changed"]
    assert first["written"] == ["short", "token"]
    assert len(token) == 64
    assert len((folder / "short").read_text()) == 16
    second = run(folder, {"token": {}, "short": {"bytes": 8}})
    assert not second["changed"]
    assert second["digest"] == first["digest"]
    assert (folder / "token").read_text() == token


def test_rotation(tmp_path: Path) -> None:
    files: dict[str, Any] = {"cookie": {}, "key": {"keep": 2}, "other": {}}
    first = run(tmp_path, files)
    before = {name: (tmp_path / name).read_text() for name in files}
    assert run(tmp_path, files, check=True, rotate=("key",))["written"] == ["key"]
    assert (tmp_path / "key").read_text() == before["key"], "a dry run writes nothing"
    second = run(tmp_path, files, rotate=("cookie", "key"))
    assert second["written"] == ["cookie", "key"]
    assert second["digest"] != first["digest"]
    after = {name: (tmp_path / name).read_text() for name in files}
    assert after["other"] == before["other"]
    assert after["cookie"] != before["cookie"]
    new, *former = after["key"].split()
    assert len(new) == len(after["cookie"]) == 64
    assert former == [before["key"]]
    for _ in range(3):
        run(tmp_path, files, rotate=("key",))
    assert len((tmp_path / "key").read_text().split()) == 3
    assert not run(tmp_path, files)["changed"]
    copy = {"cookie": {"copy_from": str(tmp_path / "cookie")}}
    run(tmp_path / "copies", copy, rotate=("cookie",))
    assert (tmp_path / "copies/cookie").read_text() == after["cookie"], "a copy is not another secret"


def test_nobody_else_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run(folder, {"token": {}})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    # Opened to others by hand: corrected, and the content stays.
    token = (folder / "token").read_text()
    (folder / "token").chmod(0o644)
    folder.chmod(0o755)
    mended = run(folder, {"token": {}})
    assert mended["changed"]
    assert mended["written"] == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert (folder / "token").read_text() == token


def test_nobody_else_can_change_the_folders_above(tmp_path: Path) -> None:
    root = tmp_path / "hub"
    folder = root / "secrets"
    run(folder, {"token": {}})
    assert stat.S_IMODE(root.stat().st_mode) & 0o022 == 0
    root.chmod(0o2775)
    assert run(folder, {"token": {}}, check=True)["mended"] == [str(root)]
    assert stat.S_IMODE(root.stat().st_mode) == 0o2775
    assert run(folder, {"token": {}})["mended"] == [str(root)]
    assert stat.S_IMODE(root.stat().st_mode) == 0o2755
    # Read permissions are the operator's choice.
    root.chmod(0o750)
    assert not run(folder, {"token": {}})["changed"]
    # Folders above the root are not ours.
    tmp_path.chmod(0o777)
    assert not run(folder, {"token": {}})["changed"]


def test_given_secret_replaces_generated_one_and_is_not_returned(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    before = run(folder, {"token": {}})
    after = run(folder, {"token": {"value": "canary-5157"}})
    assert (folder / "token").read_text() == "canary-5157"
    assert after["digest"] != before["digest"]
    assert "canary-5157" not in json.dumps(after)


def test_a_half_written_file_of_an_interrupted_run_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    kept = run(folder, {"kept": {}})["digest"]
    # As after a power failure in write().
    (folder / ".new.new").touch(mode=0o600)
    (folder / ".new.new").write_text("a longer half of another secret than what is written now" * 9)
    (folder / "empty").touch(mode=0o600)
    run(folder, {"kept": {}, "new": {"value": "now"}, "empty": {}})
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "kept", "new"]
    assert (folder / "new").read_text() == "now"
    assert len((folder / "empty").read_text()) == 64
    assert run(folder, {"kept": {}})["digest"] == kept


def test_copy_follows_its_source(tmp_path: Path) -> None:
    source, folder = tmp_path / "token", tmp_path / "secrets"
    source.write_text("one")
    run(folder, {"proxy_token": {"copy_from": str(source)}})
    source.write_text("two")
    assert run(folder, {"proxy_token": {"copy_from": str(source)}})["changed"]
    assert (folder / "proxy_token").read_text() == "two"


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    result = run(folder, {"token": {}, "copy": {"copy_from": str(tmp_path / "not yet")}}, check=True)
    assert result["changed"]
    assert result["written"] == ["copy", "token"]
    assert not folder.exists()


@pytest.mark.parametrize("value", ["", " \n"])
def test_empty_secret_is_refused(tmp_path: Path, value: str) -> None:
    result = run(tmp_path / "secrets", {"token": {"value": value}})
    assert result["failed"]
    assert "'token' is set but empty" in result["msg"]


def test_other_files_are_removed_if_asked(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    run(folder, {"key.pem": {"value": "x" * 40}, "ca.pem": {"value": "the-root-of-an-authority"}})
    assert not run(folder, {"ca.pem": {"value": "the-root-of-an-authority"}})["changed"]
    assert (folder / "key.pem").exists()
    assert run(folder, {"ca.pem": {"value": "the-root-of-an-authority"}}, check=True, exact=True)["mended"] == [
        str(folder / "key.pem")
    ]
    assert (folder / "key.pem").exists(), "a dry run removes nothing"
    assert run(folder, {"ca.pem": {"value": "the-root-of-an-authority"}}, exact=True)["changed"]
    assert [path.name for path in folder.iterdir()] == ["ca.pem"]
    assert not run(folder, {"ca.pem": {"value": "the-root-of-an-authority"}}, exact=True)["changed"]


def test_values_that_are_replaced_stay_in_a_file(tmp_path: Path) -> None:
    folder, spec = tmp_path / "secrets", {"former": "former"}
    run(folder, {"key": spec}, exact=True)
    generated = (folder / "key").read_text()
    for value in ("b" * 20, "c" * 20, "b" * 20):
        assert run(folder, {"key": {"value": value, **spec}}, exact=True)["written"] == ["key"]
    former = folder / "former"
    assert (former.read_text().split(), former.stat().st_mode & 0o777) == ([generated, "b" * 20, "c" * 20], 0o600)
    assert not run(folder, {"key": {"value": "b" * 20, **spec}}, exact=True)["changed"]


def test_a_file_that_is_no_longer_given_is_removed(tmp_path: Path) -> None:
    folder, gone = tmp_path / "secrets", {"http_proxies": {"absent": True}}
    run(folder, {"http_proxies": {"value": "x" * 40}, "token": {}})
    assert run(folder, gone, check=True)["mended"] == [str(folder / "http_proxies")]
    assert (folder / "http_proxies").exists(), "a dry run removes nothing"
    assert run(folder, gone)["changed"]
    assert [path.name for path in folder.iterdir()] == ["token"]
    assert not run(folder, gone)["changed"]
