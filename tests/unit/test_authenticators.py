"""Preflight knows the authenticators that the Hub's packages register, and judges each of them."""

from __future__ import annotations

from importlib.metadata import entry_points

from preflight_checks.rules.authenticator import AUTHENTICATORS, REFUSED


def test_every_registered_authenticator_is_accepted_or_refused() -> None:
    registered = {each.name for each in entry_points(group="jupyterhub.authenticators")}
    assert set(AUTHENTICATORS) | set(REFUSED) == registered
    assert not set(AUTHENTICATORS) & set(REFUSED)
