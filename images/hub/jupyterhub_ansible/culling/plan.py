"""When idle servers are culled: the plan shared by the Hub, its culling service, and the servers.

A server reports its own last activity to the Hub (the package jupyterhub_idle in its image).  The service,
jupyterhub-idle-culler with the arbiter of this module, stops servers that have been idle for too long (service.py).
And a server knows its plan from its environment, so that it can warn its user.

Everything follows from a server's timeout: `interval(timeout)` is how late it may be stopped.  A quarter of it is for
the server to notice activity, a quarter to report it, a quarter between the culler's checks, and a quarter is slack.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..workspaces import accounts

if TYPE_CHECKING:
    from ..settings.model import Settings

SERVICE = "idle-culler"
"""The Hub's service that stops servers."""
SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
"""List running servers with their activity, and stop them; JupyterHub has no scope for stopping without deleting."""
VARIABLE = "JUPYTERHUB_IDLE_CULLING"
"""Environment variable of a server: its plan, as JSON (jupyterhub_idle.plan in its image)."""
PLAN = "JUPYTERHUB_CULLING_PLAN"
"""Environment variable of the service: `plan()`, as JSON."""
LAST_CHECK = "JUPYTERHUB_CULLING_LAST_LOOK"
"""Environment variable of service.py: when the last check ended, in seconds since 1970."""

SHORTEST_TIMEOUT_S = 60
LONGEST_INTERVAL_S = 600
SHORTEST_INTERVAL_S = 16
LONGEST_NOTICE_S = 900
ACTIVITY_INTERVAL_S = 300
"""JupyterHub's default report interval, for servers that are never culled, or that may have older settings."""
MAX_REPORT_AGE = 2.1
"""Maximum age of a server's report in intervals: one to check, one to report, with a jitter of a tenth.

See jupyterhub.singleuser.extension.JupyterHubSingleUser.keep_activity_updated.
"""
MAX_REPORT_AGE_S = int(MAX_REPORT_AGE * ACTIVITY_INTERVAL_S)
"""Seconds within which even the slowest server has reported."""


def interval(timeout_s: int) -> int:
    """Return how many seconds after its timeout an idle server is stopped at the latest: a tenth of it, 16 to 600."""
    return min(LONGEST_INTERVAL_S, max(SHORTEST_INTERVAL_S, timeout_s // 10))


def quarter(timeout_s: int) -> int:
    """Return the interval of a server's checks, of its reports and of the culler's checks, in seconds."""
    return interval(timeout_s) // 4


def plan(settings: "Settings") -> dict[str, Any]:
    """Return the service's plan: the timeout of each environment and workspace, and defaults."""
    timeouts = {each.slug: _timeout(settings, each.slug) for each in settings.images_environments}
    return {
        "timeouts": timeouts,
        "workspaces": accounts.timeouts(settings.hub_workspaces, timeouts),
        "default": settings.hub_default_environment,
        # For freely chosen images.
        "timeout_s": settings.hub_idle_timeout_s,
        "max_age_s": settings.hub_max_age_s,
    }


def _timeout(settings: "Settings", slug: str) -> int:
    [own] = [each.idle_timeout_s for each in settings.images_environments if each.slug == slug]
    return settings.hub_idle_timeout_s if own is None else own


def was_suspended(planned: Mapping[str, Any], last_check: float, now: float) -> bool:
    """Whether the machine was suspended between two checks, or its clock jumped ahead: no server could report then."""
    return now - last_check > quarter(_shortest(planned)) + SHORTEST_TIMEOUT_S


def slug_of(options: Mapping[str, Any] | None, slugs: Mapping[str, Any], default: str) -> str:
    """Return a server's environment; "" for a freely chosen image.

    As in the spawner, a choice that is no longer available falls back to the default.
    """
    if "image" in (options or {}):
        return ""
    slug = (options or {}).get("profile", default)
    return slug if isinstance(slug, str) and slug in slugs else default


def timeout_of(planned: Mapping[str, Any], options: Mapping[str, Any] | None) -> int:
    """Return the timeout of a server by its stored options, in which only a workspace's spawner names a workspace."""
    if (workspace := (options or {}).get("workspace")) in planned["workspaces"]:
        return int(planned["workspaces"][workspace])
    slug = slug_of(options, planned["timeouts"], planned["default"])
    return int(planned["timeouts"].get(slug, planned["timeout_s"]))


def _shortest(planned: Mapping[str, Any]) -> int:
    times = (*planned["timeouts"].values(), *planned["workspaces"].values(), planned["timeout_s"], planned["max_age_s"])
    return min((each for each in times if each), default=0)


def service(settings: "Settings", token: str) -> dict[str, Any] | None:
    """Return the service for JupyterHub.services; None if nothing is ever culled.

    Its process is a sleeping shell, because a Python process would hold 25 MB, which the Hub cannot spare.  It sleeps
    in the background, because a shell handles the Hub's SIGINT only after a foreground command ends (seen: 32 s).
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
            f" while {LAST_CHECK}=$(date +%s); sleep {quarter(shortest)} & wait $!;"
            f" do {LAST_CHECK}=${LAST_CHECK} python -m {__package__}.service ||"
            f" {{ sleep {MAX_REPORT_AGE_S} & wait $!; }}; done",
        ],
        "environment": {PLAN: json.dumps({**planned, "since": datetime.now(UTC).isoformat()})},
        "display": False,
    }


def environment(settings: "Settings") -> dict[str, Callable[[Any], str]]:
    """Return a server's variables for Spawner.environment; JupyterHub calls these functions with the spawner."""
    planned = plan(settings)
    if not _shortest(planned):
        return {}

    def timeout(spawner: Any) -> int:
        return timeout_of(planned, spawner.user_options)

    def server_plan(spawner: Any) -> str:
        ends = [each for each in (timeout(spawner), planned["max_age_s"]) if each]
        return json.dumps(
            {
                "timeout_s": timeout(spawner),
                "max_age_s": planned["max_age_s"],
                "notice_s": min(LONGEST_NOTICE_S, min(ends, default=0) // 4),
                "look_s": quarter(timeout(spawner) or LONGEST_INTERVAL_S * 10),
            }
        )

    def report_interval_s(spawner: Any) -> str:
        return str(quarter(timeout(spawner)) if timeout(spawner) else ACTIVITY_INTERVAL_S)

    return {VARIABLE: server_plan, "JUPYTERHUB_ACTIVITY_INTERVAL": report_interval_s}


def arbiter(planned: Mapping[str, Any], now: datetime) -> Callable[..., bool]:
    """Return the function that decides for jupyterhub-idle-culler whether a server has been idle for too long.

    A server that started before the Hub may have an older plan, and could not report while the Hub was down: it gets
    time to report, by the longest interval.

    Args:
        planned: `plan()`, and `since`: when the Hub started.
        now: the time of this check.
    """
    since = datetime.fromisoformat(planned["since"])

    def is_idle(*, inactive: timedelta, inactive_limit: float, server: Mapping[str, Any]) -> bool:
        timeout_s = timeout_of(planned, server["user_options"])
        if not timeout_s:
            return False
        report_interval_s = quarter(timeout_s)
        if datetime.fromisoformat(server["started"]) < since:
            report_interval_s = ACTIVITY_INTERVAL_S
            if now < since + timedelta(seconds=MAX_REPORT_AGE * report_interval_s):
                return False
        return bool(inactive.total_seconds() >= timeout_s + MAX_REPORT_AGE * report_interval_s)

    return is_idle
