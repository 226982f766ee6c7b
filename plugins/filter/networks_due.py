"""Which networks are not as they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"


def networks_due(wanted: Sequence[Mapping[str, Any]], seen: Mapping[str, Any], project: str) -> list[Mapping[str, Any]]:
    """Return the networks that are to be made, or made anew.

    Whatever else an engine says of one than what its task says is a matter for the module.

    Args:
        wanted: name, driver_options and ipam of each, as community.docker.docker_network takes them.
        seen: what the engine says of those that are there, by name.
        project: what the label says that makes them ours.
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
        # Where no addresses are wanted, they are the engine's to choose.
        and (not configs or (seen.get("IPAM") or {}).get("Config") == configs)
    )


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name the filters."""
        return {"networks_due": networks_due}
