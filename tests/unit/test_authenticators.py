"""Preflight knows the authenticators that the Hub's packages register, and judges each of them."""

from __future__ import annotations

from importlib.metadata import entry_points

from jupyterhub_ansible.rules.authenticators import AUTHENTICATORS, PROVIDERS, REFUSED, name_of


def test_every_registered_authenticator_is_accepted_or_refused() -> None:
    registered = {each.name for each in entry_points(group="jupyterhub.authenticators")}
    assert set(AUTHENTICATORS) | set(REFUSED) == registered
    assert not set(AUTHENTICATORS) & set(REFUSED)


def test_every_registered_class_is_known_by_its_name() -> None:
    registered = {each.name: each.value.replace(":", ".") for each in entry_points(group="jupyterhub.authenticators")}
    # PAM's class is the default.
    assert {name: name_of(path) for name, path in registered.items()} == {
        name: "pam" if name == "default" else name for name in registered
    }
    assert {name: registered[name].rpartition(".")[2] for name in PROVIDERS} == PROVIDERS
