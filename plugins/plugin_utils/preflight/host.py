"""Rules for the machine, from what the module `host_report` says of it.

To add one, write a function under `@rule(settings it reads)`.  It gets the
machine and those settings, and is called only when all of them are well-formed.
A finding names what it is about itself: a setting, or a part of the machine.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.rules.addresses import host_of
from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings, Rules
from . import ingress

rule = Rules()

TESTED = {"Debian": ("12", "13")}
BEST_EFFORT = {"Ubuntu": ("22.04", "24.04")}
ARCHITECTURES = ("x86_64", "aarch64")
# Configuration, secrets and some room, where it is not the disk of the images.
ROOT_MIN_MB = 100
# As in the Hub (jupyterhub_ansible.spawner.admission).
GUARANTEED_SHARE = 4


@dataclass(frozen=True)
class Host:
    """The machine: the answers of `host_report`, and apart its facts and (where role docker is there) its engine."""

    facts: Mapping[str, Any]
    report: Mapping[str, Any]
    engine: Mapping[str, Any]


def system_name(host: Host) -> tuple[str, str]:
    """Return distribution and release as the tables above name them."""
    distribution = str(host.facts.get("distribution") or "unknown")
    kind = "distribution_major_version" if distribution in TESTED else "distribution_version"
    return distribution, str(host.facts.get(kind) or "unknown")


def warnings(host: Host, good: Mapping[str, Any]) -> list[str]:
    """Return what the operator should know, though it stops nothing."""
    found = []
    distribution, release = system_name(host)
    if release in BEST_EFFORT.get(distribution, ()):
        found.append(f"{distribution} {release} is expected to work but is not tested; Debian 12 and 13 are")
    if ingress.speaks_for_itself(good) and (elsewhere := host.report["leads_elsewhere"]):
        found.append(
            f"the host of jupyterhub_url leads to {', '.join(elsewhere)}, which the machine does not have: right behind"
            " NAT that passes ports 80 and 443 on to it; else correct the record (A or AAAA), or no certificate comes"
        )
    return [*found, *ingress.warnings(good)]


@rule()
def system(host: Host) -> Findings:
    """Packages and the init system are known for these."""
    distribution, release = system_name(host)
    if release not in (*TESTED.get(distribution, ()), *BEST_EFFORT.get(distribution, ())):
        yield Finding(
            f"{distribution} {release} is not supported",
            "use Debian 12 or 13 (Ubuntu 22.04 and 24.04 are expected to work)",
            "the system",
        )


@rule()
def architecture(host: Host) -> Findings:
    """The locks hold wheels for these."""
    machine = str(host.facts.get("architecture", "unknown"))
    if machine not in ARCHITECTURES:
        yield Finding(f"{machine} is not supported", "use an x86-64 or arm64 machine", "the architecture")


@rule()
def root(host: Host) -> Findings:
    """Packages, the engine and files of other accounts need it."""
    if host.report["euid"] != 0:
        yield Finding(
            "the tasks would not run as root", "log in as root, or allow sudo and keep become on", "the account"
        )


@rule("preflight_memory_min_mb")
def memory(host: Host, least: int) -> Findings:
    """Less does not carry the Hub, a build and a few servers."""
    if host.report["memory_mb"] < least:
        yield Finding(
            f"the machine has {host.report['memory_mb']} MB, and at least {least} MB are asked for",
            "use a larger machine, or lower preflight_memory_min_mb",
            "memory",
        )


@rule("hub_server_memory_mb")
def server_memory(host: Host, server: int) -> Findings:
    """A limit beyond the machine's memory is none."""
    if server > host.report["memory_mb"]:
        yield Finding(
            f"one server may use {server} MB, and the machine has {host.report['memory_mb']} MB",
            "lower it, or use a larger machine",
            "hub_server_memory_mb",
        )


@rule("hub_reserve_memory_mb", "hub_server_memory_mb")
def reserved_memory(host: Host, reserve: int, server: int) -> Findings:
    """No server could ever start: each counts with a quarter of its limit at least."""
    rest = host.report["memory_mb"] - reserve
    if rest < server // GUARANTEED_SHARE:
        yield Finding(
            f"leaves {max(0, rest)} MB of the machine's {host.report['memory_mb']} MB for users' servers, and one"
            f" needs {server // GUARANTEED_SHARE} MB (a quarter of hub_server_memory_mb)",
            "lower it, or hub_server_memory_mb, or use a larger machine",
            "hub_reserve_memory_mb",
        )


