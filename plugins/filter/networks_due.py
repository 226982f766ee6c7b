"""Filter that finds the networks to create or re-create."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"


def networks_due(wanted: Sequence[Mapping[str, Any]], seen: Mapping[str, Any], project: str) -> list[Mapping[str, Any]]:
    """Return the networks that are missing or differ from what is wanted.

    Only what the task sets is compared; the module itself handles everything else.

    Args:
        wanted: name, driver_options and ipam of each, as community.docker.docker_network takes them.
        seen: the existing networks as the engine describes them, by name.
        project: the value of the label that marks them as ours.
    """
    return [network for network in wanted if not _is_as_wanted(network, seen.get(network["name"], {}), project)]


def _is_as_wanted(network: Mapping[str, Any], seen: Mapping[str, Any], project: str) -> bool:
    configs = [
        {"Subnet": each["subnet"], "Gateway": each["gateway"], "IPRange": each["iprange"]} for each in network["ipam"]
    ]
    return (
        seen.get("Driver") == "bridge"
        and (seen.get("Options") or {}) == network["driver_options"]
        and (seen.get("Labels") or {}) == {PROJECT: project, KIND: "network"}
        and not seen.get("Internal")
        and not seen.get("EnableIPv6")
        # Without ipam, the engine chooses the addresses.
        and (not configs or (seen.get("IPAM") or {}).get("Config") == configs)
    )


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"networks_due": networks_due}
