"""A user's server goes on while the Hub is being replaced.

Every 30 s (HubAuth.cache_max_age, set by the Hub) a server asks the Hub whether a session is still good.  Where that
falls into the seconds in which no Hub answers, upstream tells the user of an internal error, and a notebook that is
open loses its connection.  Here the last good answer holds a little longer then: only while the Hub does not answer,
never against a word of its.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jupyterhub.services.auth import HubAuth
from tornado.web import HTTPError

PATIENCE_S = 120
"""Seconds from a session's last good answer; with HubAuth's cache, one that was revoked ends within 150 s."""

_SESSIONS_AT_MOST = 256
_log = logging.getLogger("tornado.application")


def _is_silence(error: HTTPError) -> bool:
    """Whether no Hub answered, or one that is not ready (HubAuth._api_request); what it refuses is a 500, too."""
    return error.status_code == 502 or str(error.log_message).startswith("Failed to connect to Hub API")


def patient(ask: Callable[..., Awaitable[Any]], clock: Callable[[], float] = time.monotonic) -> Callable[..., Any]:
    """Return HubAuth._check_hub_authorization with patience."""
    good: dict[str, tuple[float, Any]] = {}

    async def check(auth: HubAuth, url: str, api_token: str, cache_key: str = "", use_cache: bool = True) -> Any:
        key = cache_key if use_cache else ""
        since, last = good.get(key, (0.0, None))
        try:
            answer = await ask(auth, url, api_token, cache_key=cache_key or None, use_cache=use_cache)
        except HTTPError as error:
            if not _is_silence(error):
                good.pop(key, None)
                raise
            if not last or clock() - since > PATIENCE_S:
                raise
            _log.warning("The Hub does not answer: its last answer of %d s ago holds", clock() - since)
            return last
        # The newest last; a page asks several times at once.
        good.pop(key, None)
        if key and answer:
            good[key] = clock(), answer
            while len(good) > _SESSIONS_AT_MOST:
                del good[next(iter(good))]
        return answer

    return check


def install() -> None:
    """Have all of this server's questions asked so."""
    HubAuth._check_hub_authorization = patient(HubAuth._check_hub_authorization)
