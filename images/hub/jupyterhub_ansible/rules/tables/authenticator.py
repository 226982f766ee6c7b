"""The way in: one that there is."""

from __future__ import annotations

from ..authenticators import wrong_authenticator
from ..problems import Finding
from ..registry import Findings, Rules

rule = Rules()


@rule("hub_authenticator")
def authenticator(value: str) -> Findings:
    """One that exists; a class of the operator's is tried with the image."""
    if wrong := wrong_authenticator(value):
        yield Finding(*wrong)
