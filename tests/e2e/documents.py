"""Two people edit notebooks while what can go wrong does; runs inside an image of users' servers.

usage: python - [cut_off DELAY_S CUT_S ROUNDS | typed_before_kill TYPING_S ROUNDS] < documents.py

Without arguments: all scenarios, with the delivered settings.  Otherwise: only that of a page that is cut off for so
long, while documents stay in memory for DELAY_S after their last page; or only that of a server that is killed after
two have typed for so long.  Prints what was seen, as a line of JSON for each scenario.  A page is its document alone
(pycrdt), without a browser: it has a shared history, and edits of its own while it is cut off, as a laptop that sleeps.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from http.server import ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import requests

sys.path.insert(0, "/opt/jupyter/libexec")
try_server: Any = import_module("try_server")
pycrdt: Any = import_module("pycrdt")
jupyter_ydoc: Any = import_module("jupyter_ydoc")
websocket: Any = import_module("tornado.websocket")
httpclient: Any = import_module("tornado.httpclient")

SYNC, ANSWER, RAW = 0, 1, 2
"""Types of messages (https://github.com/yjs/y-protocols/blob/master/PROTOCOL.md; RAW: jupyter_server_ydoc)."""
REFUSED = 1003
"""Close code (RFC 6455, 7.4.1)."""
FULL = Path("/full")
"""The test mounts a file system of a few MB here."""
SAVED_S = 3
EDITS = 200
TYPING_S = 5
KEYSTROKE_S = 0.05
AFTER_THE_CUT = [
    ("one", "one while-asleep"),
    ("two", "two before from-git"),
    ("three", "three meanwhile again"),
    *((name, name) for name in ("added-while-asleep", "added-meanwhile", "added-by-git")),
]


def cell(name: str, source: str = "") -> dict[str, Any]:
    # With output: such a cell is replaced as a whole if another program changes it.
    outputs = [{"name": "stdout", "output_type": "stream", "text": ["1\n"]}]
    return {
        "cell_type": "code",
        "execution_count": 1,
        "id": name,
        "metadata": {},
        "outputs": outputs,
        "source": source or name,
    }


class Server:
    """A workspace's server in a new home, and a Hub that it asks."""

    def __init__(self, hub: str, home: Path, log: IO[str], *arguments: str) -> None:
        self.home, self.log, self.arguments = home, log, arguments
        self.environment = {**try_server.environment(hub), "HOME": str(home), "JUPYTERHUB_COLLABORATION": "1"}
        self.environment["JUPYTERHUB_VERSIONS"] = '{"per_file": 120, "mb": 200}'

    def start(self) -> None:
        command = ["entrypoint", "jupyterhub-singleuser", *self.arguments]
        self.process = subprocess.Popen(command, env=self.environment, cwd=self.home, stdout=self.log, stderr=self.log)
        try_server.wait_for_server(60)

    def end(self, *, kill: bool = False) -> float:
        """Stop, or kill -9; return how long it took."""
        began = time.monotonic()
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(60)
        return time.monotonic() - began

    def write(self, name: str, cells: list[dict[str, Any]]) -> None:
        """Write a notebook as another program does."""
        kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
        content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        (self.home / name).write_text(json.dumps(content, indent=1))

    def read(self, name: str) -> list[dict[str, Any]]:
        """Return the cells in the file; it may be being written."""
        for _ in range(100):
            try:
                cells: list[dict[str, Any]] = json.loads((self.home / name).read_text())["cells"]
            except ValueError:
                time.sleep(0.01)
            else:
                return [{**each, "source": "".join(each["source"])} for each in cells]
        raise AssertionError(f"{name} is damaged")


class Page:
    """An open notebook."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.notebook = jupyter_ydoc.YNotebook()
        self.session: dict[str, str] = {}
        self.socket: Any = None
        self.receiving = False
        self.dialogs: list[str] = []
        """Why JupyterLab would have asked the person what to do."""
        self.subscription = self.notebook.ydoc.observe(self._changed)

    def _changed(self, event: Any) -> None:
        if self.socket and not self.receiving:
            self.socket.write_message(pycrdt.create_update_message(event.update), binary=True)

    async def connect(self) -> None:
        """Open the connection, for the first time or again; return when both sides have the same."""
        if not self.session:
            url = f"http://{try_server.HOST}{try_server.BASE}api/collaboration/session/{self.name}"
            body = {"format": "json", "type": "notebook"}
            answer = await asyncio.to_thread(requests.put, url, json=body, headers=try_server.AUTHORIZATION, timeout=60)
            answer.raise_for_status()
            self.session = answer.json()
        room = f"json:notebook:{self.session['fileId']}?sessionId={self.session['sessionId']}"
        self.socket = await websocket.websocket_connect(
            httpclient.HTTPRequest(
                f"ws://{try_server.HOST}{try_server.BASE}api/collaboration/room/{room}",
                headers=try_server.AUTHORIZATION,
            )
        )
        self.synchronized = asyncio.Event()
        self.socket.write_message(pycrdt.create_sync_message(self.notebook.ydoc), binary=True)
        self.task = asyncio.create_task(self._receive(self.socket))
        await asyncio.wait_for(self.synchronized.wait(), 60)

    async def _receive(self, socket: Any) -> None:
        while (message := await socket.read_message()) is not None:
            if message[0] == RAW and b'"conflict"' in message:
                self.dialogs.append("conflict")
            if message[0] != SYNC:
                continue
            self.receiving = True
            try:
                reply = pycrdt.handle_sync_message(message[1:], self.notebook.ydoc)
            finally:
                self.receiving = False
            if reply is not None:
                await socket.write_message(reply, binary=True)
            if message[1] == ANSWER:
                self.synchronized.set()
        if socket.close_code == REFUSED:
            self.dialogs.append(str(socket.close_reason))

    def cut(self) -> None:
        """Lose the connection."""
        self.socket.close()
        self.socket = None

    def type(self, number: int, text: str) -> None:
        source = self.notebook.ycells[number]["source"]
        source += text

    def add(self, name: str) -> None:
        self.notebook.append_cell(cell(name))

    def cells(self) -> list[tuple[str, str]]:
        return [(each["id"], each["source"]) for each in self.notebook.get(deduplicate=False)["cells"]]


def in_file(server: Server, name: str) -> list[tuple[str, str]]:
    return [(each["id"], each["source"]) for each in server.read(name)]


async def interleaved(server: Server) -> dict[str, Any]:
    """Many edits by two, in the same cells."""
    server.write("interleaved.ipynb", [cell("one", "1"), cell("two", "2")])
    pages = Page("interleaved.ipynb"), Page("interleaved.ipynb")
    for page in pages:
        await page.connect()
    for number in range(EDITS):
        pages[number % 2].type(number // 2 % 2, f" {number:03}")
        # Sometimes before the other one's edit has arrived.
        await asyncio.sleep(0.003 * (number % 5))
    await asyncio.sleep(SAVED_S)
    contents = [page.cells() for page in pages]
    for page in pages:
        page.cut()
    text = " ".join(source for _, source in contents[0])
    return {
        "same": contents[0] == contents[1] == in_file(server, "interleaved.ipynb"),
        "missing": [number for number in range(EDITS) if text.count(f"{number:03}") != 1],
        "cells": [name for name, _ in contents[0]],
    }


async def typed_before_kill(server: Server, name: str = "killed.ipynb", typing_s: float = TYPING_S) -> dict[str, Any]:
    """Two type without pause when the server is killed."""
    server.write(name, [cell("one", "1"), cell("two", "2")])
    pages = Page(name), Page(name)
    for page in pages:
        await page.connect()
    typed: list[float] = []
    end = time.monotonic() + typing_s
    while time.monotonic() < end:
        for at, page in enumerate(pages):
            page.type(at, f" {len(typed):03}")
        typed.append(time.monotonic())
        await asyncio.sleep(KEYSTROKE_S)
    killed = time.monotonic()
    server.end(kill=True)

    def lost_s(cells: list[tuple[str, str]]) -> float:
        """Return for how long somebody had typed what is missing."""
        there = min(source.count(" ") for _, source in cells)
        return round(killed - typed[there], 2) if there < len(typed) else 0.0

    unsaved_s = lost_s(in_file(server, name))
    server.start()
    late = Page(name)
    await late.connect()
    await asyncio.sleep(SAVED_S)
    contents = late.cells()
    same = contents == in_file(server, name)
    # They come back with all that they typed.
    for page in pages:
        await page.connect()
    await asyncio.sleep(SAVED_S)
    keys = "".join(f" {number:03}" for number in range(len(typed)))
    whole = [("one", f"1{keys}"), ("two", f"2{keys}")]
    returned = all(page.cells() == whole for page in (*pages, late)) and in_file(server, name) == whole
    for page in (*pages, late):
        page.cut()
    seen = {"strokes": len(typed), "unsaved_s": unsaved_s, "lost_s": lost_s(contents), "same": same}
    return {**seen, "returned": returned, "dialogs": [each for page in (*pages, late) for each in page.dialogs]}


async def cut_off(server: Server, name: str, cut_s: float) -> dict[str, Any]:
    """One page sleeps while the other one edits and leaves, git writes the file, and the server is killed."""
    server.write(name, [cell("one"), cell("two"), cell("three")])
    asleep, awake = Page(name), Page(name)
    await asleep.connect()
    await awake.connect()
    asleep.type(1, " before")
    await asyncio.sleep(SAVED_S)
    asleep.cut()
    asleep.type(0, " while-asleep")
    asleep.add("added-while-asleep")
    awake.type(2, " meanwhile")
    awake.add("added-meanwhile")
    await asyncio.sleep(SAVED_S)
    awake.cut()
    await asyncio.sleep(cut_s)
    # Somebody opens the file again, which loads the document from the store if it is not in memory any more.
    again = Page(name)
    await again.connect()
    again.type(2, " again")
    await asyncio.sleep(SAVED_S)
    again.cut()
    cells = server.read(name)
    cells[1]["source"] += " from-git"
    server.write(name, [*cells, cell("added-by-git")])
    server.end(kill=True)
    server.start()
    fresh = Page(name)
    await fresh.connect()
    await asleep.connect()
    await asyncio.sleep(SAVED_S)
    same = fresh.cells() == asleep.cells() == in_file(server, name)
    fresh.cut()
    asleep.cut()
    cells_now = fresh.cells()
    return {
        "same": same,
        "cells": cells_now,
        "missing": [expected for expected in AFTER_THE_CUT if expected not in cells_now],
        "doubled": len(cells_now) - len({name for name, _ in cells_now}),
        "dialogs": [each for page in (asleep, awake, again, fresh) for each in page.dialogs],
    }


async def condensed(server: Server, quiet_s: float) -> dict[str, Any]:
    """A document is changed after its history was condensed, and the server is killed."""
    server.write("condensed.ipynb", [cell("one"), cell("two")])
    page, fresh = Page("condensed.ipynb"), Page("condensed.ipynb")
    await page.connect()
    page.type(0, " first")
    await asyncio.sleep(quiet_s)
    page.type(0, " later")
    await asyncio.sleep(SAVED_S)
    server.end(kill=True)
    server.start()
    await fresh.connect()
    await page.connect()
    await asyncio.sleep(SAVED_S)
    contents = fresh.cells(), page.cells()
    fresh.cut()
    page.cut()
    return {"same": contents[0] == contents[1] == in_file(server, "condensed.ipynb"), "cells": contents[0]}


async def stopped(server: Server) -> dict[str, Any]:
    """The server stops right after a keystroke, while a page does not answer."""
    server.write("stopped.ipynb", [cell("one")])
    page = Page("stopped.ipynb")
    await page.connect()
    page.type(0, " last")
    await asyncio.sleep(0.1)
    # The event loop of the pages waits meanwhile.
    took = server.end()
    return {"cells": in_file(server, "stopped.ipynb"), "took_s": round(took, 1)}


async def brought_back(server: Server) -> dict[str, Any]:
    """A version is brought back while two have the notebook open."""
    server.write("back.ipynb", [cell("one"), cell("two")])
    pages = Page("back.ipynb"), Page("back.ipynb")
    for page in pages:
        await page.connect()
    pages[0].type(0, " good")
    await asyncio.sleep(SAVED_S)
    pages[0].type(0, " bad")
    pages[1].type(1, " bad")
    await asyncio.sleep(SAVED_S)
    listed = await asyncio.to_thread(try_server.ask, "GET", "jupyterhub-versions/back.ipynb")
    url = f"http://{try_server.HOST}{try_server.BASE}jupyterhub-versions/back.ipynb"
    body = {"version": listed.json()["versions"][1]["name"]}
    answer = await asyncio.to_thread(requests.post, url, json=body, headers=try_server.AUTHORIZATION, timeout=60)
    answer.raise_for_status()
    await asyncio.sleep(SAVED_S)
    pages[0].type(1, " and on")
    await asyncio.sleep(SAVED_S)
    contents = [page.cells() for page in pages]
    for page in pages:
        page.cut()
    return {"same": contents[0] == contents[1] == in_file(server, "back.ipynb"), "cells": contents[0]}


async def full_home(server: Server) -> dict[str, Any]:
    """The home is full before the server starts; later a member makes room, and stops the server."""
    server.write("full.ipynb", [cell("one")])
    server.start()
    # Its keys are in the home.
    try_server.ask("GET", "api/contents/full.ipynb")
    server.end()
    with suppress(OSError), (FULL / "big").open("wb", buffering=0) as big:
        while big.write(b"x" * 4096):
            pass
    server.start()
    pages = Page("full.ipynb"), Page("full.ipynb")
    for page in pages:
        await page.connect()
    pages[0].type(0, " typed")
    await asyncio.sleep(SAVED_S)
    seen = {"seen": pages[1].cells(), "before": in_file(server, "full.ipynb")}
    (FULL / "big").unlink()
    server.end()
    return {**seen, "after": in_file(server, "full.ipynb")}


async def everything(server: Server) -> None:
    show("cut_off", await cut_off(server, "cut.ipynb", 0))
    for each in (interleaved, brought_back, typed_before_kill, stopped):
        show(each.__name__, await each(server))


async def cuts(server: Server, delay_s: float, cut_s: float, rounds: int) -> None:
    for number in range(rounds):
        show("cut_off", await cut_off(server, f"cut-{number}.ipynb", cut_s))
    show("condensed", await condensed(server, delay_s + SAVED_S))


async def kills(server: Server, typing_s: float, rounds: int) -> None:
    for number in range(rounds):
        show("typed_before_kill", await typed_before_kill(server, f"killed-{number}.ipynb", typing_s))


def show(scenario: str, seen: dict[str, Any]) -> None:
    print(json.dumps({"scenario": scenario, **seen}), flush=True)


def main(scenario: str = "", *numbers: str) -> None:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), try_server.Hub) as hub,
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryFile("w+") as log,
    ):
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        # Its history is condensed as soon as it leaves the memory.
        traits = ("YDocExtension.document_cleanup_delay", "SQLiteYStore.squash_after_inactivity_of")
        delays = [f"--{trait}={numbers[0]}" for trait in traits] if scenario == "cut_off" else []
        address = f"http://127.0.0.1:{hub.server_port}"
        server = Server(address, Path(home), log, *delays)
        server.start()
        try:
            if scenario == "cut_off":
                delay_s, cut_s, rounds = numbers
                asyncio.run(cuts(server, float(delay_s), float(cut_s), int(rounds)))
            elif scenario == "typed_before_kill":
                typing_s, rounds = numbers
                asyncio.run(kills(server, float(typing_s), int(rounds)))
            else:
                asyncio.run(everything(server))
                server = Server(address, FULL, log)
                show("full_home", asyncio.run(full_home(server)))
        except BaseException:
            log.seek(0)
            print(log.read(), file=sys.stderr)
            raise
        finally:
            if server.process.poll() is None:
                server.end(kill=True)
            hub.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
