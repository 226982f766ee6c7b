#!/opt/jupyter/bin/python
"""Start the server, run a cell, open marimo: a build tries its image with this."""

import json
import subprocess
import sys
import time
import uuid
from typing import Any

import requests
import websocket

HOST = "127.0.0.1:8888"
TOKEN = uuid.uuid4().hex
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


def output_of(code: str) -> str:
    """Return what a notebook cell prints."""
    kernel = ask("POST", "/api/kernels").json()["id"]
    channels = websocket.create_connection(f"ws://{HOST}/api/kernels/{kernel}/channels?token={TOKEN}", timeout=60)
    header: dict[str, Any] = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "", "username": "", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    channels.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}))
    printed = ""
    while True:
        said = json.loads(channels.recv())
        if said["parent_header"].get("msg_id") != header["msg_id"]:
            continue
        printed += said["content"].get("text", "") if said["msg_type"] == "stream" else ""
        if said["msg_type"] == "execute_reply":
            return printed


def main() -> None:
    """Try it all; an exception is the answer no."""
    server = subprocess.Popen(SERVER)
    try:
        wait_for_server(60)
        if (printed := output_of("import sys; print(6 * 7, sys.prefix)")).split()[:1] != ["42"]:
            sys.exit(f"A cell was to print 42, and printed {printed!r}.")
        ask("GET", "/marimo/")
    finally:
        server.terminate()


if __name__ == "__main__":
    main()