@rule("hub_server_cpus")
def server_cpus(host: Host, server: float) -> Findings:
    """A limit beyond the machine's processors is none."""
    if server > host.report["processors"]:
        yield Finding(
            f"one server may use {server:g} processors, and the machine has {host.report['processors']}",
            "lower it, or use a larger machine",
            "hub_server_cpus",
        )


@rule("images_environments")
def sizes(host: Host, environments: list[Mapping[str, Any]]) -> Findings:
    """The same for the sizes that users choose."""
    for index, entry in enumerate(environments):
        for size in entry.get("sizes") or []:
            about = f"images_environments[{index}] (slug {shown(entry.get('slug'))})"
            name = f"the size {shown(size.get('slug'))}"
            if size["memory_mb"] > host.report["memory_mb"]:
                what = f"{name} has {size['memory_mb']} MB, and the machine has {host.report['memory_mb']} MB"
                yield Finding(what, "lower it, or use a larger machine", about)
            if size["cpus"] > host.report["processors"]:
                what = f"{name} has {size['cpus']:g} processors, and the machine has {host.report['processors']}"
                yield Finding(what, "lower it, or use a larger machine", about)


@rule("images_environments")
def mounted_folders(host: Host, environments: list[Mapping[str, Any]]) -> Findings:
    """No server of it could start."""
    for index, entry in enumerate(environments):
        for mount in entry.get("mounts") or []:
            if mount["source"] in host.report["absent_folders"]:
                yield Finding(
                    f"mounts: there is no folder {shown(mount['source'])} on the machine",
                    "make it there, or correct the path",
                    f"images_environments[{index}] (slug {shown(entry.get('slug'))})",
                )


@rule("images_environments")
def gpus(host: Host, environments: list[Mapping[str, Any]]) -> Findings:
    """The engine would refuse every start: it looks for this program when it starts itself (moby, nvidia_linux.go)."""
    for index, entry in enumerate(environments):
        if entry.get("gpus") and not host.report["nvidia_hook"]:
            yield Finding(
                "gpus: the machine has no nvidia-container-runtime-hook, by which the engine gives containers GPUs",
                "install NVIDIA's container toolkit and restart the engine, or remove gpus",
                f"images_environments[{index}] (slug {shown(entry.get('slug'))})",
            )


@rule("preflight_disk_min_gb", "jupyterhub_root")
def disk(host: Host, least_gb: int, jupyterhub_root: str) -> Findings:
    """A build that runs out of disk takes the engine along."""
    least_mb = least_gb * 1000 // (4 if host.report["deployed"] else 1)
    for path, free in host.report["disks"].items():
        needed = ROOT_MIN_MB if path == jupyterhub_root else least_mb
        if free < needed:
            yield Finding(
                f"{free / 1000:.1f} GB are free for {path}, and {needed / 1000:.1f} GB are needed",
                "free some, add a larger disk there, or lower preflight_disk_min_gb",
                "disk",
            )


@rule("jupyterhub_address")
def address(host: Host, value: str) -> Findings:
    """Docker could not publish the port."""
    if not host.report["address_is_local"]:
        yield Finding(
            f"the machine has no such address: {shown(value)}",
            "use 127.0.0.1, 0.0.0.0 or an address that `ip address` lists there",
            "jupyterhub_address",
        )


@rule("jupyterhub_port", "jupyterhub_address", "ingress_mode")
def port(host: Host, number: int, address: str, mode: str) -> Findings:
    """Free, or held by this very Hub."""
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
            "stop it, or let it pass requests on to the Hub (ingress_mode: proxy; beside Coolify: coolify)"
            if mode == "caddy"
            else f"stop it, or set another port, such as jupyterhub_port: {number + 1 if number < 65535 else 8000}",
            "ingress_mode" if mode == "caddy" else "jupyterhub_port",
        )


def _holder(host: Host, port: str, address: str) -> str:
    """Return who else has a port of the machine, "" where nobody has."""

    def others(kind: str) -> list[Mapping[str, Any]]:
        return [each for each in host.report[kind] if each["port"] == port]

    publishers = [each for each in others("publishers") if any(collide(address, ip) for ip in each["addresses"])]
    if any(each["ours"] for each in publishers):
        return ""
    listeners = [each for each in others("listeners") if collide(address, each["address"])]
    holder = next((f"the container {each['name']}" for each in publishers), "")
    return holder or next((each["program"] or "another program" for each in listeners), "")


