"""Filter that finds the networks to create or re-create."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..module_utils.rules import mtu

PROJECT = "jupyterhub-ansible.project"
KIND = "jupyterhub-ansible.kind"


def networks_due(
    wanted: Sequence[Mapping[str, Any]], seen: Mapping[str, Any], project: str, size: int | None, servers: bool
) -> list[Mapping[str, Any]]:
    """Return the networks that are missing or differ from what is wanted, with all their options.

    Only what the task sets is compared; the module itself handles everything else.

    Args:
        wanted: name, driver_options and ipam of each, as community.docker.docker_network takes them.
        seen: the existing networks as the engine describes them, by name.
        project: the value of the label that marks them as ours.
        size: MTU of all of them; None to leave it as it is.
        servers: whether a user's server is running.  Then no network is replaced for another MTU alone, since that
            would disconnect it; preflight has warned.
    """
    due: list[Mapping[str, Any]] = []
    for network in wanted:
        found = seen.get(network["name"], {})
        own = mtu.of_network(found)
        fits = servers or size in (own, None)
        if not (fits and _is_as_wanted(network, found, project)):
            due.append({**network, "driver_options": network["driver_options"] | mtu.options(size or own)})
    return due


def _is_as_wanted(network: Mapping[str, Any], seen: Mapping[str, Any], project: str) -> bool:
    options = {key: value for key, value in (seen.get("Options") or {}).items() if key != mtu.OPTION}
    configs = [
        {"Subnet": each["subnet"], "Gateway": each["gateway"], "IPRange": each["iprange"]} for each in network["ipam"]
    ]
    return (
        seen.get("Driver") == "bridge"
        and options == network["driver_options"]
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
