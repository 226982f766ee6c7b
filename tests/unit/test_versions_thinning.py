"""Which versions of a file stay, as it is saved for minutes, days and months."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from jupyterhub_versions.thinning import DAY_S, HOUR_S, MONTH_S, least_useful, outdated

NOW = 1_800_000_000.0


def after_saves(every_s: int, for_s: int) -> list[float]:
    """How old the versions are, in seconds, of a file that was saved regularly until now."""
    kept: list[float] = []
    for now in range(int(NOW) - for_s, int(NOW) + 1, every_s):
        kept.insert(0, float(now))
        gone = set(outdated(kept, now))
        kept = [each for index, each in enumerate(kept) if index not in gone]
    return [NOW - each for each in kept]


def between(ages: Iterable[float], low: float, high: float) -> list[float]:
    return [each for each in ages if low < each <= high]


def test_one_a_minute_of_the_last_hour_one_an_hour_of_the_last_day_one_a_day_of_the_last_month() -> None:
    ages = after_saves(20, 3 * DAY_S)
    # All of the last five minutes.
    assert between(ages, -1, 300) == [20.0 * number for number in range(16)]
    assert len(between(ages, 300, HOUR_S)) in (55, 56)
    assert len(between(ages, HOUR_S, DAY_S)) in (23, 24)
    assert len(between(ages, DAY_S, 3 * DAY_S + 1)) in (2, 3)
    # A state of any time can be brought back, to the minute, the hour, the day.
    gaps = [(older, older - newer) for newer, older in pairwise(ages)]
    for up_to, period in ((HOUR_S, 60), (DAY_S, HOUR_S), (MONTH_S, DAY_S)):
        assert all(gap < 2 * period for age, gap in gaps if age <= up_to)


def test_their_number_is_bounded_whatever_is_saved() -> None:
    ages = after_saves(3600, 100 * DAY_S)
    assert len(ages) < 24 + 32 + 3
    assert max(ages) <= MONTH_S + 2 * DAY_S


def test_what_the_file_contained_until_now_stays_however_old_it_is() -> None:
    # Written half a year ago, changed an hour ago, saved now.
    times = [NOW, NOW - HOUR_S, NOW - 180 * DAY_S, NOW - 181 * DAY_S]
    assert outdated(times, NOW) == [3]


def test_few_versions_still_reach_far_back() -> None:
    kept: list[float] = []
    for now in range(int(NOW) - DAY_S, int(NOW) + 1, 120):
        kept.insert(0, float(now))
        if len(kept) > 8:
            kept.pop(least_useful(kept, now))
    ages = [NOW - each for each in kept]
    assert ages[0] == 0
    assert 0 < ages[1] <= 600
    assert between(ages, 600, HOUR_S)
    assert between(ages, HOUR_S, 6 * HOUR_S)
    assert between(ages, 6 * HOUR_S, DAY_S)


def test_the_newest_of_several_never_goes_and_the_last_one_can() -> None:
    assert least_useful([NOW], NOW) == 0
    assert least_useful([NOW, NOW], NOW) == 1
    # A clock that was set back.
    assert least_useful([NOW + 500, NOW + 400, NOW], NOW) != 0
    assert outdated([NOW + 500, NOW + 400, NOW], NOW) == []
