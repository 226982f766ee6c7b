"""A user of the Hub over HTTP: logs in through the form, starts servers, and uses them as a browser does.

The protocols are those of JupyterHub 6 (REST API, progress as an event stream) and jupyter_server 2 (contents, kernels
and terminals over websockets).  Everything is synchronous: a test that needs two things at once uses threads.
"""

from __future__ import annotations

import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import quote, urljoin

import requests
from e2e.websocket import Websocket
from websockets.typing import Origin

TIMEOUT_S = 60.0
"""The longest that anything may take; starting a server takes longest."""


class StartError(Exception):
    """A server did not start; `str()` gives the message that its user sees."""


def eventually(what: str, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S, every_s: float = 0.1) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: it did not hold within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s} s for {what}")
        time.sleep(every_s)


class User:
    """A browser session of one user."""

    def __init__(self, hub_url: str, name: str, password: str) -> None:
        self.hub_url = hub_url
        self.name = name
        self.password = password
        self.session = requests.Session()
        # Ignore the proxy variables and the netrc of this machine: contact the Hub under test only.
        self.session.trust_env = False

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Request a path of the Hub or of a server, with the cookies of this session and JupyterHub's XSRF token."""
        headers = {"X-XSRFToken": self._xsrf(path), **options.pop("headers", {})}
        options.setdefault("timeout", TIMEOUT_S)
        return self.session.request(method, self.hub_url + path, headers=headers, **options)

    def _xsrf(self, path: str) -> str:
        """Hub and servers each have their own token: take the one whose cookie has the longest matching path."""
        tokens = [c for c in self.session.cookies if c.name == "_xsrf" and path.startswith(c.path)]
        return max(tokens, key=lambda c: len(c.path)).value or "" if tokens else ""

    def login(self) -> requests.Response:
        """Submit the login form; return the page after it, or the form with an error."""
        page = self.request("GET", "/hub/login")
        page.raise_for_status()
        return self.request(
            "POST", "/hub/login", data={**hidden_fields(page.text), "username": self.name, "password": self.password}
        )

    def api(self, method: str, path: str, **options: Any) -> requests.Response:
        """Call the Hub's REST API."""
        return self.request(method, f"/hub/api/{path}", **options)

    def token(self) -> str:
        """Create an API token with all of this user's permissions."""
        answer = self.api("POST", f"users/{quote(self.name)}/tokens", json={"note": "end-to-end test"})
        answer.raise_for_status()
        return str(answer.json()["token"])

    def server(self, name: str = "") -> Server:
        """Return the default server or a named one, started or not."""
        return Server(self, name)

    def workspace(self, slug: str) -> Server:
        """Return the server of a workspace, as this user reaches it."""
        return Server(self, "", owner=f"workspace.{slug}")

    def servers(self, owner: str = "") -> list[Server]:
        """Return the servers of this user, or of an owner, that run, start or stop, according to the Hub."""
        model = self.api("GET", f"users/{quote(owner or self.name)}").json()
        return [self.server(name) for name, state in model["servers"].items() if state["ready"] or state["pending"]]

    def websocket(self, path: str, origin: str = "") -> Websocket:
        """Open a websocket as a page of this session does, or a program with a token in the session's headers.

        Args:
            path: of the Hub or of a server.
            origin: of the page; the Hub's by default.
        """
        url = self.hub_url + path
        sent = self.session.prepare_request(requests.Request("GET", url)).headers
        return Websocket(
            url.replace("http", "ws", 1),
            origin=Origin(origin or self.hub_url),
            additional_headers={name: sent[name] for name in ("Cookie", "Authorization") if name in sent},
            proxy=None,
            max_size=None,
            open_timeout=TIMEOUT_S,
            ssl=ssl.create_default_context(cafile=str(self.session.verify)) if url.startswith("https:") else None,
        )


NewUser = Callable[[str], User]
"""Logs in the user of this name."""


def hidden_fields(page: str) -> dict[str, str]:
    """Return the hidden inputs of the forms on a page."""
    inputs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in inputs}


