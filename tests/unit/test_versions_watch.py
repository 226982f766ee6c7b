"""What makes a version: saves and requests, as a server sees them; nothing of it can hold up or fail a save."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from jupyterhub_versions.limits import Limits
from jupyterhub_versions.ring import Ring
from jupyterhub_versions.watch import Watch

BASE_URL = "/user/ann/"


class Home:
    """A home, whose saved files a server watches."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = Mock()
        self.ring = Ring(root, Limits(per_file=10, mb=8))
        self.watch = Watch(self.ring, BASE_URL, self.log)

    def write(self, name: str, content: str) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return str(path)

    def asked(self, method: str, path: str, body: object = None, *, status: int = 200, **query: str) -> None:
        """A request that was answered."""
        request = SimpleNamespace(method=method, path=BASE_URL + path, body=json.dumps(body).encode())
        self.watch.request_done(
            SimpleNamespace(request=request, get_status=lambda: status, get_query_argument=query.get)
        )

    def versions(self, name: str) -> list[str]:
        self.watch.finish()
        return [version.path.read_text() for version in self.ring.versions(name)]

    def warnings(self) -> list[str]:
        self.watch.finish()
        return [call.args[0] % call.args[1:] for call in self.log.warning.call_args_list]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_each_save_makes_a_version(home: Home) -> None:
    for content in ("one", "two"):
        # As the contents manager calls its hooks.
        home.watch.file_saved(os_path=home.write("work/a.ipynb", content), model={}, contents_manager=None)
        home.watch.finish()
    assert home.versions("work/a.ipynb") == ["two", "one"]
    # A copy that somebody saves has none.
    [version, _] = home.ring.versions("work/a.ipynb")
    home.watch.file_saved(str(version.path))
    home.watch.finish()
    assert not (home.root / "versions/versions").exists()


