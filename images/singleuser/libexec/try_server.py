#!/opt/jupyter/bin/python
"""Start the server, run a cell, open marimo: a build's test of its image."""

import asyncio
import hmac
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jupyterhub
import jupyterhub_lean
import requests
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

HOST, BASE = "127.0.0.1:8888", "/user/trial/"
TOKEN = uuid.uuid4().hex
AUTHORIZATION = {"Authorization": f"token {TOKEN}"}
NONCE = "0123456789abcdef" * 4
ACCESS = ["access:servers!server=trial/"]
# Parts that a server starts without, by a package whose compiled library would show in the process's memory map.
UNUSED = {"sqlalchemy": "the Hub's database layer", "pycrdt": "collaboration", "charset_normalizer": "requests"}

# Packages whose server extensions would replace parts of a server, and what that means (the Hub's rules/packages.py).
REFUSED = {
    "jupyter_server_documents": "replaces live collaboration by a backend that has lost notebooks (jupyter-ai needs it"
    " before 3.2: take jupyter-ai>=3.2)."
}


class Hub(BaseHTTPRequestHandler):
    """The Hub's API, as far as a server uses it."""

    def do_GET(self) -> None:
        """Answer with the Hub's version, or with the token's user."""
        user = {"kind": "user", "name": "trial", "admin": False, "groups": [], "scopes": ACCESS, "session_id": None}
        self._answer(user if self.path.endswith("/user") else {"version": jupyterhub.__version__})

    def do_POST(self) -> None:
        """Accept activity reports."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({})

    def _answer(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Do not log."""


def environment(hub: str) -> dict[str, str]:
    """Return a server's environment, as JupyterHub's spawner makes it."""
    return {
        **os.environ,
        "JUPYTERHUB_API_TOKEN": TOKEN,
        "JUPYTERHUB_API_URL": f"{hub}/hub/api",
        "JUPYTERHUB_ACTIVITY_URL": f"{hub}/hub/api/users/trial/activity",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-trial",
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{BASE}oauth_callback",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps(ACCESS),
        "JUPYTERHUB_OAUTH_SCOPES": json.dumps(ACCESS),
        "JUPYTERHUB_SERVICE_PREFIX": BASE,
        "JUPYTERHUB_SERVICE_URL": f"http://{HOST}{BASE}",
        "JUPYTERHUB_USER": "trial",
    }


def ask(method: str, path: str) -> requests.Response:
    """Send a request to the server and return its answer, which must be a success."""
    answer = requests.request(method, f"http://{HOST}{BASE}{path}", headers=AUTHORIZATION, timeout=60)
    answer.raise_for_status()
    return answer


def wait_for_server(seconds: float) -> None:
    """Return when the server answers.

    Raises:
        requests.ConnectionError: it does not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            ask("GET", "api")
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def output_of(code: str) -> str:
    """Return what a notebook cell prints."""
    kernel = ask("POST", "api/kernels").json()["id"]
    channels = await websocket_connect(
        HTTPRequest(f"ws://{HOST}{BASE}api/kernels/{kernel}/channels", headers=AUTHORIZATION)
    )
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
    request: dict[str, Any] = {
        "channel": "shell",
        "header": {**header, "session": "", "username": ""},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
    }
    await channels.write_message(json.dumps(request))
    printed = ""
    while (message := await channels.read_message()) is not None:
        said = json.loads(message)
        if said["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        if said["msg_type"] == "stream":
            printed += said["content"]["text"]
        # Not the reply: on its other channel, it may arrive before the output.
        if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
            return printed
    sys.exit("The kernel's websocket was closed.")


def check_lean(server: int, log: str) -> None:
    """Check that the server did not load unused parts, directly or in another way.

    Only for the base image: an image built on it may need them, for example for an extension with a database.
    """
    if not os.environ["VIRTUAL_ENV"].endswith("/envs/base-py3.13"):
        return
    for message in (jupyterhub_lean.SAYS_FULL, jupyterhub_lean.SAYS_LATE):
        if message in log:
            sys.exit(f"Fix or remove jupyterhub_lean: the server {message}.")
    loaded = Path(f"/proc/{server}/maps").read_text()
    for package, of_what in UNUSED.items():
        if f"/{package}/" in loaded:
            sys.exit(f"A server should start without {of_what} (jupyterhub_lean), but it loaded {package}.")


def check_packages(find: Callable[[str], object] = find_spec) -> None:
    """Check that no package was brought along that must not be loaded."""
    for package, why in REFUSED.items():
        if find(package):
            sys.exit(f"Remove the package {package.replace('_', '-')}: it {why}")


def use() -> None:
    """Use the server as the Hub and a user do."""
    wait_for_server(60)
    printed = asyncio.run(asyncio.wait_for(output_of("import sys; print(sys.prefix)"), 60))
    if printed.strip() != os.environ["VIRTUAL_ENV"]:
        sys.exit(f"A cell should run in the user's virtual environment, but printed {printed!r}.")
    ask("GET", "marimo/")
    # Needed for culling.
    ask("GET", "jupyterhub-idle")
    # Needed for the Hub to consider a server ready.
    challenge = f"http://{HOST}{BASE}api/jupyterhub-challenge?nonce={NONCE}"
    if (
        requests.get(challenge, timeout=60).json()["hmac"]
        != hmac.digest(TOKEN.encode(), NONCE.encode(), "sha256").hex()
    ):
        sys.exit("The server does not prove that it has the Hub's token.")


def main() -> None:
    """Run the test; an exception means failure."""
    check_packages()
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as hub, tempfile.TemporaryFile("w+") as log:
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        server = subprocess.Popen(
            ["entrypoint", "jupyterhub-singleuser"],
            env=environment(f"http://127.0.0.1:{hub.server_port}"),
            stderr=log,
        )
        try:
            use()
            log.seek(0)
            check_lean(server.pid, log.read())
        finally:
            server.terminate()
            server.wait(60)
            log.seek(0)
            print(log.read(), file=sys.stderr)
            hub.shutdown()


if __name__ == "__main__":
    main()
