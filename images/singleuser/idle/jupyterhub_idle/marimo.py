"""Asks marimo whether a session is computing, by the API that its own command line tools use, and shows its errors.

marimo runs in a separate process behind jupyter-server-proxy, which counts every ping of an open page as activity, but
not what a notebook computes while its page is closed.
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.web import Application
from tornado.web import HTTPError as PageError

NAME = "marimo"
"""Name of the entry point in `jupyter_serverproxy_servers`, and so of the pages' path."""
_TIMEOUT_S = 5.0

Attributes = dict[str, Any]
State = Mapping[str, Any]


def _handlers(app: Application) -> Iterator[tuple[Attributes, State]]:
    """Yield the attributes of jupyter-server-proxy's handlers for marimo, and the state of its process.

    The attributes are not public: `ServerProcess.make_proxy_handler` sets them on each new handler.
    """
    for host in app.default_router.rules:
        for rule in getattr(host.target, "rules", []):
            state = (getattr(rule, "target_kwargs", None) or {}).get("state")
            # Empty until a page is opened.
            if state is not None:
                attributes = inspect.getclosurevars(rule.target.__init__).nonlocals.get("attributes", {})
                if attributes.get("name") == NAME:
                    yield attributes, state


class Marimo:
    """The marimo server of this Jupyter server; it starts with the first request to one of its pages."""

    def __init__(self, app: Application, base_url: str) -> None:
        self._app = app
        self._path = f"{base_url}{NAME}/api"

    def discount_pages(self) -> None:
        """Stop counting an open page as activity; what a user does in it shows in its requests."""
        for attributes, _ in _handlers(self._app):
            attributes["update_last_activity"] = False

    def show_errors(self) -> None:
        """Show marimo's errors on Jupyter's error page, which has a way back."""
        for attributes, _ in _handlers(self._app):
            attributes["rewrite_response"] = error_page

    async def is_running(self) -> bool:
        """Return whether a cell of any session runs or waits for its turn.

        Raises:
            OSError, HTTPError, ValueError: marimo does not answer, or not as expected.
        """
        for attributes, state in _handlers(self._app):
            # Otherwise no page was opened yet, or marimo has ended.
            if getattr(state.get("proc"), "running", False):
                url = f"http://localhost:{state['port']}{self._path}"
                headers = attributes["request_headers_override"]
                for session in await _ask(f"{url}/sessions", headers):
                    status = await _ask(f"{url}/kernel/status", {**headers, "Marimo-Session-Id": session})
                    if status.get("state") == "running":
                        return True
        return False


def error_page(response: Any, request: Any) -> None:
    """Raise an error for the JSON that marimo answers where a browser expects a page; see jupyter-server-proxy.

    Raises:
        PageError: with marimo's message.
    """
    answers_json = response.headers.get("Content-Type", "").startswith("application/json")
    expects_page = "text/html" in request.headers.get("Accept", "")
    if response.code >= HTTPStatus.BAD_REQUEST and answers_json and expects_page:
        try:
            detail = json.loads(response.body)["detail"]
        except (ValueError, KeyError, TypeError):
            detail = response.body.decode(errors="replace")
        raise PageError(response.code, "%s", detail)


async def _ask(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    request = HTTPRequest(url, headers=dict(headers), request_timeout=_TIMEOUT_S, connect_timeout=_TIMEOUT_S)
    answer = await AsyncHTTPClient().fetch(request, raise_error=False)
    if answer.code != HTTPStatus.OK:
        # Also if the session was just closed.
        answer.rethrow()
    found: dict[str, Any] = json.loads(answer.body)
    return found
