"""Ends the open connections of users who may not use this server any more: former members and guests.

A request is checked with the Hub when it comes; a websocket only when it is opened, and a notebook's may stay open for
days.  Here every few seconds the user of each open websocket is checked as for a new request, which also makes the Hub
check the user's membership.  In doubt, as while the Hub does not answer, the connection stays.
"""

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from tornado.websocket import WebSocketHandler

CHECK_S = 5
"""The Hub is asked less often: as often as for requests (HubAuth.cache_max_age, set by the Hub)."""
POLICY_VIOLATION = 1008
"""Close code (RFC 6455, 7.4.1)."""

_log = logging.getLogger("tornado.application")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_guests"}]


def _load_jupyter_server_extension(server: Any) -> None:
    if not os.environ.get("JUPYTERHUB_GUESTS"):
        return
    # For jupyterhub-sharing, an extension of JupyterLab.
    server.web_app.settings.setdefault("page_config_data", {})["hubSharing"] = "true"
    auth, opened = server.identity_provider.hub_auth, follow()

    async def keep_checking() -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await close_refused(auth, [each for each in opened if each.ws_connection])

    server.io_loop.add_callback(keep_checking)


def follow() -> WeakSet[Any]:
    """Return the set of all websockets that will be opened, also those that extensions pass on to other servers."""
    opened: WeakSet[Any] = WeakSet()
    # Any, because a class's methods cannot be replaced otherwise.
    patched: Any = WebSocketHandler
    get_protocol = patched.get_websocket_protocol

    def get_websocket_protocol(handler: Any) -> Any:
        """Return what speaks the protocol; called when a websocket is opened."""
        opened.add(handler)
        return get_protocol(handler)

    patched.get_websocket_protocol = get_websocket_protocol
    return opened


async def close_refused(auth: Any, handlers: Iterable[Any]) -> None:
    """Close the websockets whose users the Hub does not let in any more."""
    checked = list(handlers)
    answers = await asyncio.gather(*(is_refused(auth, each) for each in checked), return_exceptions=True)
    for handler, refused in zip(checked, answers, strict=True):
        # An exception means that the Hub does not answer.
        if refused is True:
            _log.warning("Closing a websocket of %s, who may not use this server any more", _name(handler))
            handler.close(POLICY_VIOLATION, "You may not use this server any more.")


async def is_refused(auth: Any, handler: Any) -> bool:
    """Return whether a new request with a websocket's credentials would be refused (HubAuth.get_user)."""
    # A token in a header comes before a cookie, as for requests; a websocket without either is open to anyone.
    token = auth.get_token(handler, in_cookie=not getattr(handler, "_token_authenticated", False))
    if not token:
        return False
    user = await auth.user_for_token(token, session_id=auth.get_session_id(handler), sync=False)
    return not (user and auth.check_scopes(auth.access_scopes, user))


def _name(handler: Any) -> str:
    user = getattr(handler, "_jupyterhub_user", None)
    return str(getattr(user, "name", None) or "somebody")
