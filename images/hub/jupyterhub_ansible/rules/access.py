"""Who may come in, by the names of settings or of keys, as the caller calls them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from .words import shown

Found = Iterator[tuple[str, str, str]]
"""The setting, what is wrong, and the fix."""


def named_twice(lists: Mapping[str, Sequence[str]]) -> Found:
    """Yield names that stand in a list more than once; capital letters make no difference."""
    for setting, names in lists.items():
        for name, count in Counter(each.strip().casefold() for each in names).items():
            if count > 1:
                yield setting, f"names {shown(name)} {count} times", "keep one of them"


def also_blocked(lists: Mapping[str, tuple[str, Collection[str]]], setting: str, blocked: Collection[str]) -> Found:
    """Yield names that are blocked, too; each list comes with what its names are."""
    for each, (kind, names) in lists.items():
        for name in sorted({one.casefold() for one in names} & {one.casefold() for one in blocked}):
            yield each, f"{shown(name)} is {kind}, and is in {setting}, too", "remove the name from one of the two"


def everybody_and_some(setting: str, everybody: bool, lists: Mapping[str, Collection[str]]) -> Found:
    """With both, nobody can tell which was meant; in doubt it is not everybody."""
    named = [name for name, names in lists.items() if names]
    if everybody and named:
        what = f"lets everybody in, so that {', '.join(named)} would count for nothing"
        yield setting, what, f"remove {setting}, or those"