def test_a_save_does_not_wait(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    keep = home.ring.keep

    def slow(name: str) -> bool:
        goes_on.wait(30)
        return keep(name)

    monkeypatch.setattr(home.ring, "keep", slow)
    path = home.write("a.txt", "one")
    for _ in range(100):
        home.watch.file_saved(path)
    assert home.ring.versions("a.txt") == []
    goes_on.set()
    assert home.versions("a.txt") == ["one"]


def test_no_thread_before_anything_is_saved(home: Home) -> None:
    assert "versions" not in {thread.name for thread in threading.enumerate() if thread is home.watch._thread}
    assert home.watch._thread is None


def fails_with(error: Exception) -> Mock:
    return Mock(side_effect=error)


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), OSError(30, "Read-only file system"), RuntimeError("bug")],
    ids=str,
)
def test_a_failure_is_only_logged_once(home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    path = home.write("a.txt", "one")
    with monkeypatch.context() as patch:
        patch.setattr(home.ring, "_make", fails_with(error))
        for _ in range(3):
            home.watch.file_saved(path)
            home.watch.finish()
        [warning] = home.warnings()
        assert "No versions of saved files can be kept" in warning
        assert str(error) in warning
    home.watch.file_saved(path)
    assert home.versions("a.txt") == ["one"]
    assert home.warnings()[1:] == ["Versions of saved files can be kept again"]


def test_a_file_in_place_of_the_folder_is_a_failure_too(home: Home) -> None:
    (home.root / "versions").write_text("mine")
    home.watch.file_saved(home.write("a.txt", "one"))
    assert len(home.warnings()) == 1
    assert (home.root / "versions").read_text() == "mine"


def test_what_is_opened_is_kept_before_it_is_changed(home: Home) -> None:
    home.write("cloned/a b.ipynb", "as cloned")
    home.asked("GET", "api/contents/cloned/a%20b.ipynb", type="notebook", content="1")
    assert home.versions("cloned/a b.ipynb") == ["as cloned"]
    home.write("b.ipynb", "as cloned")
    home.asked("PUT", "api/collaboration/session/b.ipynb", {"format": "json", "type": "notebook"})
    assert home.versions("b.ipynb") == ["as cloned"]
    home.write("c.py", "as cloned")
    home.asked("GET", "marimo/", file="c.py")
    assert home.versions("c.py") == ["as cloned"]


def test_what_another_program_wrote_is_kept_before_it_is_overwritten(home: Home) -> None:
    home.watch.file_saved(home.write("a.txt", "saved"))
    home.watch.finish()
    home.write("a.txt", "checked out by git")
    # JupyterLab asks before each save.
    home.asked("GET", "api/contents/a.txt", content="0")
    assert home.versions("a.txt") == ["checked out by git", "saved"]
    # It asks about files that are not open, too.
    home.write("b.txt", "never opened")
    home.asked("GET", "api/contents/b.txt", content="0")
    assert home.versions("b.txt") == []


def test_parts_of_an_upload_are_no_versions(home: Home) -> None:
    # JupyterLab sends a large file in parts; what is saved is the whole of it, of which the hook is told.
    for number, content in ((1, "one,"), (2, "one,two,"), (-1, "one,two,three")):
        path = home.write("data.csv", content)
        home.asked("PUT", "api/contents/data.csv", {"chunk": number, "type": "file", "format": "base64"}, status=200)
        home.watch.finish()
    assert home.versions("data.csv") == []
    home.watch.file_saved(path)
    assert home.versions("data.csv") == ["one,two,three"]


def test_marimo_s_saves(home: Home) -> None:
    path = home.write("a.py", "one")
    home.asked("POST", "marimo/api/kernel/save", {"filename": path, "codes": []})
    assert home.versions("a.py") == ["one"]
    home.write("new.py", "two")
    home.asked("POST", "marimo/api/kernel/rename", {"filename": "new.py"})
    assert home.versions("new.py") == ["two"]
    home.write("data.csv", "1,2")
    home.asked("POST", "marimo/api/files/update", {"path": home.write("data.csv", "1,2"), "contents": "1,2"})
    assert home.versions("data.csv") == ["1,2"]
    (home.root / "data.csv").rename(home.root / "moved.csv")
    home.asked("POST", "marimo/api/files/move", {"path": f"{home.root}/data.csv", "newPath": f"{home.root}/moved.csv"})
    assert home.versions("moved.csv") == ["1,2"]


def test_versions_follow_a_renamed_folder(home: Home) -> None:
    home.watch.file_saved(home.write("old name/a.txt", "one"))
    home.watch.finish()
    (home.root / "old name").rename(home.root / "new")
    home.asked("PATCH", "api/contents/old%20name", {"path": "new"})
    assert home.versions("new/a.txt") == ["one"]
    assert home.versions("old name/a.txt") == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "api/contents/a.txt", None, 403),
        ("GET", "api/contents/", None, 200),
        ("GET", "api/contents/../../../etc/passwd", None, 200),
        ("GET", "api/contents/folder", None, 200),
        ("GET", "api/contents/gone.txt", None, 200),
        ("POST", "api/contents/a.txt/checkpoints", None, 201),
        ("GET", "api/collaboration/session/a.txt", None, 200),
        ("GET", "lab/tree/a.txt", None, 200),
        ("PATCH", "api/contents/a.txt", {}, 200),
        ("POST", "marimo/api/kernel/save", {"filename": None}, 200),
        ("POST", "marimo/api/kernel/save", {"filename": "/etc/passwd"}, 200),
        ("POST", "marimo/api/kernel/save", {"filename": "a.txt"}, 500),
        ("POST", "marimo/api/kernel/run", {"codes": ["1"]}, 200),
    ],
)
def test_other_requests_make_none(home: Home, method: str, path: str, body: Any, status: int) -> None:
    home.write("a.txt", "one")
    home.write("folder/b.txt", "two")
    home.asked(method, path, body, status=status)
    home.watch.finish()
    assert not (home.root / "versions").exists()
    assert home.warnings() == []


def test_a_request_that_is_not_as_expected_does_no_harm(home: Home) -> None:
    home.asked("POST", "marimo/api/kernel/save", ["no dictionary"])
    home.watch.request_done(SimpleNamespace())
    assert len(home.warnings()) == 1
    home.watch.file_saved(home.write("a.txt", "one"))
    assert home.versions("a.txt") == ["one"]
