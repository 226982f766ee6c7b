"""When idle servers are stopped: the plan that the parts of the Hub share.

A server tells the Hub itself when it was last in use (the package jupyterhub_idle in its image); the service of this
module, jupyterhub-idle-culler with its arbiter, stops those that were not for too long (cull.py); and a server knows
from its environment when that will be, to tell its user.

All that follows from one number, a server's timeout: `interval(timeout)` is how late it may be stopped.  A quarter of
it passes at most until the server has seen that it is idle no more, a quarter until it has told that, a quarter lies
between the culler's looks, and one is left for being slow.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..settings.model import Settings

SERVICE = "idle-culler"
"""The Hub's service in whose name servers are stopped."""
SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
"""See whose servers run since when, and stop them; there is no scope for stopping without removing."""
VARIABLE = "JUPYTERHUB_IDLE_CULLING"
"""In a server's environment: its plan, as JSON (jupyterhub_idle.plan in its image)."""
PLAN = "JUPYTERHUB_CULLING_PLAN"
"""In the service's environment: `plan()`, as JSON."""
LAST_LOOK = "JUPYTERHUB_CULLING_LAST_LOOK"
"""In the environment of cull.py: when the waiting for this look began, in seconds since 1970."""

SHORTEST_TIMEOUT_S = 60
LONGEST_INTERVAL_S = 600
SHORTEST_INTERVAL_S = 16
LONGEST_NOTICE_S = 900
ACTIVITY_INTERVAL_S = 300
"""JupyterHub's own: how often a server tells that is never idle for too long, or may follow older settings."""
UNTOLD = 2.1
"""Times its interval: how old a server's word may be.  It looked one ago, and told one ago, give or take a tenth.

jupyterhub.singleuser.extension.JupyterHubSingleUser.keep_activity_updated
"""
UNTOLD_S = int(UNTOLD * ACTIVITY_INTERVAL_S)
"""Seconds in which every server has told, however slow it is to."""


def interval(timeout_s: int) -> int:
    """Return the seconds after its timeout within which an idle server is stopped: a tenth of it, 16 to 600."""
    return min(LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, timeout_s // 10))


def quarter(timeout_s: int) -> int:
    """Return how often a server looks and tells, and the culler looks, in seconds."""
    return interval(timeout_s) // 4


def plan(settings: "Settings") -> dict[str, Any]:
    """Return what cull.py needs to know: each environment's timeout, and the rest."""
    return {
        "timeouts": {each.slug: _timeout(settings, each.slug) for each in settings.images_environments},
        "default": settings.hub_default_environment,
        # Of an image that the user named.
        "timeout_s": settings.hub_idle_timeout_s,
        "max_age_s": settings.hub_max_age_s,
    }


def _timeout(settings: "Settings", slug: str) -> int:
    [own] = [each.idle_timeout_s for each in settings.images_environments if each.slug == slug]
    return settings.hub_idle_timeout_s if own is None else own


def has_slept(planned: Mapping[str, Any], last_look: float, now: float) -> bool:
    """Whether the machine was suspended between two looks, or its clock put forward: no server could tell meanwhile."""
    return now - last_look > quarter(_shortest(planned)) + SHORTEST_TIMEOUT_S


def slug_of(options: Mapping[str, Any] | None, slugs: Mapping[str, Any], default: str) -> str:
    """Return the environment of a server, "" if its user named an image instead.

    As for the spawner, a choice that is gone stands for the default.
    """
    if "image" in (options or {}):
        return ""
    slug = (options or {}).get("profile", default)
    return slug if isinstance(slug, str) and slug in slugs else default


def _shortest(planned: Mapping[str, Any]) -> int:
    times = (*planned["timeouts"].values(), planned["timeout_s"], planned["max_age_s"])
    return min((each for each in times if each), default=0)


def service(settings: "Settings", token: str) -> dict[str, Any] | None:
    """Return the service for JupyterHub.services; None if nothing is ever stopped.

    Its process is a shell that sleeps, since a Python that did would hold 25 MB: more than is left to the Hub.  The Hub
    ends it by SIGINT first, which a shell that waits for a program in the foreground puts off (seen: 32 s).
    """
    planned = plan(settings)
    shortest = _shortest(planned)
    if not shortest:
        return None
    return {
        "name": SERVICE,
        "api_token": token,
        "command": [
            "sh",
            "-c",
            "trap 'kill $!; exit 0' INT TERM;"
            f" while {LAST_LOOK}=$(date +%s); sleep {quarter(shortest)} & wait $!;"
            f" do {LAST_LOOK}=${LAST_LOOK} python -m {__package__}.service || {{ sleep {UNTOLD_S} & wait $!; }}; done",
        ],
        "environment": {PLAN: json.dumps({**planned, "since": datetime.now(UTC).isoformat()})},
        "display": False,
    }


def environment(settings: "Settings") -> dict[str, Callable[[Any], str]]:
    """Return for Spawner.environment what a server must know; JupyterHub calls these with the spawner."""
    planned = plan(settings)
    if not _shortest(planned):
        return {}

    def timeout(spawner: Any) -> int:
        timeouts: dict[str, int] = planned["timeouts"]
        slug = slug_of(spawner.user_options, timeouts, planned["default"])
        return timeouts.get(slug, settings.hub_idle_timeout_s)

    def told(spawner: Any) -> str:
        ends = [each for each in (timeout(spawner), planned["max_age_s"]) if each]
        return json.dumps(
            {
                "timeout_s": timeout(spawner),
                "max_age_s": planned["max_age_s"],
                "notice_s": min(LONGEST_NOTICE_S, min(ends, default=0) // 4),
                "look_s": quarter(timeout(spawner) or LONGEST_INTERVAL_S * 10),
            }
        )

    def tells_every_s(spawner: Any) -> str:
        return str(quarter(timeout(spawner)) if timeout(spawner) else ACTIVITY_INTERVAL_S)

    return {VARIABLE: told, "JUPYTERHUB_ACTIVITY_INTERVAL": tells_every_s}


def arbiter(planned: Mapping[str, Any], now: datetime) -> Callable[..., bool]:
    """Return the function that tells jupyterhub-idle-culler whether a server is idle for too long.

    A server that was there before the Hub may know an older plan, and may have had nobody to tell it to: it gets the
    time to, by the longest interval that there is.

    Args:
        planned: `plan()`, and `since`: when the Hub started.
        now: the time of this look.
    """
    since = datetime.fromisoformat(planned["since"])

    def is_idle(*, inactive: timedelta, inactive_limit: float, server: Mapping[str, Any]) -> bool:
        slug = slug_of(server["user_options"], planned["timeouts"], planned["default"])
        timeout_s: int = planned["timeouts"].get(slug, planned["timeout_s"])
        if not timeout_s:
            return False
        tells_every_s = quarter(timeout_s)
        if datetime.fromisoformat(server["started"]) < since:
            tells_every_s = ACTIVITY_INTERVAL_S
            if now < since + timedelta(seconds=UNTOLD * tells_every_s):
                return False
        return bool(inactive.total_seconds() >= timeout_s + UNTOLD * tells_every_s)

    return is_idle
