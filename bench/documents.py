"""Whether documents that several people edit lose or double anything, with real clocks (tests/e2e/documents.py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from e2e.deployment import base_environment, run_in_image

from .project import NAME, PROJECT, ROOT

SERVERS, ROUNDS = 10, 5
"""They mostly wait, so that many can run side by side."""
DELAY_S, CUT_S = 60, 90
"""For how long a document stays in memory after its last page (as upstream delivers it), and a page is cut off."""
TYPING_S = 60
STAGGER_S = 5


def measure(say: Callable[[str], None]) -> dict[str, Any]:
    """Cut pages off and kill servers; return what was seen in each round.

    Raises:
        RuntimeError: a round did not come to its end; the message has the server's log.
    """
    image = base_environment(ROOT)

    def run(number: int, *arguments: str) -> list[dict[str, Any]]:
        # A server's start takes a second of a processor.
        time.sleep(number * STAGGER_S)
        script, options = PROJECT / "tests/e2e/documents.py", [f"--name={NAME}-documents-{number}"]
        found, errors = run_in_image(image, script, *arguments, options=options)
        for seen in found:
            say(f"server {number}: {seen}")
        rounds = [seen for seen in found if seen["scenario"] == arguments[0]]
        if len(rounds) != ROUNDS:
            raise RuntimeError(f"server {number} ended after {len(rounds)} rounds: {errors[-8000:]}")
        return rounds

    say(f"{SERVERS} x {ROUNDS} rounds of a page that is cut off, {ROUNDS} of a server that is killed")
    with ThreadPoolExecutor(SERVERS + 1) as pool:
        killed = pool.submit(run, SERVERS, "typed_before_kill", str(TYPING_S), str(ROUNDS))
        cuts = [pool.submit(run, number, "cut_off", str(DELAY_S), str(CUT_S), str(ROUNDS)) for number in range(SERVERS)]
        cut_off = [seen for each in cuts for seen in each.result()]
        return {"cut_off": cut_off, "killed": killed.result(), "cut_s": CUT_S, "typing_s": TYPING_S, "servers": SERVERS}
