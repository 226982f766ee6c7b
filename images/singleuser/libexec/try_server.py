#!/opt/jupyter/bin/python
"""Start the server, run a cell, open marimo: a build tries its image with this."""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
# What a server starts without, by a package of it whose compiled library shows in the memory map of the process.
UNUSED = {"sqlalchemy": "the Hub's database layer", "pycrdt": "collaboration", "charset_normalizer": "requests"}


class Hub(BaseHTTPRequestHandler):
    """What a server asks the Hub while it starts and is used."""

    def do_GET(self) -> None:
        """Answer with the Hub's release, or with whose the token is."""
        user = {"kind": "user", "name": "trial", "admin": False, "groups": [], "scopes": ACCESS, "session_id": None}
        self._answer(user if self.path.endswith("/user") else {"version": jupyterhub.__version__})

    def do_POST(self) -> None:
        """Take what the server does."""
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
        """Say nothing."""


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
        # The reply comes by another channel, on a busy machine before the output; this one comes after it.
        if said["msg_type"] == "status" and said["content"]["execution_state"] == "idle":
            return printed
    sys.exit("The kernel's websocket was closed.")


def check_lean(server: int, log: str) -> None:
    """See that the server got along without what it does not use, and that no part of that came by another way.

    What others build on this image may need it: a server's extension may have a database of its own.
    """
    if not os.environ["VIRTUAL_ENV"].endswith("/envs/base-py3.13"):
        return
    for words in (jupyterhub_lean.SAYS_FULL, jupyterhub_lean.SAYS_LATE):
        if words in log:
            sys.exit(f"jupyterhub_lean is to be mended, or to go: the server {words}.")
    loaded = Path(f"/proc/{server}/maps").read_text()
    for package, of_what in UNUSED.items():
        if f"/{package}/" in loaded:
            sys.exit(f"A server is to start without {of_what} (jupyterhub_lean), and has loaded {package}.")


def use() -> None:
    """Use the server as the Hub and a user do."""
    wait_for_server(60)
    printed = asyncio.run(asyncio.wait_for(output_of("import sys; print(sys.prefix)"), 60))
    if printed.strip() != os.environ["VIRTUAL_ENV"]:
        sys.exit(f"A cell was to run in the user's environment, and printed {printed!r}.")
    ask("GET", "marimo/")
    # Without it nobody would know when the server was in use.
    ask("GET", "jupyterhub-idle")
    # Else the Hub would wait for every server in vain.
    challenge = f"http://{HOST}{BASE}api/jupyterhub-challenge?nonce={NONCE}"
    if (
        requests.get(challenge, timeout=60).json()["hmac"]
        != hmac.digest(TOKEN.encode(), NONCE.encode(), "sha256").hex()
    ):
        sys.exit("The server does not prove that it has the Hub's token.")


def main() -> None:
    """Try it all; an exception is the answer no."""
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
