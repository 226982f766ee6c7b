"""GitHub over HTTP."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from github import api, control, flow
from github.keys import CONTROL_TOKEN, GITHUB, LOGIN
from github.pages import not_found, problem
from github.state import Asked, GitHub

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTROL = "/_control/"


@web.middleware
async def _log(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith(CONTROL):
        return await handler(request)
    status = 500
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    except web.HTTPException as error:
        status = error.status
        raise
    except asyncio.CancelledError:
        status = 499
        raise
    finally:
        asked = Asked(request.method, request.path, status, request.get(LOGIN))
        request.app[GITHUB].requests.append(asked)


@web.middleware
async def _break_down(request: web.Request, handler: Handler) -> web.StreamResponse:
    outage = request.app[GITHUB].outage
    if outage is None or request.path.startswith(CONTROL) or not request.path.startswith(outage.below):
        return await handler(request)
    await asyncio.sleep(outage.delay_s)
    if outage.status is None:
        return await handler(request)
    said = problem("Unicorn!", "No server is currently available to service your request.")
    return web.Response(status=outage.status, text=said, content_type="text/html")


@web.middleware
async def _not_found(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer requests without a route: in the API with JSON, elsewhere with a page."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        if request.match_info.http_exception is None:
            raise
        if request.path.startswith(("/api/v3/", "/user", "/orgs/", "/organizations/")):
            return api.not_found().answer()
        return web.Response(status=404, text=not_found(), content_type="text/html")


def application(github: GitHub, control_token: str = "") -> web.Application:
    """Return the web application; without a token, `/_control/` is closed."""
    app = web.Application(middlewares=[_log, _break_down, _not_found])
    app[GITHUB] = github
    app[CONTROL_TOKEN] = control_token
    app.add_routes([*flow.ROUTES, *api.ROUTES, *control.ROUTES])
    return app


async def listen(
    github: GitHub,
    address: str = "127.0.0.1",
    port: int = 0,
    control_token: str = "",
    https: tuple[Path, Path] | None = None,
) -> tuple[web.AppRunner, str]:
    """Start serving, at a free port if it is 0, by HTTPS with a certificate and its key; return the URL as well."""
    app = application(github, control_token)
    # A hanging request does not delay the shutdown.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    context = None
    if https:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*https)
    await web.TCPSite(runner, address, port, ssl_context=context).start()
    host = f"[{address}]" if ":" in address else address
    return runner, f"{'https' if https else 'http'}://{host}:{runner.addresses[0][1]}"


@contextmanager
def running(
    github: GitHub,
    address: str = "127.0.0.1",
    port: int = 0,
    control_token: str = "",
    https: tuple[Path, Path] | None = None,
) -> Iterator[str]:
    """Serve in a thread, and yield the URL; afterwards connections are refused, and the state stays."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        listening = listen(github, address, port, control_token, https)
        runner, url = asyncio.run_coroutine_threadsafe(listening, loop).result(timeout=10)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
