#!/opt/jupyter/bin/python
"""Start the server, run a cell, open marimo: a build tries its image with this."""

import asyncio
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import uuid
from typing import Any

import requests
from tornado.websocket import websocket_connect

HOST = "127.0.0.1:8888"
TOKEN = uuid.uuid4().hex
NONCE = "0123456789abcdef" * 4
SERVER = ["entrypoint", "jupyter-lab", "--no-browser", "--ip=127.0.0.1", "--port=8888", f"--ServerApp.token={TOKEN}"]


def ask(method: str, path: str) -> requests.Response:
    """Send a request to the server and return its answer, which must be a success."""
    answer = requests.request(method, f"http://{HOST}{path}", headers={"Authorization": f"token {TOKEN}"}, timeout=60)
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
            ask("GET", "/api")
        except requests.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


async def output_of(code: str) -> str:
    """Return what a notebook cell prints."""
    kernel = ask("POST", "/api/kernels").json()["id"]
    channels = await websocket_connect(f"ws://{HOST}/api/kernels/{kernel}/channels?token={TOKEN}")
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
        if said["msg_type"] == "execute_reply":
            return printed
    sys.exit("The kernel's websocket was closed.")


def main() -> None:
    """Try it all; an exception is the answer no."""
    # As the Hub gives it to a server, which is to prove by it who it is.
    server = subprocess.Popen(SERVER, env={**os.environ, "JUPYTERHUB_API_TOKEN": TOKEN})
    try:
        wait_for_server(60)
        printed = asyncio.run(asyncio.wait_for(output_of("import sys; print(sys.prefix)"), 60))
        if printed.strip() != os.environ["VIRTUAL_ENV"]:
            sys.exit(f"A cell was to run in the user's environment, and printed {printed!r}.")
        ask("GET", "/marimo/")
        # Without it nobody would know when the server was in use.
        ask("GET", "/jupyterhub-idle")
        # Else the Hub would wait for every server in vain.
        proof = requests.get(f"http://{HOST}/api/jupyterhub-challenge?nonce={NONCE}", timeout=60).json()["hmac"]
        if proof != hmac.new(TOKEN.encode(), NONCE.encode(), hashlib.sha256).hexdigest():
            sys.exit("The server does not prove that it has the Hub's token.")
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
