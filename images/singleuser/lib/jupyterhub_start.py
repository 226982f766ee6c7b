"""Starts a user's server whatever is in the home: no administrator is needed to repair one's own configuration.

A server that ends, or does not answer as the Hub expects, is started again without the user's configuration of Jupyter,
and the user is told what was refused.  Where a folder that Jupyter writes to cannot be used, one in /tmp replaces it.
"""

import json
import os
import re
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import jupyterhub_shared

ANSWER_S = 40
"""The longest start with the user's configuration: leaves time for another, of the default `hub_start_timeout_s`."""
ASLEEP_S, WORKING = 10, 0.3
"""A start that takes longer is given up if it used less than so many processor seconds in so many seconds..."""
TOO_MUCH_S = 20
"""... or this many in all, as in an endless loop.  Otherwise the machine is busy: a start needs one or two."""
SCRATCH = Path("/") / "tmp/jupyter"
"""Replaces folders of the home; /tmp is the container's own."""
REFUSED = "JUPYTERHUB_REFUSED_CONFIG"
"""What was refused, for the process that starts without it."""

COLLABORATION = "JUPYTERHUB_COLLABORATION"
"""Set by the Hub for a workspace with live collaboration."""
_OF_COLLABORATION = "/opt/jupyter/etc/jupyter/collaboration"
"""The configuration that turns it on; it comes before the users'."""

notices: list[str] = []
"""What the user should know about this start; JupyterLab shows them (jupyterhub_idle)."""

# What keeps the user out if it is wrong: the Hub sets it.
_OF_THE_HUB: dict[str, frozenset[str]] = {
    "HubAuth": frozenset(),
    "HubOAuth": frozenset(),
    "JupyterHubAuthorizer": frozenset(),
    "JupyterHubIdentityProvider": frozenset(),
    "JupyterHubSingleUser": frozenset(),
    "ServerApp": frozenset({"authorizer_class", "sock", "ssl_options"}),
}
_PATHS = ("api/jupyterhub-challenge?nonce=" + "0" * 64, "lab")
"""What must exist: the Hub considers a server ready by the first, and the user repairs everything in the second."""


# --- folders


def _usable(folder: Path, to_write: bool) -> bool:
    """Whether the folder can be read, or can be made, and if needed takes new files."""
    try:
        if to_write:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as trial:
                # A full disk may have room for a byte.
                trial.write(bytes(100_000))
        first = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
        if first != folder:
            return first.is_dir() and os.access(first, os.W_OK | os.X_OK)
        next(folder.iterdir(), None)
    except OSError:
        return False
    return True


def replace_folders(environ: MutableMapping[str, str], home: Path, scratch: Path) -> list[str]:
    """Let Jupyter use folders below `scratch` instead of those that it cannot use; return them, shortened by ~."""
    data = home / ".local/share/jupyter"
    replaced = []
    for variable, folder, inside, to_write in (
        ("JUPYTER_CONFIG_DIR", home / ".jupyter", "lab", False),
        ("JUPYTER_DATA_DIR", data, "", False),
        # The files of running kernels: without them, nothing runs, not even what would free a full home.
        ("JUPYTER_RUNTIME_DIR", data / "runtime", "", True),
        ("IPYTHONDIR", home / ".ipython", "profile_default", True),
        ("XDG_CONFIG_HOME", home / ".config", "", True),
        ("XDG_CACHE_HOME", home / ".cache", "", True),
    ):
        own = scratch / variable.lower()
        # It may have been replaced already, before a second attempt.
        if environ.get(variable, str(own)) == str(own) and not _usable(folder / inside, to_write):
            own.mkdir(mode=0o700, parents=True, exist_ok=True)
            environ[variable] = str(own)
            replaced.append(short(folder, home))
    return replaced


def add_collaboration(environ: MutableMapping[str, str]) -> None:
    """Let Jupyter read the configuration of live collaboration, too, where the Hub asks for that."""
    folders = environ.get("JUPYTER_CONFIG_PATH", "").split(os.pathsep)
    # It may have been added already, before a second attempt.
    if environ.get(COLLABORATION) and _OF_COLLABORATION not in folders:
        environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [_OF_COLLABORATION, *folders]))


