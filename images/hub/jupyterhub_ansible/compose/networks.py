"""The networks of Hub, proxy and users' servers, made by the Hub of a Compose application.

Compose does not declare them, because Coolify attaches every service to each declared network.  Compose's own network
only connects the outside to the proxy, which may even be in another Compose application.
"""

from collections.abc import Mapping
from logging import Logger
from typing import Any

import docker
from docker.errors import APIError

from ..engine.labels import KIND, PROJECT
from ..rules import mtu as sizes
from ..rules.users_network import Plan, free
from .errors import ComposeError

PROXY_KIND = "compose-proxy"
OWN_KINDS = ("compose-hub", PROXY_KIND)
# Tells the proxies of several Hubs apart; Coolify does not substitute variables in labels.
NAME_VARIABLE = "JUPYTERHUB_NAME"
BRIDGE = "com.docker.network.bridge.name"


class Networks:
    """Both networks of one Hub."""

    def __init__(self, client: docker.APIClient, project: str, plan: Plan, log: Logger) -> None:
        self.client, self.project, self.plan, self.log = client, project, plan, log
        self.mtu = sizes.ETHERNET
        self.control, self.users, self.bridge = f"{project}-control", f"{project}-users", f"br-{project}"

    # --- the networks

    def ensure(self, mtu: int | None = None) -> bool:
        """Create the missing ones; return whether existing ones were replaced, which containers have then lost.

        Args:
            mtu: replace those with another one, unless a server is on them; None to leave them as they are.

        Raises:
            ComposeError: the users' network exists with another subnet or bridge.
        """
        self.mtu = mtu or self.mtu
        replaced = mtu is not None and self._remove_others(mtu)
        # Before the control network, for which Docker chooses any free subnet.
        pool = docker.types.IPAMPool(subnet=self.plan.subnet, gateway=self.plan.gateway, iprange=self.plan.range)
        self._make(self.users, options={BRIDGE: self.bridge}, ipam=docker.types.IPAMConfig(pool_configs=[pool]))
        self._make(self.control)
        found = self.client.inspect_network(self.users)
        subnets = [each.get("Subnet") for each in found["IPAM"]["Config"] or []]
        if subnets != [self.plan.subnet] or (found["Options"] or {}).get(BRIDGE) != self.bridge:
            raise ComposeError(
                f"The network {self.users} has the subnet {', '.join(map(str, subnets)) or 'none'}, and"
                f" should have {self.plan.subnet}, on the bridge {self.bridge}. Restore JUPYTERHUB_USERS_SUBNET, or"
                f" stop all users' servers, Hub and proxy, and remove the network: docker network rm {self.users}"
            )
        return replaced

    def _remove_others(self, mtu: int) -> bool:
        """Remove both if one has another MTU, and return whether it did; not while a server is on them."""
        present = [self.client.inspect_network(each) for each in (self.users, self.control) if self._exists(each)]
        if all(sizes.of_network(each) == mtu for each in present):
            return False
        joined = {container for each in present for container in each.get("Containers") or {}}
        labels = [self.client.inspect_container(each)["Config"]["Labels"] or {} for each in joined]
        if any(each.get(KIND) not in OWN_KINDS for each in labels):
            self.log.warning(
                "Packets on the networks %s and %s should have %s bytes at most (MTU), otherwise downloads can stall."
                "  Servers are running, so both are left as they are: docker compose restart hub, when none runs",
                self.users,
                self.control,
                mtu,
            )
            return False
        for each in present:
            for container in each.get("Containers") or {}:
                self.client.disconnect_container_from_network(container, each["Name"], force=True)
            self.client.remove_network(each["Name"])
        return True

    def _make(self, name: str, **options: Any) -> None:
        if self._exists(name):
            return
        labels = {PROJECT: self.project, KIND: "network"}
        options["options"] = options.get("options", {}) | sizes.options(self.mtu)
        try:
            self.client.create_network(name, driver="bridge", check_duplicate=True, labels=labels, **options)
        except APIError as error:
            raise ComposeError(
                f"The network {name} cannot be created: {error.explanation}. If its addresses are taken, set"
                f" JUPYTERHUB_USERS_SUBNET to others, such as {self._free()}"
            ) from None

    def _exists(self, name: str) -> bool:
        return any(network["Name"] == name for network in self.client.networks(names=[name]))

    def _free(self) -> str:
        """Return a network that none of the engine's overlaps.  The machine's own routes cannot be seen from here."""
        configs = (each for network in self.client.networks() for each in (network.get("IPAM") or {}).get("Config") or [])
        subnets = [each["Subnet"] for each in configs if "." in each.get("Subnet", "")]
        # What was refused is not free either, whatever it overlaps.
        return free([*subnets, self.plan.subnet])

    # --- containers on them

    def attach(self, container: Mapping[str, Any], *, api: str, alias: str, address: str) -> bool:
        """Attach a container to both networks; return whether it was not attached yet.

        Args:
            container: of the Hub or of the proxy, as from `inspect_container`.
            api: its alias on the control network.
            alias: its alias on the users' network.
            address: its address on the users' network, which the fence allows.
        """
        # The fixed address doubles as a lock: a second application of the same name stops here, and does no harm.
        changed = self._attach(container, self.users, alias, address)
        return self._attach(container, self.control, api, None) or changed

    def _attach(self, container: Mapping[str, Any], network: str, alias: str, address: str | None) -> bool:
        known = container["NetworkSettings"]["Networks"].get(network)
        current = self.client.inspect_network(network)["Id"]
        if known and known["NetworkID"] == current and address in (None, known["IPAddress"]):
            return False
        if known:
            # The network was recreated, or the address is another one.
            self.client.disconnect_container_from_network(container["Id"], network, force=True)
        try:
            self.client.connect_container_to_network(container["Id"], network, ipv4_address=address, aliases=[alias])
        except APIError as error:
            raise ComposeError(
                f"{container['Name'].removeprefix('/')} cannot be attached to {network}: {error.explanation}"
            ) from None
        return True

    def proxy(self, address: str) -> Mapping[str, Any] | None:
        """Return the proxy's container, as from `inspect_container`; None if none is running.

        Of several, the one with the proxy's address on the users' network, else the newest.
        """
        labels = [f"{KIND}={PROXY_KIND}"]
        running = self.client.containers(filters={"label": labels, "status": "running"})
        newest = sorted(running, key=lambda container: -int(container["Created"]))
        described = [self.client.inspect_container(each["Id"]) for each in newest]
        found = [each for each in described if f"{NAME_VARIABLE}={self.project}" in each["Config"]["Env"]]
        joined = (each["NetworkSettings"]["Networks"].get(self.users, {}).get("IPAddress") for each in found)
        holders = [each for each, held in zip(found, joined, strict=True) if held == address]
        return next(iter([*holders, *found]), None)
