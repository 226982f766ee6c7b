"""The start of a user's server with whatever configuration is in the home."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import jupyterhub_start as start
import pytest
from traitlets.config import Application

PYTHON = "jupyter_server_config.py"


class ExecutedError(Exception):
    """The program was replaced by another start of it."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home with a folder for configuration; nothing is executed, and the server has no address."""

    def executed(path: str, words: list[str]) -> NoReturn:
        raise ExecutedError(os.environ[start.REFUSED])

    monkeypatch.setattr(os, "execv", executed)
    monkeypatch.setattr(start, "notices", [])
    monkeypatch.setattr(start, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(Application, "_load_config_files", Application._load_config_files)
    for variable in [name for name in os.environ if name.startswith(("JUPYTER_", "XDG_", "IPYTHON"))]:
        monkeypatch.delenv(variable)
    # What the start itself sets is undone, too.
    for variable in (start.REFUSED, "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:1/user/ada/")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.jupyter").mkdir(parents=True)
    yield tmp_path / "home"
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        os.environ.pop(variable, None)


def write(home: Path, text: str, name: str = PYTHON) -> None:
    path = home / ".jupyter" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def serve() -> NoReturn:
        raise error

    return serve


def loading(home: Path) -> Callable[[], None]:
    """Return a server that does no more than reading its configuration, as Jupyter's does."""

    def serve() -> None:
        # As Jupyter does, which only logs what is wrong in a file.
        with suppress(Exception):
            Application().load_config_file("jupyter_server_config", path=[str(home / ".jupyter")])

    return serve


def refused(serve: Callable[[], object]) -> str:
    with pytest.raises(ExecutedError) as executed:
        start.run(serve)
    return str(executed.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import sys\n\nsys.exit()\n", "line 3: SystemExit"),
        ("c.ServerApp.port = \n", "line 1: SyntaxError"),
        ("def ours():\n    import of_nobody\nours()\n", "line 2: ModuleNotFoundError: No module named 'of_nobody'"),
        ("c.HubOAuth.api_url = 'http://mine'\n", "line 1: ValueError: HubOAuth.api_url is set by the Hub"),
        ("#\nc.ServerApp.sock = '/tmp/a'\n", "line 2: ValueError: ServerApp.sock is set by the Hub"),
        ("c.ServerApp.ssl_options = {}\n", "line 1: ValueError: ServerApp.ssl_options is set by the Hub"),
    ],
)
def test_a_line_of_the_user_s_file_is_named(home: Path, text: str, words: str) -> None:
    write(home, text)
    assert f"~/.jupyter/{PYTHON}, {words}" in refused(loading(home))


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("The 'max_body_size' trait of a ServerApp instance expected an int, not the str '2GB'.", 2),
        ("No such directory: ''/gone''", 3),
        ("'not.Installed' could not be imported", 4),
    ],
)
def test_a_setting_is_found_by_its_name_or_value(home: Path, message: str, line: int) -> None:
    settings = ("max_body_size = '2GB'", "root_dir = '/gone'", "contents_manager_class = 'not.Installed'")
    write(
        home,
        "# max_body_size is mine, and /gone, and not.Installed\n" + "".join(f"c.ServerApp.{s}\n" for s in settings),
    )
    # traitlets ends the application in the handler of the error.
    error = SystemExit(1)
    error.__context__ = ValueError(message)
    assert refused(raising(error)) == f"~/.jupyter/{PYTHON}, line {line}: ValueError: {message}"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("jupyter_server_config.json", '{\n"ServerApp": 1,,\n}', "line 2: SyntaxError: not JSON"),
        ("jupyter_server_config.json", "[]", "line 1: SyntaxError: not a JSON object"),
        ("jupyter_server_config.d/mine.json", "\n\n{", "line 3: SyntaxError: not JSON"),
        ("labconfig/page_config.json", "", "line 1: SyntaxError: not JSON"),
    ],
)
def test_a_file_must_be_json(home: Path, name: str, text: str, words: str) -> None:
    write(home, text, name)
    assert f"~/.jupyter/{name}, {words}" in refused(lambda: None)


def test_an_error_that_no_line_explains_is_told_in_its_own_words(home: Path) -> None:
    write(home, "c.ServerApp.port = 1\n")
    assert refused(raising(OSError("all is lost"))) == "OSError: all is lost"


def test_without_a_configuration_nothing_is_tried_again(home: Path) -> None:
    with pytest.raises(ValueError, match="all is lost"):
        start.run(raising(ValueError("all is lost")))
    # But what Jupyter stores in the home may be broken.
    assert refused(raising(IsADirectoryError("jupyter_cookie_secret"))) == "IsADirectoryError: jupyter_cookie_secret"


def test_the_second_start_has_lab_s_settings_only_and_tells_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(home, "raise SystemExit\n")
    write(home, "{}", "lab/user-settings/theme")
    monkeypatch.setenv(start.REFUSED, "~/.jupyter/x.py, line 7: it ends")
    assert start.run(lambda: "served") == "served"
    folder = Path(os.environ["JUPYTER_CONFIG_DIR"])
    assert [path.name for path in folder.iterdir()] == ["lab"]
    assert (folder / "lab/user-settings/theme").read_text() == "{}"
    assert start.REFUSED not in os.environ
    assert not list(Path(os.environ["JUPYTER_RUNTIME_DIR"]).iterdir())
    [notice] = start.notices
    assert "refused, and this server runs without it. ~/.jupyter/x.py, line 7: it ends" in notice