def short(path: Path, home: Path) -> str:
    """Return a path as people write it."""
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


# --- the user's configuration


def config_files(folder: Path) -> list[Path]:
    """Return the user's files that Jupyter's server reads at its start, or later for a page."""
    try:
        return sorted(
            path
            for pattern in ("jupyter*_config.py", "jupyter*_config.json", "*_config.d/*.json", "labconfig/*.json")
            for path in folder.glob(pattern)
        )
    except OSError:
        return []


def find_fault(error: BaseException, files: Sequence[Path]) -> tuple[Path | None, int, str]:
    """Return the file and line that an error comes from as far as can be told (None, 0), and what is wrong."""
    for each in _chain(error):
        words = f"{type(each).__name__}: {each}" if str(each) else type(each).__name__
        if isinstance(each, SyntaxError) and each.filename and Path(each.filename) in files:
            return Path(each.filename), each.lineno or 0, words
        trace, found = each.__traceback__, None
        while trace:
            if Path(trace.tb_frame.f_code.co_filename) in files:
                found = Path(trace.tb_frame.f_code.co_filename), trace.tb_lineno
            trace = trace.tb_next
        if found:
            return *found, words
    for each in _chain(error):
        for path, number, line in _lines(files):
            if _is_about(str(each), line):
                return path, number, f"{type(each).__name__}: {each}"
    shown = next((each for each in reversed(list(_chain(error))) if not isinstance(each, SystemExit)), error)
    return None, 0, f"{type(shown).__name__}: {shown}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield what an error comes from, the innermost first."""
    if earlier := error.__cause__ or error.__context__:
        yield from _chain(earlier)
    yield error


def _lines(files: Sequence[Path]) -> Iterator[tuple[Path, int, str]]:
    for path in files:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if not line.lstrip().startswith("#"):
                yield path, number, line


def _is_about(message: str, line: str) -> bool:
    """Whether an error's message names the setting of this line, or its value."""
    setting = re.search(r"\.(\w+)\s*=[^=]", line) or re.search(r'"(\w+)"\s*:', line)
    if setting and re.search(rf"\b{setting[1]}\b", message):
        return True
    return any(len(text) > 3 and text in message for text in re.findall(r"""["']([^"']+)["']""", line))


def refuse_json(files: Sequence[Path]) -> None:
    """Raise an error if one of the files is not a JSON object.

    Raises:
        OSError, SyntaxError: the file, and the line if it is known.
    """
    for path in files:
        if path.suffix != ".json":
            continue
        text = path.read_text(errors="replace")
        try:
            found = json.loads(text)
        except ValueError as error:
            line = getattr(error, "lineno", 1)
            raise SyntaxError(f"not JSON: {error}", (str(path), line, 0, "")) from None
        if not isinstance(found, dict):
            raise SyntaxError("not a JSON object", (str(path), 1, 0, ""))


def refuse_settings_of_the_hub(config: Mapping[str, Any]) -> None:
    """Raise ValueError if one of the user's files sets what only the Hub may set."""
    for name, traits in _OF_THE_HUB.items():
        for trait in config.get(name, {}):
            if not traits or trait in traits:
                raise ValueError(f"{name}.{trait} is set by the Hub")


# --- the start


class _RefusedError(SystemExit):
    """Carries an error in a file of the user: Jupyter logs and ignores other exceptions there."""


