"""The authenticator must be a usable one."""

from __future__ import annotations

from ..authenticators import wrong_authenticator
from ..problems import Finding
from ..registry import Findings, Rules

rule = Rules()


@rule("hub_authenticator")
def authenticator(value: str) -> Findings:
    """It must exist; the operator's own class is tested with the image."""
    if wrong := wrong_authenticator(value):
        yield Finding(*wrong)
