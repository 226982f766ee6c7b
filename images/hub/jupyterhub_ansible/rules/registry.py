"""Tables of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .problems import Finding

Findings = Iterator[Finding]
Check = Callable[..., Findings]


class Rules:
    """A table of rules; used as a decorator, `@rule("setting", ...)`, it adds a rule that reads these settings.

    The rule is called only if all of them are set and well-formed.  A setting with `?` after its name may be unset,
    one with `??` may also be invalid: the rule then gets None for it.
    """

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[str, ...], Check]] = []

    def __call__(self, *needs: str) -> Callable[[Check], Check]:
        """Return the decorator."""

        def register(check: Check) -> Check:
            self.entries.append((needs, check))
            return check

        return register

    def findings(self, good: Mapping[str, Any], *context: Any) -> Iterator[tuple[str, Finding]]:
        """Run the rules whose settings allow it, and yield each finding with the first setting that its rule reads.

        `good` holds the well-formed settings, with None for unset ones.
        """
        for needs, check in self.entries:
            names = [need.rstrip("?") for need in needs]
            if all(_readable(need, good) for need in needs):
                for finding in check(*context, *(good.get(name) for name in names)):
                    yield names[0] if names else "", finding


def _readable(need: str, good: Mapping[str, Any]) -> bool:
    if need.endswith("??"):
        return True
    return need.rstrip("?") in good if need.endswith("?") else good.get(need) is not None