class Server:
    """A user's server: the default one, or a named one; or the server of another owner, as a user reaches it."""

    def __init__(self, user: User, name: str, owner: str = "") -> None:
        self.user = user
        self.name = name
        self.owner = owner or user.name
        self.path = f"/user/{quote(self.owner)}/" + (f"{name}/" if name else "")
        self._api = f"users/{quote(self.owner)}/" + (f"servers/{name}" if name else "server")

    # --- start and stop

    def spawn_page(self) -> requests.Response:
        """Return the page that offers the environments."""
        return self.user.request("GET", f"/hub/spawn/{quote(self.owner)}" + (f"/{self.name}" if self.name else ""))

    def start_by_form(self, profile: str) -> None:
        """Choose an environment on the spawn page, submit the form, and wait until the server is ready."""
        page = self.spawn_page()
        page.raise_for_status()
        if f'name="profile" id="profile-{profile}" value="{profile}"' not in page.text:
            raise StartError(f"the spawn page does not offer {profile}")
        [target] = re.findall(r'<form[^>]*id="spawn_form"[^>]*action="([^"]+)"', page.text, re.DOTALL)
        path = urljoin(page.url, unescape(target)).removeprefix(self.user.hub_url)
        # Multipart, as in the enctype of the form.
        self.user.request("POST", path, files={"profile": (None, profile)}).raise_for_status()
        self.wait_until_ready()

    def start(self, profile: str | None = None) -> None:
        """Start through the REST API, and wait until the server is ready; without a profile, repeat the last choice."""
        body = {"user_options": {"profile": profile}} if profile else {}
        answer = self.user.api("POST", self._api, json=body)
        if answer.status_code not in (201, 202):
            raise StartError(answer.json().get("message", answer.text))
        self.wait_until_ready()

    def progress(self) -> Iterator[dict[str, Any]]:
        """Yield the progress events of the start, as the page that waits for it receives them."""
        with self.user.api(
            "GET", f"{self._api}/progress", stream=True, headers={"Accept": "text/event-stream"}
        ) as events:
            events.raise_for_status()
            for line in events.iter_lines(decode_unicode=True):
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def wait_until_ready(self) -> None:
        """Follow the progress to its end, then open the server's first page, which logs this session in to the server.

        Raises:
            StartError: the server did not start.
        """
        deadline = time.monotonic() + 2 * TIMEOUT_S
        for event in self.progress():
            if event.get("failed"):
                raise StartError(event["message"])
            if event.get("ready"):
                self.open().raise_for_status()
                return
            if time.monotonic() > deadline:
                break
        raise StartError("neither ready nor failed")

    def open(self) -> requests.Response:
        """Open JupyterLab, following the redirects of the Hub's OAuth as a browser does."""
        return self.user.request("GET", f"{self.path}lab")

    def stop(self) -> None:
        """Stop, and wait until the Hub no longer lists it."""
        answer = self.user.api("DELETE", self._api)
        if answer.status_code not in (202, 204, 404):
            raise AssertionError(f"stop: {answer.status_code} {answer.text}")
        eventually("the server's stop", lambda: self.name not in {s.name for s in self.user.servers(self.owner)})

    # --- use

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Request a path of the server; any error status fails the test."""
        answer = self.user.request(method, self.path + path, **options)
        if not answer.ok:
            raise AssertionError(f"{method} {self.path}{path}: {answer.status_code} {answer.text[:500]}")
        return answer

    def write(self, path: str, text: str) -> None:
        """Save a text file through the contents API."""
        self.request("PUT", f"api/contents/{path}", json={"type": "file", "format": "text", "content": text})

    def read(self, path: str) -> str:
        """Read a text file through the contents API."""
        return str(self.request("GET", f"api/contents/{path}?type=file&format=text&content=1").json()["content"])

    def kernel(self, running: str = "") -> Kernel:
        """Start a Python kernel and connect to it, or connect to the running one with this id."""
        return Kernel(self, running)

    def run(self, code: str) -> Output:
        """Run one cell in a new kernel, which is shut down afterwards."""
        with self.kernel() as kernel:
            return kernel.execute(code)

    def terminal(self) -> Terminal:
        """Open a terminal."""
        return Terminal(self)


@dataclass
class Output:
    """What a cell showed."""

    stdout: str = ""
    stderr: str = ""
    result: str = ""
    media_types: set[str] = field(default_factory=set)
    error: str = ""

    def add(self, kind: str, content: dict[str, Any]) -> None:
        """Add a message of the kernel's output channel."""
        if kind == "stream":
            setattr(self, content["name"], getattr(self, content["name"]) + content["text"])
        elif kind in ("execute_result", "display_data"):
            self.media_types |= content["data"].keys()
            if kind == "execute_result":
                self.result = content["data"].get("text/plain", "")
        elif kind == "error":
            self.error = f"{content['ename']}: {content['evalue']}"


