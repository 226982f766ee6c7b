"""Keeps a user's server usable while the Hub is being replaced.

Every 30 s (HubAuth.cache_max_age, set by the Hub) a server asks the Hub whether a session is still valid.  While no Hub
answers, upstream shows the user an internal error, and open notebooks lose their connection.  Here the last positive
answer stays valid a little longer, but only while the Hub does not answer, and never against its answer.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from jupyterhub.services.auth import HubAuth
from tornado.web import HTTPError

PATIENCE_S = 120
"""Seconds from a session's last positive answer; with HubAuth's cache, a revoked session ends within 150 s."""

_SESSIONS_AT_MOST = 256
_log = logging.getLogger("tornado.application")


def _is_silence(error: HTTPError) -> bool:
    """Whether the Hub did not answer or is not ready (HubAuth._api_request); by status alone, refusals look alike."""
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
            _log.warning("The Hub does not answer: using its last answer from %d s ago", clock() - since)
            return last
        # Move it to the end, as the newest; popping is safe with concurrent calls.
        good.pop(key, None)
        if key and answer:
            good[key] = clock(), answer
            while len(good) > _SESSIONS_AT_MOST:
                del good[next(iter(good))]
        return answer

    return check


def install() -> None:
    """Patch HubAuth."""
    HubAuth._check_hub_authorization = patient(HubAuth._check_hub_authorization)