@rule("jupyterhub_url", "ingress_mode", "ingress_caddy")
def name_resolves(host: Host, url: str, mode: str, caddy: Mapping[str, Any]) -> Findings:
    """No authority would give a certificate for it."""
    if ingress.speaks_for_itself({"ingress_mode": mode, "ingress_caddy": caddy}) and not host.report["leads_to"]:
        yield Finding(
            f"{host_of(url)} does not resolve on the machine, so no certificate authority will find it either",
            "at your DNS provider, add an A record (and AAAA, if the machine has IPv6) of it with the machine's"
            " address, and wait until it is seen",
            "jupyterhub_url",
        )


@rule("ingress_caddy", "ingress_mode")
def certificate(host: Host, caddy: Mapping[str, Any], mode: str) -> Findings:
    """A certificate of one's own is there, and for this."""
    if mode != "caddy":
        return
    for kind in host.report["absent_files"]:
        yield Finding(
            f"there is no file {shown(caddy[kind])} on the machine",
            "put it there, or correct the path",
            f"ingress_caddy.{kind}",
        )
    if trouble := host.report["certificate_trouble"]:
        yield Finding(
            f"{shown(caddy['certificate_file'])} and its key cannot be used: {trouble}",
            "put the certificate of jupyterhub_url, with its chain, and its key without a passphrase there, as PEM",
            "ingress_caddy.certificate_file",
        )


@rule("ingress_mode")
def coolify(host: Host, mode: str) -> Findings:
    """Its proxy finds the Hub on its network."""
    if mode == "coolify" and not host.report["has_coolify"]:
        yield Finding(
            "is coolify, and the machine's engine has no network coolify",
            "deploy to the machine that Coolify runs on, or to a server of its own that it manages with a proxy",
            "ingress_mode",
        )


@rule("network_users_subnet", "jupyterhub_name")
def users_subnet(host: Host, value: str, name: str) -> Findings:
    """Docker would refuse it, or cut the machine off from the other network."""
    subnet = ipaddress.IPv4Network(value)
    for route in host.report["networks"]:
        if route["interface"] != f"br-{name}" and subnet.overlaps(ipaddress.IPv4Network(route["network"])):
            yield Finding(
                f"{value} overlaps {route['network']}, which the machine reaches by {route['interface']}",
                "take another private network, such as 10.214.0.0/20",
                "network_users_subnet",
            )


@rule("jupyterhub_name")
def strangers(host: Host, name: str) -> Findings:
    """Nothing that is not ours is touched."""
    for thing in host.report["strangers"]:
        yield Finding(
            f"the {thing} bears one of our names without our label, so it is not touched",
            "remove or rename it, or set another jupyterhub_name",
            "jupyterhub_name",
        )


@rule("jupyterhub_name")
def bridge(host: Host, name: str) -> Findings:
    """Docker would take an interface that is there for its own, and the fence would shut in whoever uses it."""
    if holder := host.report["bridge_holder"]:
        yield Finding(
            f"the users' network needs the bridge br-{name}, which {holder} has",
            "remove or rename that, or set another jupyterhub_name",
            "jupyterhub_name",
        )


@rule("jupyterhub_name")
def guests(host: Host, name: str) -> Findings:
    """It may hold an address of ours, reaches the proxy's API on the control network, and is in no fence's plan."""
    for guest in host.report["guests"]:
        yield Finding(
            f"the container {guest['container']}, which is not ours, is on our network {guest['network']}",
            f"give it another: docker network disconnect {guest['network']} {guest['container']}",
            "jupyterhub_name",
        )


@rule("jupyterhub_root")
def foreign_root(host: Host, value: str) -> Findings:
    """Another JupyterHub often has its files in /srv/jupyterhub."""
    if found := host.report["foreign_root"]:
        yield Finding(
            f"{value} belongs to something else: it holds {found}",
            "set another jupyterhub_root, or move that away",
            "jupyterhub_root",
        )


def collide(one: str, other: str) -> bool:
    """Return whether two listeners on these addresses cannot share a port; "" and wildcards are every address."""
    first, second = (ipaddress.ip_address(each or "::") for each in (one, other))
    first, second = (getattr(each, "ipv4_mapped", None) or each for each in (first, second))
    if first.version == second.version:
        return first == second or first.is_unspecified or second.is_unspecified
    return (first if first.version == 6 else second).is_unspecified
