"""Filter: the plan of the users' network."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.rules.users_network import plan


def users_network(subnet: str) -> dict[str, str]:
    """Return its ``subnet``, ``gateway``, ``hub`` and ``proxy`` (addresses) and ``range`` (a network)."""
    return plan(subnet)._asdict()


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[[str], dict[str, str]]]:
        """Name the filters."""
        return {"users_network": users_network}
