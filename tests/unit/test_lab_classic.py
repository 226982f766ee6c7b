"""Links of the classic notebook lead to JupyterLab, and nowhere else."""

import asyncio

import pytest
from jupyterhub_lab import classic
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

BASE = "/user/alice/"


@pytest.mark.parametrize(
    ("path", "query", "lab"),
    [
        ("tree", "", "lab"),
        ("tree/", "", "lab"),
        ("tree", "token=1&reset", "lab?token=1&reset"),
        ("tree/repo/.", "", "lab/tree/repo"),
        ("notebooks/a%20b/c%3Fd%23.ipynb", "x=%2F", "lab/tree/a%20b/c%3Fd%23.ipynb?x=%2F"),
        ("edit/caf%C3%A9.py", "", "lab/tree/caf%C3%A9.py"),
        # Raw bytes, as tornado passes them.
        ("edit/caf\u00c3\u00a9.py", "", "lab/tree/caf%C3%A9.py"),
        ("tree", "a=caf\u00c3\u00a9&b=%C3%A9[~'!|", "lab?a=caf%C3%A9&b=%C3%A9[~'!|"),
        ("view/plot.html", "", "lab/tree/plot.html"),
        ("nbclassic/notebooks/a.ipynb", "", "lab/tree/a.ipynb"),
        ("retro/tree", "", "lab"),
        ("terminals/1", "", "lab"),
        ("consoles/a.ipynb", "", "lab"),
        ("tree//evil.example", "", "lab/tree/evil.example"),
        ("tree/../../../hub/logout", "", "lab/tree/hub/logout"),
        ("tree/%2e%2E/.%2e/x", "", "lab/tree/x"),
        ("tree/..\\..\\x", "", "lab/tree/..%5C..%5Cx"),
        ("tree/..%2f..%2fx", "", "lab/tree/..%2f..%2fx"),
        ("tree/https://evil.example", "", "lab/tree/https:/evil.example"),
    ],
)
@pytest.mark.parametrize("base", [BASE, "/", "/hub/user/a%40b/second/"])
def test_where_a_link_leads(base: str, path: str, query: str, lab: str) -> None:
    assert classic.location(base, path, query) == base + lab


class Page(RequestHandler):
    def initialize(self, name: str) -> None:
        self._name = name

    def get(self, *_: str) -> None:
        self.finish(self._name)


def answers(*paths: str) -> list[str]:
    """Ask a server with a page of Jupyter's and one of an extension; return where it leads, or what it answers."""

    async def run() -> list[str]:
        app = Application([(f"{BASE}view/(.*)", Page, {"name": "jupyter"}), (".*", Page, {"name": "missing"})])
        classic.install(app, BASE)
        # As an extension that is loaded later.
        app.add_handlers(".*$", [(f"{BASE}notebooks(.*)", Page, {"name": "extension"})])
        socket, port = bind_unused_port()
        server = HTTPServer(app)
        server.add_socket(socket)
        found = []
        for path in paths:
            answer = await AsyncHTTPClient().fetch(
                f"http://127.0.0.1:{port}{path}", follow_redirects=False, raise_error=False
            )
            found.append(answer.headers.get("Location") or answer.body.decode())
        server.stop()
        return found

    return asyncio.run(run())


def test_raw_bytes_of_a_link_arrive_as_they_were_sent() -> None:
    async def ask() -> str:
        app = Application()
        classic.install(app, BASE)
        socket, port = bind_unused_port()
        server = HTTPServer(app)
        server.add_socket(socket)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {BASE}tree/é?x=é HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
        server.stop()
        return answer

    assert f"Location: {BASE}lab/tree/%C3%A9?x=%C3%A9\r\n" in asyncio.run(ask())


def test_only_pages_that_nothing_else_serves_are_redirected() -> None:
    assert answers(f"{BASE}tree/a%20b?c=d", f"{BASE}view/a.html", f"{BASE}notebooks/a.ipynb") == [
        f"{BASE}lab/tree/a%20b?c=d",
        f"{BASE}lab/tree/a.html",
        "extension",
    ]
    assert answers(f"{BASE}trees", f"{BASE}lab/tree/a", "/user/bob/tree") == ["missing"] * 3