@pytest.mark.parametrize("blocked", [".jupyter", ".local", ".local/share/jupyter/runtime", ".ipython/profile_default"])
def test_a_file_where_a_folder_belongs_is_replaced(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    environ: dict[str, str] = {}
    replaced = start.replace_folders(environ, tmp_path, tmp_path / "scratch")
    assert replaced
    assert all(each.startswith(f"~/{blocked.partition('/')[0]}") for each in replaced)
    assert all(Path(folder).is_dir() for folder in environ.values())
    # Before the second attempt, it is told again.
    assert start.replace_folders(environ, tmp_path, tmp_path / "scratch") == replaced


def test_a_home_that_is_fine_is_used_and_an_operator_s_folder_is_kept(tmp_path: Path) -> None:
    environ = {"JUPYTER_CONFIG_DIR": "/elsewhere"}
    assert start.replace_folders(environ, tmp_path, tmp_path / "scratch") == []
    assert environ == {"JUPYTER_CONFIG_DIR": "/elsewhere"}
    assert not (tmp_path / "scratch").exists()


class _Server:
    """Answers every request with a status, by path."""

    def __init__(self, statuses: dict[str, int]) -> None:
        self.statuses, self.asked = statuses, list[str]()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/user/ada/"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listening.accept()
            with connection:
                path = connection.recv(4096).split()[1].decode().partition("?")[0].removeprefix("/user/ada/")
                self.asked.append(path)
                connection.sendall(f"HTTP/1.1 {self.statuses.get(path, 404)} X\r\n\r\n".encode())


CHALLENGE = "api/jupyterhub-challenge"


@pytest.mark.parametrize(
    ("statuses", "fault"),
    [
        ({CHALLENGE: 200, "lab": 302}, None),
        ({"lab": 302}, f"it turns off a part that is needed: {CHALLENGE}"),
        ({CHALLENGE: 200}, "it turns off a part that is needed: lab"),
        (None, "the server did not answer within 0.3 seconds"),
    ],
)
def test_a_server_must_answer_the_hub_and_have_a_lab(
    home: Path, monkeypatch: pytest.MonkeyPatch, statuses: dict[str, int] | None, fault: str | None
) -> None:
    monkeypatch.setattr(start, "ANSWER_S", 30 if statuses else 0.3)
    monkeypatch.setattr(start, "ASLEEP_S", 0.1)
    if statuses:
        monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", _Server(statuses).url)
    write(home, "c.ServerApp.port = 1\n")
    told: list[str] = []
    decided = threading.Event()

    def again(fault: str) -> None:
        told.append(fault)
        decided.set()

    monkeypatch.setattr(start, "again", again)
    if fault:
        start.run(lambda: decided.wait(20))
        assert told == [fault]
    else:
        # It ended by itself after it was ready: that is no fault of the configuration.
        before = set(threading.enumerate())

        def serve() -> NoReturn:
            # None if it has ended already.
            for thread in set(threading.enumerate()) - before:
                thread.join(20)
            raise SystemExit(0)

        with pytest.raises(SystemExit):
            start.run(serve)
        assert told == []


@pytest.mark.parametrize("answer", [b"", b"\x15\x03\x01", b"SSH-2.0-x 404\r\n", b"HTTP/1.1 \r\n\r\n"], ids=repr)
def test_what_is_no_answer_by_http_is_none(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        server = threading.Thread(target=reply)
        server.start()
        with pytest.raises(ValueError, match="no answer by HTTP"):
            start.status(f"http://127.0.0.1:{listening.getsockname()[1]}/user/ada/", "lab")
        server.join(20)


def test_a_start_that_only_lacks_processor_time_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ANSWER_S", 0.1)
    monkeypatch.setattr(start, "ASLEEP_S", 0.5)
    spent = iter([number * 0.5 for number in range(1000)])
    monkeypatch.setattr(time, "process_time", lambda: next(spent))
    monkeypatch.setattr(start, "TOO_MUCH_S", 5)
    write(home, "c.ServerApp.port = 1\n")
    told: list[float] = []
    decided = threading.Event()

    def again(fault: str) -> None:
        told.append(next(spent))
        decided.set()

    monkeypatch.setattr(start, "again", again)
    start.run(lambda: decided.wait(20))
    # Until it had used too much.
    assert told == [6.0]


def test_settings_of_the_user_reach_the_server(home: Path) -> None:
    write(home, json.dumps({"Application": {"log_level": 10}}), "jupyter_server_config.json")
    app = Application()

    def serve() -> int:
        app.load_config_file("jupyter_server_config", path=[str(home / ".jupyter")])
        return int(app.config.Application.log_level)

    assert start.run(serve) == 10


def test_configuration_of_collaboration_comes_first_where_the_hub_asks_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def path() -> str | None:
        start.run(lambda: None)
        return os.environ.get("JUPYTER_CONFIG_PATH")

    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "/mine")
    assert path() == "/mine"
    monkeypatch.setenv("JUPYTERHUB_COLLABORATION", "1")
    assert path() == "/opt/jupyter/etc/jupyter/collaboration:/mine"
    # A second attempt, without the user's configuration, starts with the environment of the first one.
    assert path() == "/opt/jupyter/etc/jupyter/collaboration:/mine"
    monkeypatch.delenv("JUPYTER_CONFIG_PATH")
    assert path() == "/opt/jupyter/etc/jupyter/collaboration"
