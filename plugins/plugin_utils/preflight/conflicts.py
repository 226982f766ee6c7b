"""Rules for conflicts with what else is on the machine: ports, networks, names and folders that are already in use."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ...module_utils.kernel_tables import MAIN_TABLE
from ...module_utils.rules.problems import Finding
from ...module_utils.rules.registry import Findings
from ...module_utils.rules.users_network import free
from . import ingress
from .host import Host, rule


@rule("jupyterhub_port", "jupyterhub_address", "ingress_mode")
def port(host: Host, number: int, address: str, mode: str) -> Findings:
    """It must be free, or in use by this Hub itself."""
    wanted = ingress.published(
        {"jupyterhub_port": number, "jupyterhub_address": address, "ingress_mode": mode},
    )
    taken: dict[str, list[str]] = {}
    for each_port, each_address in wanted.items():
        if holder := _holder(host, each_port, each_address):
            taken.setdefault(holder, []).append(each_port.removesuffix("/tcp"))
    for holder, ports in taken.items():
        what = f"port {ports[0]} is" if len(ports) == 1 else f"ports {', '.join(ports)} are"
        yield Finding(
            f"{what} taken by {holder}",
            "stop it, or have it forward requests to the Hub (ingress_mode: proxy; beside Coolify: coolify)"
            if mode == "caddy"
            else f"stop it, or set another port, such as jupyterhub_port: {number + 1 if number < 65535 else 8000}",
            "ingress_mode" if mode == "caddy" else "jupyterhub_port",
        )


def _holder(host: Host, port: str, address: str) -> str:
    """Return what else uses a port of the machine, "" if nothing does."""

    def others(kind: str) -> list[Mapping[str, Any]]:
        return [each for each in host.report[kind] if each["port"] == port]

    publishers = [each for each in others("publishers") if any(collide(address, ip) for ip in each["addresses"])]
    if any(each["ours"] for each in publishers):
        return ""
    listeners = [each for each in others("listeners") if collide(address, each["address"])]
    holder = next((f"the container {each['name']}" for each in publishers), "")
    return holder or next((each["program"] or "another program" for each in listeners), "")


@rule("network_users_subnet", "jupyterhub_name")
def users_subnet(host: Host, value: str, name: str) -> Findings:
    """Docker would refuse an overlapping network, or cut the machine off from the other one."""
    subnet = ipaddress.IPv4Network(value)
    others = [each for each in host.report["networks"] if each["interface"] != f"br-{name}"]
    # Docker's own are on this machine only.
    lan = [each["network"] for each in others if not each["interface"].startswith("the Docker network ")]
    advice = free([each["network"] for each in others], lan)
    for each in others:
        if subnet.overlaps(ipaddress.IPv4Network(each["network"])):
            table = each.get("table", MAIN_TABLE)
            where = "" if table == MAIN_TABLE else f" (routing table {table}: ip route show table {table})"
            yield Finding(
                f"{value} overlaps {each['network']}, which the machine reaches by {each['interface']}{where}",
                f"use another private network, such as {advice}" if advice else "use another private network",
                "network_users_subnet",
            )


@rule("jupyterhub_name")
def name_conflicts(host: Host, name: str) -> Findings:
    """A deployment never touches what does not belong to it."""
    for thing in host.report["name_conflicts"]:
        yield Finding(
            f"the {thing} has one of this Hub's names but not its label, so it does not belong to this Hub",
            "remove or rename it, or set another jupyterhub_name",
            "jupyterhub_name",
        )


@rule("jupyterhub_name")
def bridge(host: Host, name: str) -> Findings:
    """Docker would take over an existing interface, and the fence would cut off whatever uses it."""
    if holder := host.report["bridge_holder"]:
        yield Finding(
            f"the users' network needs the bridge br-{name}, but that name is taken by {holder}",
            "remove or rename that, or set another jupyterhub_name",
            "jupyterhub_name",
        )


@rule("jupyterhub_name")
def foreign_containers(host: Host, name: str) -> Findings:
    """They may have an address that the Hub needs, can reach the proxy's API, and are not in the fence's rules."""
    for each in host.report["foreign_containers"]:
        yield Finding(
            f"the container {each['container']} is not part of this Hub, but is on its network {each['network']}",
            f"disconnect it: docker network disconnect {each['network']} {each['container']}",
            "jupyterhub_name",
        )


@rule("jupyterhub_root")
def foreign_root(host: Host, value: str) -> Findings:
    """Another JupyterHub often has its files in /srv/jupyterhub."""
    if found := host.report["foreign_root"]:
        yield Finding(
            f"{value} belongs to something else: it contains {found}",
            "set another jupyterhub_root, or move that away",
            "jupyterhub_root",
        )


def collide(one: str, other: str) -> bool:
    """Return whether listeners on these addresses cannot share a port; "" and wildcards mean every address."""
    first, second = (ipaddress.ip_address(each or "::") for each in (one, other))
    first, second = (getattr(each, "ipv4_mapped", None) or each for each in (first, second))
    if first.version == second.version:
        return first == second or first.is_unspecified or second.is_unspecified
    return (first if first.version == 6 else second).is_unspecified
