"""Whether a marimo notebook is running, with a stand-in for marimo and handlers as from jupyter-server-proxy."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_idle.marimo import Marimo
from tornado.httpclient import HTTPError
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.web import HTTPError as PageError

BASE_URL = "/user/alice/"
TOKEN = "Basic marimo"


def proxied(name: str, state: dict[str, Any] | None) -> tuple[Any, ...]:
    """A route as from ServerProcess.make_proxy_handler, with the arguments of its handlers."""
    attributes = {"name": name, "update_last_activity": True, "request_headers_override": {"Authorization": TOKEN}}

    class Proxy(RequestHandler):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for attribute, value in attributes.items():
                setattr(self, attribute, value)

        def initialize(self, state: Any) -> None:
            pass

    arguments = () if state is None else ({"state": state},)
    return attributes, (f"{BASE_URL}{name}/(.*)", Proxy, *arguments)


def jupyter(*routes: Any) -> Application:
    app = Application()
    app.add_handlers(".*$", [*routes, (f"{BASE_URL}api", RequestHandler)])
    return app


def asked(kernels: dict[str, str], check: Callable[[int], Awaitable[None]], status: int = 200) -> None:
    """Run marimo's stand-in, with these sessions and what their kernels do."""

    class Api(RequestHandler):
        def get(self, path: str) -> None:
            assert self.request.headers["Authorization"] == TOKEN
            self.set_status(status)
            if path == "sessions":
                self.finish({session: {"filename": "a.py"} for session in kernels})
            else:
                assert path == "kernel/status"
                self.finish({"state": kernels[self.request.headers["Marimo-Session-Id"]]})

    async def run() -> None:
        socket, port = bind_unused_port()
        server = HTTPServer(Application([(f"{BASE_URL}marimo/api/(.*)", Api)]))
        server.add_socket(socket)
        await check(port)
        server.stop()

    asyncio.run(run())


def running_at(port: int, *, running: bool = True) -> Marimo:
    _, route = proxied("marimo", {"proc": SimpleNamespace(running=running), "port": port})
    return Marimo(jupyter(route), BASE_URL)


@pytest.mark.parametrize(
    ("kernels", "runs"),
    [({}, False), ({"a": "idle", "b": "stopped"}, False), ({"a": "idle", "b": "running"}, True)],
)
def test_any_running_session_counts(kernels: dict[str, str], runs: bool) -> None:
    async def check(port: int) -> None:
        assert await running_at(port).is_running() is runs

    asked(kernels, check)


def test_a_marimo_that_has_ended_or_was_never_started_is_not_asked() -> None:
    async def check(port: int) -> None:
        assert not await running_at(1, running=False).is_running()
        for state in ({}, {"proc": "process not managed by jupyter-server-proxy"}):
            _, route = proxied("marimo", state)
            assert not await Marimo(jupyter(route), BASE_URL).is_running()

    asked({}, check)


def test_another_answer_is_an_error() -> None:
    async def check(port: int) -> None:
        with pytest.raises(HTTPError):
            await running_at(port).is_running()

    asked({"a": "running"}, check, status=401)


def test_requests_to_marimo_do_not_count_before_it_is_started_but_others_do() -> None:
    # Nothing is known of its process yet.
    marimo, route = proxied("marimo", {})
    other, other_route = proxied("rstudio", {})
    fixed, fixed_route = proxied("proxy", None)
    Marimo(jupyter(other_route, route, fixed_route), BASE_URL).discount_pages()
    assert not marimo["update_last_activity"]
    assert other["update_last_activity"]
    assert fixed["update_last_activity"]


@pytest.mark.parametrize(
    ("code", "kind", "accept", "body", "message"),
    [
        (404, "application/json", "text/html,*/*", b'{"detail": "File a.py not found"}', "File a.py not found"),
        (500, "application/json; charset=utf-8", "text/html", b'["100 %"]', '["100 %"]'),
        (404, "application/json", "*/*", b"{}", None),
        (404, "text/html", "text/html", b"a page of its own", None),
        (200, "application/json", "text/html", b"{}", None),
    ],
)
def test_errors_of_marimo_are_pages_where_a_browser_expects_one(
    code: int, kind: str, accept: str, body: bytes, message: str | None
) -> None:
    marimo, route = proxied("marimo", {})
    Marimo(jupyter(route), BASE_URL).show_errors()
    response = SimpleNamespace(code=code, headers={"Content-Type": kind}, body=body)
    request = SimpleNamespace(headers={"Accept": accept})
    if message is None:
        marimo["rewrite_response"](response, request)
        return
    with pytest.raises(PageError) as raised:
        marimo["rewrite_response"](response, request)
    assert raised.value.status_code == code
    # As jupyter_server formats it for its page.
    assert raised.value.log_message
    assert raised.value.log_message % raised.value.args == message
