"""`python -m jupyterhub_ansible.culling.service`: stop servers that were idle for too long (jupyterhub-idle-culler).

Run repeatedly by the Hub's service (culling.plan), with its token in the environment.
"""

import asyncio
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime

from tornado.httpclient import HTTPError

from .plan import LAST_CHECK, MAX_REPORT_AGE_S, PLAN, arbiter, was_suspended

log = logging.getLogger("culler")


def main() -> bool:
    """Check once; return False if servers must have time to report first.

    If the Hub does not answer, the next check retries.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="[%(levelname).1s %(asctime)s %(name)s] %(message)s"
    )
    planned = json.loads(os.environ[PLAN])
    if was_suspended(planned, float(os.environ[LAST_CHECK]), time.time()):
        log.warning("The machine was suspended, or its clock jumped ahead: checking again in %d s", MAX_REPORT_AGE_S)
        return False
    # Imported here, because bin/traits.py imports this module where it is not installed.
    from jupyterhub_idle_culler import cull_idle

    try:
        asyncio.run(
            cull_idle(
                url=os.environ["JUPYTERHUB_API_URL"],
                api_token=os.environ["JUPYTERHUB_API_TOKEN"],
                # The arbiter decides instead.
                inactive_limit=0,
                logger=log,
                max_age=planned["max_age_s"],
                cull_arbiter=arbiter(planned, datetime.now(UTC)),
            )
        )
    except (OSError, HTTPError) as error:
        log.warning("The Hub does not answer, so idle servers are not stopped now: %s", error)
    return True


if __name__ == "__main__":
    sys.exit(not main())
