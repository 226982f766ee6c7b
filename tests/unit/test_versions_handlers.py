"""What the dialog of versions asks: list, compare, bring back, by HTTP; Jupyter's own classes are stood in for."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from jupyterhub_versions.limits import Limits
from jupyterhub_versions.ring import ChangedError, Ring
from project import IMAGES
from tornado import web
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

MB = 1024**2


class APIHandler(web.RequestHandler):
    """As Jupyter's: who may do what is decided before a method runs, and errors are JSON."""

    def get_current_user(self) -> str | None:
        return None if "Stranger" in self.request.headers else "ada"

    def get_login_url(self) -> str:
        return "/login"

    @property
    def contents_manager(self) -> Any:
        return self.settings["contents_manager"]

    def get_json_body(self) -> Any:
        return json.loads(self.request.body) if self.request.body else None

    def write_error(self, status_code: int, **options: Any) -> None:
        error = options["exc_info"][1]
        self.finish({"message": getattr(error, "log_message", repr(error))})


def authorized(method: Any) -> Any:
    """Refuse those who may only look, as an authorizer of Jupyter's."""

    def asked(self: Any, *arguments: str) -> Any:
        assert self.auth_resource == "contents"
        if "Reader" in self.request.headers and self.request.method != "GET":
            raise web.HTTPError(403)
        return method(self, *arguments)

    return asked


async def ensure_async(awaitable: Any) -> Any:
    return await awaitable


