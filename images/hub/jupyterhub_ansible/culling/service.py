"""`python -m jupyterhub_ansible.culling.service`: stop what was idle for too long, by jupyterhub-idle-culler.

Run again and again by the Hub's service (culling.plan), whose token it gets in the environment.
"""

import asyncio
import json
import logging
import os
import sys
import time
from datetime import UTC, datetime

from tornado.httpclient import HTTPError

from .plan import LAST_LOOK, PLAN, UNTOLD_S, arbiter, has_slept

log = logging.getLogger("culler")


def main() -> bool:
    """Look once; False if servers have to be given the time to tell first.

    A Hub that does not answer is asked again at the next look.
    """
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="[%(levelname).1s %(asctime)s %(name)s] %(message)s"
    )
    planned = json.loads(os.environ[PLAN])
    if has_slept(planned, float(os.environ[LAST_LOOK]), time.time()):
        log.warning("The machine was suspended, or its clock was put forward: looking again in %d s", UNTOLD_S)
        return False
    # Not in the development environment, which imports all modules of this package (bin/traits.py).
    from jupyterhub_idle_culler import cull_idle

    try:
        asyncio.run(
            cull_idle(
                url=os.environ["JUPYTERHUB_API_URL"],
                api_token=os.environ["JUPYTERHUB_API_TOKEN"],
                # The arbiter's business.
                inactive_limit=0,
                logger=log,
                max_age=planned["max_age_s"],
                cull_arbiter=arbiter(planned, datetime.now(UTC)),
            )
        )
    except (OSError, HTTPError) as error:
        log.warning("The Hub does not answer, so that no idle server is stopped now: %s", error)
    return True


if __name__ == "__main__":
    sys.exit(not main())
