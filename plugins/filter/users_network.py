"""Filter that plans the addresses of the users' network."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.rules.users_network import plan


def users_network(subnet: str) -> dict[str, str]:
    """Return its ``subnet``, ``gateway``, ``hub`` and ``proxy`` (addresses) and ``range`` (a network)."""
    return plan(subnet)._asdict()


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[[str], dict[str, str]]]:
        """Return the filters by name."""
        return {"users_network": users_network}