class ContentsManager:
    """Saves as Jupyter does, and remembers what."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.saved: list[str] = []

    async def save(self, model: dict[str, str], path: str) -> None:
        assert (model["type"], model["format"]) == ("file", "base64")
        self.saved.append(path)
        (self.root / path).write_bytes(base64.b64decode(model["content"]))


class Answer(NamedTuple):
    status: int
    body: dict[str, Any]


class Home:
    """A home with a server's API."""

    def __init__(self, root: Path, handlers: ModuleType) -> None:
        self.root = root
        self.handlers = handlers
        self.contents = ContentsManager(root)
        self.ring = Ring(root, Limits(per_file=10, mb=8))

    def ask(self, method: str, path: str, body: object = None, *, who: str = "Owner") -> Answer:
        async def run() -> Answer:
            routes = [("/jupyterhub-versions/(.*)", self.handlers.VersionsHandler, {"ring": self.ring})]
            server = HTTPServer(web.Application(routes, contents_manager=self.contents))
            socket, port = bind_unused_port()
            server.add_socket(socket)
            answer = await AsyncHTTPClient().fetch(
                f"http://127.0.0.1:{port}/jupyterhub-versions/{path}",
                method=method,
                headers={who: "1"},
                body=None if method == "GET" else json.dumps(body),
                follow_redirects=False,
                raise_error=False,
            )
            server.stop()
            return Answer(answer.code, json.loads(answer.body or b"{}"))

        return asyncio.run(run())

    def save(self, name: str, *contents: str) -> list[str]:
        """Save a file several times; return the names of its versions, the newest first."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for content in contents:
            path.write_text(content)
            self.ring.keep(name)
        return [version.path.name for version in self.ring.versions(name)]

    def kept(self, name: str) -> list[str]:
        return [version.path.read_text() for version in self.ring.versions(name)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    parts: dict[str, dict[str, object]] = {
        "jupyter_server": {},
        "jupyter_server.auth": {},
        "jupyter_server.auth.decorator": {"authorized": authorized},
        "jupyter_server.base": {},
        "jupyter_server.base.handlers": {"APIHandler": APIHandler},
        "jupyter_server.utils": {"ensure_async": ensure_async},
    }
    for name, part in parts.items():
        module = ModuleType(name)
        vars(module).update(part)
        monkeypatch.setitem(sys.modules, name, module)
    handlers = import_module("jupyterhub_versions.handlers")
    (tmp_path / "home").mkdir()
    yield Home(tmp_path / "home", handlers)
    # Other tests must not find what was made of the stand-ins.
    del sys.modules["jupyterhub_versions.handlers"]


def as_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the isolated process find the package."""
    real = asyncio.create_subprocess_exec

    async def run(*words: str, **options: Any) -> Any:
        return await real(*[word for word in words if word != "-I"], cwd=IMAGES / "singleuser/versions", **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", run)


def test_versions_are_listed_and_the_present_content_is_one(home: Home) -> None:
    home.save("work/a b.txt", "one")
    (home.root / "work/a b.txt").write_text("two, by another program")
    began = time.time()
    status, listed = home.ask("GET", "work/a%20b.txt")
    newest, oldest = listed.pop("versions")
    assert (status, listed) == (200, {"path": "work/a b.txt", "exists": True, "reason": ""})
    assert (newest["present"], oldest["present"]) == (True, False)
    assert (newest["size"], oldest["size"]) == (23, 3)
    assert abs(newest["time"] - began) < 10
    # Of a version, those of its original.
    assert home.ask("GET", f"versions/work/a%20b.txt/{oldest['name']}").body["path"] == "work/a b.txt"


def test_why_there_are_none_is_said(home: Home) -> None:
    (home.root / "a.bin").write_bytes(b"PK\0\0")
    assert home.ask("GET", "a.bin").body == {
        "path": "a.bin",
        "exists": True,
        "reason": "It is not text.",
        "versions": [],
    }
    deleted = home.save("b.txt", "one")
    (home.root / "b.txt").unlink()
    found = home.ask("GET", "b.txt").body
    assert (found["exists"], found["reason"]) == (False, "")
    assert [(each["name"], each["present"]) for each in found["versions"]] == [(deleted[0], False)]


def test_what_bringing_back_would_change_is_shown(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _, oldest = home.save("a.txt", "one\n", "two\n")
    as_installed(monkeypatch)
    assert home.ask("GET", f"a.txt?version={oldest}") == (200, {"note": "", "lines": ["@", "-two", "+one"]})


def test_a_comparison_that_fails_or_takes_too_long_is_no_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    _, oldest = home.save("a.txt", "one\n", "two\n")
    as_installed(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(home.handlers, "_COMPARE_S", 0)
        status, late = home.ask("GET", f"a.txt?version={oldest}")
    assert (status, late["lines"]) == (200, [])
    assert "too different, or too large" in late["note"]
    # As if it had been killed.
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert home.ask("GET", f"a.txt?version={oldest}") == (200, late)


def test_a_version_is_brought_back_after_the_present_content_has_become_one(home: Home) -> None:
    _, oldest = home.save("work/a.txt", "one", "two")
    # Although it is not text.
    (home.root / "work/a.txt").write_text("three\0")
    assert home.ask("POST", "work/a.txt", {"version": oldest}) == (200, {"path": "work/a.txt"})
    assert (home.root / "work/a.txt").read_text() == "one"
    assert home.kept("work/a.txt") == ["three\0", "two", "one"]
    # Through the contents manager, whose hooks make it the newest version.
    assert home.contents.saved == ["work/a.txt"]


def test_a_deleted_file_comes_back_with_its_folder(home: Home) -> None:
    [version] = home.save("work/a.txt", "one")
    (home.root / "work/a.txt").unlink()
    (home.root / "work").rmdir()
    assert home.ask("POST", f"versions/work/a.txt/{version}", {"version": version}).status == 200
    assert (home.root / "work/a.txt").read_text() == "one"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device."),
        (ChangedError(), "It is being written."),
    ],
    ids=["full", "written"],
)
def test_nothing_is_changed_if_the_present_content_cannot_be_kept(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    [version] = home.save("a.txt", "one")
    (home.root / "a.txt").write_text("two")

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(home.ring, "_make", fails)
    status, said = home.ask("POST", "a.txt", {"version": version})
    assert status == 409
    assert said["message"] == f"Nothing was changed, as the present content could not be kept: {reason}"
    assert ((home.root / "a.txt").read_text(), home.contents.saved) == ("two", [])


def test_nothing_is_changed_if_the_present_content_is_too_large(home: Home) -> None:
    [version] = home.save("a.txt", "one")
    (home.root / "a.txt").write_bytes(b"x" * (8 * MB))
    status, said = home.ask("POST", "a.txt", {"version": version})
    assert status == 409
    assert "could not be kept: It is larger than 7 MB" in said["message"]
    assert ((home.root / "a.txt").stat().st_size, home.kept("a.txt")) == (8 * MB, ["one"])


@pytest.mark.parametrize("path", ["..%2Foutside.txt", "a/..%2F..%2Foutside.txt", ".bashrc", "", "out"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_outside_of_the_home_and_nothing_hidden(home: Home, method: str, path: str) -> None:
    (home.root.parent / "outside.txt").write_text("secret")
    (home.root / "out").symlink_to(home.root.parent / "outside.txt")
    status, said = home.ask(method, path, {"version": "2026-01-01_00-00-00.txt"})
    assert status == 404
    assert said["message"].startswith("No versions are kept of this file: It is ")
    assert [*home.root.iterdir()] == [home.root / "out"]


@pytest.mark.parametrize(
    "wanted", ["2026-01-01_00-00-00.txt", "../b.txt/{other}", "notes.txt", "", None, 1, {"a": 1}], ids=repr
)
def test_only_a_version_of_this_file_is_brought_back(home: Home, wanted: object) -> None:
    home.save("a.txt", "one")
    [other] = home.save("b.txt", "of another file")
    (home.root / "versions/a.txt/notes.txt").write_text("mine")
    name = wanted.format(other=other) if isinstance(wanted, str) else wanted
    assert home.ask("POST", "a.txt", {"version": name}) == (404, {"message": "This version no longer exists."})
    assert home.ask("POST", "a.txt").status == 404
    assert home.ask("GET", "a.txt?version=2026-01-01_00-00-00.txt").status == 404
    assert ((home.root / "a.txt").read_text(), home.contents.saved) == ("one", [])


def test_only_who_may_write_files_brings_back(home: Home) -> None:
    _, oldest = home.save("a.txt", "one", "two")
    assert home.ask("POST", "a.txt", {"version": oldest}, who="Reader").status == 403
    assert home.ask("GET", "a.txt", who="Reader").status == 200
    assert home.ask("POST", "a.txt", {"version": oldest}, who="Stranger").status == 403
    assert home.ask("GET", "a.txt", who="Stranger").status == 302
    assert (home.root / "a.txt").read_text() == "two"