class Kernel:
    """A Python kernel, over jupyter_server's websocket (the JSON protocol)."""

    def __init__(self, server: Server, running: str = "") -> None:
        self.server = server
        self.session = uuid.uuid4().hex
        self.id = running or str(server.request("POST", "api/kernels", json={"name": "python3"}).json()["id"])
        self.socket = self._connect()

    def _connect(self) -> Websocket:
        path = f"{self.server.path}api/kernels/{self.id}/channels?session_id={self.session}"
        return self.server.user.websocket(path)

    def reconnect(self) -> None:
        """Connect to the same kernel again, as a page does when its connection broke."""
        self.socket.close()
        self.socket = self._connect()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.server.user.request("DELETE", f"{self.server.path}api/kernels/{self.id}")

    def send(self, code: str) -> str:
        """Send a cell; return the id of the message, which is the parent of the replies."""
        message = {
            "channel": "shell",
            "header": {
                "msg_id": uuid.uuid4().hex,
                "msg_type": "execute_request",
                "session": self.session,
                "username": self.server.user.name,
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        }
        self.socket.send(json.dumps(message))
        return str(message["header"]["msg_id"])  # type: ignore[index]

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """Return the next message.

        Raises:
            TimeoutError: no message arrived within `timeout_s` seconds.
            websockets.ConnectionClosed: the connection broke.
        """
        while True:
            frame = self.socket.recv(timeout_s)
            # Binary messages belong to widgets.
            if isinstance(frame, str):
                message: dict[str, Any] = json.loads(frame)
                return message

    def execute(self, code: str) -> Output:
        """Run a cell, and wait for its end and for all of its output.

        Raises:
            AssertionError: the cell raised.
        """
        message_id, output, awaited = self.send(code), Output(), {"execute_reply", "idle"}
        while awaited:
            message = self.receive()
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            output.add(kind, content)
            awaited -= {kind, content.get("execution_state", "")}
        if output.error:
            raise AssertionError(f"the cell raised {output.error}\n{output.stdout}{output.stderr}")
        return output


class Terminal:
    """A terminal, as in JupyterLab."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = str(server.request("POST", "api/terminals").json()["name"])
        self.socket = server.user.websocket(f"{server.path}terminals/websocket/{self.name}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.server.user.request("DELETE", f"{self.server.path}api/terminals/{self.name}")

    def run(self, command: str) -> str:
        """Run a command, and wait for its end.

        Raises:
            AssertionError: it failed.
        """
        # The shell joins the parts of the end mark: the echo of this line does not contain it.
        end = uuid.uuid4().hex[:8]
        self.socket.send(json.dumps(["stdin", f"{command}; printf '%s:%s:%s\\n' done {end} $?\r"]))
        shown = ""
        deadline = time.monotonic() + 2 * TIMEOUT_S
        while not (match := re.search(rf"done:{end}:(\d+)", shown)):
            kind, *text = json.loads(self.socket.recv(max(0.1, deadline - time.monotonic())))
            shown += text[0] if kind == "stdout" else ""
        if match[1] != "0":
            raise AssertionError(f"{command}: exit code {match[1]}\n{shown}")
        return shown
