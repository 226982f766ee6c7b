"""Tables of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .problems import Finding

Findings = Iterator[Finding]
Check = Callable[..., Findings]


class Rules:
    """A table of rules; as a decorator, `@rule("setting", ...)`, it adds one that reads these settings."""

    def __init__(self) -> None:
        self.entries: list[tuple[tuple[str, ...], Check]] = []

    def __call__(self, *needs: str) -> Callable[[Check], Check]:
        """Return the decorator."""

        def register(check: Check) -> Check:
            self.entries.append((needs, check))
            return check

        return register

    def findings(self, good: Mapping[str, Any], *context: Any) -> Iterator[tuple[str, Finding]]:
        """Run the rules whose settings are all set and well-formed; yield the first of these and what was found."""
        for needs, check in self.entries:
            if all(need in good for need in needs):
                for finding in check(*context, *(good[need] for need in needs)):
                    yield needs[0] if needs else "", finding
