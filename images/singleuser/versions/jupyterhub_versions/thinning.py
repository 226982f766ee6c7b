"""Which versions of a file go: those that the passing of time makes superfluous, and those that cost too much space."""

from collections.abc import Sequence

RECENT_S = 300
"""Versions of the last minutes all stay: whoever notices a mistake at once gets the state just before it."""
HOUR_S, DAY_S = 3600, 86400
MONTH_S = 31 * DAY_S
PERIODS = ((HOUR_S, 60), (DAY_S, HOUR_S), (MONTH_S, DAY_S))
"""Up to which age one version stays of each period, in seconds: one a minute for an hour, and so on."""


def outdated(times: Sequence[float], now: float) -> list[int]:
    """Return the indexes of the versions that are no longer needed.

    The last version of each period stays: whatever happened within a period, the state before it can be brought back.

    Args:
        times: when the versions were made, the newest first, in seconds.
        now: the current time.
    """
    seen: set[tuple[int, float]] = set()
    gone = []
    for index, made in enumerate(times):
        age = now - made
        # The newest is what the file contains; until then, the next one was.
        if not index or age <= RECENT_S:
            continue
        period = next((period for up_to, period in PERIODS if age <= up_to), DAY_S)
        slot = (period, made // period)
        # Not by when it was made: what a file contained until yesterday is needed, however old it is.
        superseded = now - times[index - 1]
        if slot in seen or superseded > MONTH_S:
            gone.append(index)
        seen.add(slot)
    return gone


def least_useful(times: Sequence[float], now: float) -> int:
    """Return the index of the version whose removal costs least, never the newest of several.

    The one that is closest to its neighbours in proportion to its age, so that few versions still reach far back.  If
    the oldest went instead, a large notebook that is saved every two minutes would have only those of the last minutes.
    """
    ages = [max(now - made, 0.0) + 1 for made in times]
    # As if the oldest had a neighbour of this many times its age: with six versions, they reach back a day.
    ages.append(4 * ages[-1])

    def cost(index: int) -> tuple[float, int]:
        return (ages[index + 1] - ages[index - 1]) / ages[index], -index

    return min(range(1, len(times)), key=cost, default=0)
