"""Filters for the engine's settings: one refuses unsafe ones, for `make engine`, which runs without preflight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils.preflight.engine_settings import unsafe_engine_settings
from ..plugin_utils.preflight.mtu import of_networks


def harmless_engine_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings unchanged.

    Raises:
        AnsibleFilterError: they open the engine to the network, or break the isolation of servers.
    """
    found = [f"{each.about}: {each.what}. Fix: {each.fix}" for each in unsafe_engine_settings(settings)]
    if found:
        raise AnsibleFilterError("\n".join(found))
    return settings


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"harmless_engine_settings": harmless_engine_settings, "networks_mtu": of_networks}