class _Attempt:
    """A start with the user's configuration; without it if that fails."""

    def __init__(self, files: list[Path], home: Path) -> None:
        self.files, self.home = files, home
        self.lock = threading.Lock()
        self.decided = False

    def decide(self) -> bool:
        """Whether the caller is the first to decide."""
        with self.lock:
            first, self.decided = not self.decided, True
        return first

    def run(self, serve: Callable[[], Any]) -> Any:
        if self.files and (url := os.environ.get("JUPYTERHUB_SERVICE_URL")):
            threading.Thread(target=self._watch, args=(url,), daemon=True, name="first answer").start()
        try:
            refuse_json(self.files)
            self._check_files()
            result = serve()
        except (Exception, SystemExit) as error:
            # Without a configuration, what Jupyter itself stores may be broken.
            if not self.decide() or not (self.files or isinstance(error, OSError)):
                raise
            path, line, words = find_fault(error, self.files)
            again(f"{short(path, self.home)}, line {line}: {words}" if path else words)
        self.decide()
        return result

    def _check_files(self) -> None:
        # Here, as it is imported for the server anyway.
        from traitlets.config import Application

        load = Application._load_config_files.__func__

        def load_and_check(cls: type, *args: Any, **options: Any) -> Iterator[tuple[Any, str]]:
            try:
                for found, file in load(cls, *args, **{**options, "raise_config_file_errors": True}):
                    if Path(file) in self.files:
                        refuse_settings_of_the_hub(found)
                    yield found, file
            except Exception as error:
                raise _RefusedError from error

        Application._load_config_files = classmethod(load_and_check)

    def _watch(self, url: str) -> None:
        """Ask what the Hub asks, as soon as the server answers."""
        began = moved = time.monotonic()
        used = 0.0
        fault = f"the server did not answer within {ANSWER_S} seconds"
        while not self.decided:
            now, processor = time.monotonic(), time.process_time()
            if processor - used >= WORKING:
                moved, used = now, processor
            if now - began > ANSWER_S and (now - moved > ASLEEP_S or processor > TOO_MUCH_S):
                break
            time.sleep(0.1)
            try:
                missing = [path for path in _PATHS if status(url, path) == 404]
            except (OSError, ValueError):
                continue
            if not missing:
                self.decide()
                return
            fault = f"it turns off a part that is needed: {missing[0].partition('?')[0]}"
            break
        if self.decide():
            again(fault)


def status(url: str, path: str) -> int:
    """Return the status of the server's answer (without urllib, whose import takes 0.05 s).

    The URL may name all interfaces (0.0.0.0), which is this machine for Linux.

    Raises:
        OSError, ValueError: there is none.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "localhost", parts.port or 80), 5) as connection:
        request = f"GET {parts.path.rstrip('/')}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        # Nothing, if the server closed the connection; of TLS, an alert.
        if not (answer := re.match(rb"HTTP/1\.\d (\d{3})", connection.recv(64))):
            raise ValueError("no answer by HTTP")
        return int(answer[1])


def again(fault: str) -> NoReturn:
    """Start this program again, without the user's configuration."""
    print(f"The user's configuration of Jupyter is refused: {fault}", file=sys.stderr, flush=True)
    os.environ[REFUSED] = fault
    os.execv(sys.executable, [sys.executable, *sys.argv])


def run(serve: Callable[[], Any]) -> Any:
    """Run the server."""
    home = Path(os.environ.get("HOME", "/"))
    if replaced := replace_folders(os.environ, home, SCRATCH):
        notices.append(
            f"{', '.join(replaced)} cannot be used: is your home full, or a file where a folder belongs? Until you"
            " repair that and restart the server, settings and history are not kept."
        )
    if notice := jupyterhub_shared.link(Path(os.environ.get("JUPYTERHUB_ROOT_DIR", home))):
        notices.append(notice)
    add_collaboration(os.environ)
    refused = os.environ.pop(REFUSED, None)
    folder = Path(os.environ.get("JUPYTER_CONFIG_DIR", home / ".jupyter"))
    if refused:
        what = "Your configuration of Jupyter was refused" if config_files(folder) else "What Jupyter stores is broken"
        fix = "Correct or remove it, and restart the server."
        notices.append(f"{what}, and this server runs without it. {refused.rstrip('.')}. {fix}")
        leave_out(folder, SCRATCH)
        return serve()
    return _Attempt(config_files(folder), home).run(serve)


def leave_out(folder: Path, scratch: Path) -> None:
    """Let Jupyter use an empty runtime folder, and of the configuration only what JupyterLab itself stores."""
    own = scratch / "config"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / "lab").is_dir():
        with suppress(FileExistsError):
            (own / "lab").symlink_to(folder / "lab")
    os.environ["JUPYTER_CONFIG_DIR"] = str(own)
    runtime = scratch / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    os.environ["JUPYTER_RUNTIME_DIR"] = str(runtime)
