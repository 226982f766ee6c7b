"""A user of marimo, over HTTP and its websocket; marimo runs behind marimo-jupyter-extension."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import requests
from e2e.client import TIMEOUT_S, Server
from e2e.websocket import Websocket


class Marimo:
    """marimo, proxied by the user's server."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def open(self) -> requests.Response:
        """Open marimo's start page, which starts marimo."""
        return self.server.request("GET", "marimo/")

    def run(self, path: str, *cells: str) -> list[str]:
        """Create a notebook with these cells, run it, and return each cell's output followed by its console."""
        socket, cell_ids = self.begin(path, *cells)
        shown = dict.fromkeys(cell_ids, "")
        with socket:
            for message in self._messages(socket, "completed-run"):
                if message["op"] == "cell-op":
                    shown[message["data"]["cell_id"]] += "".join(self._texts(message["data"]))
        return list(shown.values())

    def begin(self, path: str, *cells: str) -> tuple[Websocket, list[str]]:
        """Create a notebook with these cells and start running it; return its open websocket and the cells' ids."""
        body = "".join(
            "\n@app.cell\ndef _():\n" + "".join(f"    {line}\n" for line in cell.splitlines()) + "    return\n"
            for cell in cells
        )
        self.server.write(
            path, f"import marimo\n\napp = marimo.App()\n{body}\nif __name__ == '__main__':\n    app.run()\n"
        )
        self.open()
        session, socket, cell_ids = self._session(path)
        self._ask("kernel/instantiate", session, {"objectIds": [], "values": [], "autoRun": True})
        return socket, cell_ids

    def save(self, path: str, *cells: str) -> None:
        """Open a notebook of this many cells, replace their code, and save it."""
        session, socket, cell_ids = self._session(path)
        with socket:
            changed = {"cellIds": cell_ids, "codes": cells, "names": ["_"] * len(cells), "configs": [{}] * len(cells)}
            self._ask("kernel/save", session, {**changed, "filename": path, "persist": True})

    def _session(self, path: str) -> tuple[str, Websocket, list[str]]:
        session = f"s_{uuid.uuid4().hex[:6]}"
        socket = self.server.user.websocket(f"{self.server.path}marimo/ws?session_id={session}&file={quote(path)}")
        return session, socket, self._messages(socket, "kernel-ready")[-1]["data"]["cell_ids"]

    def _ask(self, what: str, session: str, body: dict[str, Any]) -> None:
        self.server.request("POST", f"marimo/api/{what}", headers={"Marimo-Session-Id": session}, json=body)

    @staticmethod
    def _messages(socket: Websocket, last: str) -> list[dict[str, Any]]:
        """Read messages up to one of this kind."""
        messages: list[dict[str, Any]] = [{"op": ""}]
        while messages[-1]["op"] != last:
            messages.append(json.loads(socket.recv(TIMEOUT_S)))
        return messages

    @staticmethod
    def _texts(cell: dict[str, Any]) -> Iterator[str]:
        console = cell.get("console") or []
        for part in [cell.get("output"), *(console if isinstance(console, list) else [console])]:
            if part:
                yield part["data"] if isinstance(part["data"], str) else json.dumps(part["data"])
