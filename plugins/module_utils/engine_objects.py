"""The engine's containers, networks and volumes, as far as they matter for a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .docker_engine import ask
from .kernel_tables import read

PROJECT_LABEL = "jupyterhub-ansible.project"
KIND_LABEL = "jupyterhub-ansible.kind"
BRIDGE_OPTION = "com.docker.network.bridge.name"
# As in the Hub (jupyterhub_ansible.engine.labels).
SERVER_KIND = "user-server"
COOLIFY = "coolify"
TIMEOUT_S = 5
RUN = Path("/run")


def name_of(container: dict[str, Any]) -> str:
    """Return a container's name; names with a second slash are links to it."""
    names = [name.lstrip("/") for name in container.get("Names") or []]
    return next((name for name in names if "/" not in name), "")


def is_ours(thing: dict[str, Any], name: str) -> bool:
    """Return whether an object of the engine has our label."""
    return (thing.get("Labels") or {}).get(PROJECT_LABEL) == name


def publishers(containers: list[dict[str, Any]], name: str, port: str) -> Iterator[dict[str, Any]]:
    """Yield the containers that publish a port of the machine."""
    for container in containers:
        addresses = [
            entry.get("IP", "")
            for entry in container.get("Ports") or []
            if f"{entry.get('PublicPort')}/{entry.get('Type')}" == port
        ]
        if addresses:
            labels = container.get("Labels") or {}
            ours = is_ours(container, name) and labels.get(KIND_LABEL) in ("proxy", "ingress")
            yield {"port": port, "name": name_of(container), "addresses": addresses, "ours": ours}


def name_conflicts(things: dict[str, dict[str, dict[str, Any]]], name: str) -> Iterator[str]:
    """Yield the objects (by kind, name: labels) that have one of our names but not our label."""
    names = {
        "container": (f"{name}-hub", f"{name}-proxy", f"{name}-ingress", f"{name}-audit"),
        "network": (f"{name}-control", f"{name}-users", f"{name}-ingress"),
        "volume": (f"{name}-hub", f"{name}-audit"),
    }
    for kind, ours in names.items():
        for each in ours:
            labels = things[kind].get(each)
            if labels is not None and labels.get(PROJECT_LABEL) != name:
                yield f"{kind} {each}"


def foreign_containers(containers: list[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Yield the containers on our networks that do not have our label."""
    for container in containers:
        if not is_ours(container, name):
            joined = (container.get("NetworkSettings") or {}).get("Networks") or {}
            for network in sorted({f"{name}-control", f"{name}-users", f"{name}-ingress"} & set(joined)):
                yield {"container": name_of(container), "network": network}


def servers_running(containers: list[dict[str, Any]], name: str) -> bool:
    """Return whether a user's server is running."""
    ours = [each for each in containers if is_ours(each, name) and each["Labels"].get(KIND_LABEL) == SERVER_KIND]
    return any(each.get("State") == "running" for each in ours)


def bridge_holder(networks: list[dict[str, Any]], name: str) -> str:
    """Return what uses the bridge of our users' network, if not this network itself."""
    for network in networks:
        if (network.get("Options") or {}).get(BRIDGE_OPTION) == f"br-{name}":
            ours = network["Name"] == f"{name}-users"
            return "" if ours else f"the network {network['Name']}"
    # Docker would take over such an interface.
    return "a network interface outside Docker" if Path(f"/sys/class/net/br-{name}").exists() else ""


def subnets(networks: list[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Yield the engine's IPv4 networks, also those without a route (macvlan); for ours, `interface` is ""."""
    for network in (each for each in networks if each.get("Scope") != "swarm"):
        ours = network["Name"] == f"{name}-users" and is_ours(network, name)
        for config in (network.get("IPAM") or {}).get("Config") or []:
            if "." in config.get("Subnet", ""):
                yield {
                    "network": config["Subnet"],
                    "interface": "" if ours else f"the Docker network {network['Name']}",
                }


def own_containers(socket_path: str, things: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Return the descriptions of our own containers, as far as they exist and are ours."""
    found = {}
    for each in (f"{name}-hub", f"{name}-proxy", f"{name}-ingress", f"{name}-audit"):
        ours = things.get(each, {}).get(PROJECT_LABEL) == name
        container = ask(socket_path, f"/containers/{each}/json", TIMEOUT_S) if ours else None
        if container:
            image = ask(socket_path, f"/images/{container['Config']['Image']}/json", TIMEOUT_S) or {}
            stamp = read(f"{RUN}/{each}.settled").strip()
            found[each] = {"container": container, "image": image.get("Id", ""), "stamp": stamp}
    return found


def find_objects(socket_path: str, name: str, ports: list[str]) -> dict[str, Any]:
    """Return what the engine has under our ports and names; nothing if it does not answer."""
    containers = ask(socket_path, "/containers/json?all=1", TIMEOUT_S) or []
    networks = ask(socket_path, "/networks", TIMEOUT_S)
    volumes = [ask(socket_path, f"/volumes/{name}-{each}", TIMEOUT_S) for each in ("hub", "audit")]
    things = {
        "container": {name_of(each): each.get("Labels") or {} for each in containers},
        "network": {each["Name"]: each.get("Labels") or {} for each in networks or []},
        "volume": {each["Name"]: each.get("Labels") or {} for each in volumes if each},
    }
    return {
        "publishers": [each for port in ports for each in publishers(containers, name, port)],
        "name_conflicts": list(name_conflicts(things, name)),
        "foreign_containers": list(foreign_containers(containers, name)),
        # Without an answer it is unknown whose bridge it is.
        "bridge_holder": bridge_holder(networks, name) if networks is not None else "",
        "subnets": list(subnets(networks or [], name)),
        "own_networks": {each["Name"]: each for each in networks or [] if is_ours(each, name)},
        "own_containers": own_containers(socket_path, things["container"], name),
        "has_ingress": any(
            things[kind].get(f"{name}-ingress", {}).get(PROJECT_LABEL) == name for kind in ("container", "network")
        ),
        "servers_running": servers_running(containers, name),
        "has_coolify": COOLIFY in things["network"],
        "deployed": things["container"].get(f"{name}-hub", {}).get(PROJECT_LABEL) == name,
    }
