"""`/_control/`: lets a test in another process call the methods of `state.GitHub`, in JSON."""

from __future__ import annotations

import dataclasses
import hmac
import json
from typing import Any

from aiohttp import web

from github.keys import CONTROL_TOKEN, GITHUB

HEADER = "X-Control-Token"
METHODS = frozenset(
    {
        "add_organization",
        "add_team",
        "add_team_member",
        "add_user",
        "advance",
        "approve_app",
        "break_down",
        "change_client_secret",
        "count",
        "delete_user",
        "forget_requests",
        "issue_token",
        "limit_rate",
        "limit_secondarily",
        "recover",
        "register_app",
        "remove_member",
        "remove_team_member",
        "rename_user",
        "restrict_apps",
        "revoke_grants",
        "revoke_tokens",
        "set_member",
    }
)


def _plain(result: Any) -> Any:
    """Return a result in a form that JSON can represent."""
    if not dataclasses.is_dataclass(result) or isinstance(result, type):
        return result
    values = vars(result)
    return {name: value for name, value in values.items() if isinstance(value, str | int | bool | None)}


def _admit(request: web.Request) -> None:
    wanted = request.app[CONTROL_TOKEN]
    if not wanted or not hmac.compare_digest(wanted.encode(), request.headers.get(HEADER, "").encode()):
        raise web.HTTPForbidden(text=f"the header {HEADER} is missing or wrong\n")


async def call(request: web.Request) -> web.Response:
    """`POST /_control/<method>`: call a method with the arguments in the body, and return its result.

    404: no such method, account, team or app; 422: invalid arguments.
    """
    _admit(request)
    method = request.match_info["method"]
    if method not in METHODS:
        raise web.HTTPNotFound(text=f"there is no method {method}\n")
    body = await request.text()
    try:
        result = getattr(request.app[GITHUB], method)(**(json.loads(body) if body else {}))
    except LookupError as error:
        raise web.HTTPNotFound(text=f"{error.args[0]}\n") from None
    except (TypeError, ValueError) as error:
        raise web.HTTPUnprocessableEntity(text=f"{error}\n") from None
    return web.json_response(_plain(result))


async def requests(request: web.Request) -> web.Response:
    """`GET /_control/requests`: all requests since the start, or since `forget_requests`."""
    _admit(request)
    return web.json_response([dataclasses.asdict(asked) for asked in request.app[GITHUB].requests])


ROUTES = [web.post("/_control/{method}", call), web.get("/_control/requests", requests)]
