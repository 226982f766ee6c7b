"""Preflight accepts or refuses each authenticator that the Hub's packages register."""

from __future__ import annotations

from importlib.metadata import entry_points

from jupyterhub_ansible.rules.authenticators import AUTHENTICATORS, PROVIDERS, REFUSED, name_of


def test_every_registered_authenticator_is_accepted_or_refused() -> None:
    registered = {each.name for each in entry_points(group="jupyterhub.authenticators")}
    assert set(AUTHENTICATORS) | set(REFUSED) == registered
    assert not set(AUTHENTICATORS) & set(REFUSED)


def test_every_registered_class_maps_to_its_name() -> None:
    registered = {each.name: each.value.replace(":", ".") for each in entry_points(group="jupyterhub.authenticators")}
    # PAM's class is the default.
    assert {name: name_of(path) for name, path in registered.items()} == {
        name: "pam" if name == "default" else name for name in registered
    }
    assert {name: registered[name].rpartition(".")[2] for name in PROVIDERS} == PROVIDERS
