"""What the Hub does with a server that is idle, as it says in the environment."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

VARIABLE = "JUPYTERHUB_IDLE_CULLING"
"""JSON of a `Plan`, set by the Hub's jupyterhub_ansible.culling.plan; absent where nothing is culled."""


class Plan(NamedTuple):
    """Times in seconds; 0 for never.

    `timeout_s`: a server is stopped when it was idle for so long; `max_age_s`: or when it is so old; `notice_s`: its
    user is told so long before; `look_s`: how often the server looks what runs in it, which counts even where nothing
    is planned yet.
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
