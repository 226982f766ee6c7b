"""The Hub's plan for culling this server, from the environment."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

VARIABLE = "JUPYTERHUB_IDLE_CULLING"
"""JSON of a `Plan`, set by the Hub's jupyterhub_ansible.culling.plan; absent where nothing is culled."""


class Plan(NamedTuple):
    """Times in seconds; 0 for never.

    `timeout_s`: idle time after which the server is stopped; `max_age_s`: maximum age; `notice_s`: how long before that
    its user is notified; `look_s`: how often the server checks for activity, even if culling is off, because settings
    may change.
    """

    timeout_s: int = 0
    max_age_s: int = 0
    notice_s: int = 0
    look_s: int = 150

    def end(self, started: datetime, last_activity: datetime) -> tuple[datetime, str] | None:
        """Return when the server is to be stopped if nothing happens, and why: "idle" or "age"; None for never."""
        ends = []
        if self.timeout_s:
            ends.append((last_activity + timedelta(seconds=self.timeout_s), "idle"))
        if self.max_age_s:
            ends.append((started + timedelta(seconds=self.max_age_s), "age"))
        return min(ends, default=None)


def planned(environ: Mapping[str, str]) -> Plan:
    """Return the plan of the environment."""
    return Plan(**json.loads(environ.get(VARIABLE, "{}")))
