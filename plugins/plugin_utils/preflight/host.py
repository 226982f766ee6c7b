"""Rules for the machine, from what the module `host_report` returns about it.

To add one, write a function under `@rule(settings it reads)`.  It gets the machine and those settings, and is called
only if all of them are well-formed.  Each finding names what it is about: a setting, or a part of the machine.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils import folder_access
from ...module_utils.rules.addresses import host_of
from ...module_utils.rules.mounts import SERVER_UID, same_for_all
from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings, Rules
from ...module_utils.rules.tables.entries import numbered
from ...module_utils.rules.tables.shared_folders import is_writable
from . import ingress, mtu

rule = Rules()

TESTED = {"Debian": ("12", "13")}
BEST_EFFORT = {"Ubuntu": ("22.04", "24.04")}
ARCHITECTURES = ("x86_64", "aarch64")
# Configuration, secrets and some spare room, if that is on another disk than the images.
ROOT_MIN_MB = 100
# As in the Hub (jupyterhub_ansible.spawner.admission).
GUARANTEED_SHARE = 4


@dataclass(frozen=True)
class Host:
    """The machine: what `host_report` returned, with its facts and its engine separately."""

    facts: Mapping[str, Any]
    report: Mapping[str, Any]
    engine: Mapping[str, Any]


def system_name(host: Host) -> tuple[str, str]:
    """Return distribution and release in the form of the tables above."""
    distribution = str(host.facts.get("distribution") or "unknown")
    kind = "distribution_major_version" if distribution in TESTED else "distribution_version"
    return distribution, str(host.facts.get(kind) or "unknown")


def warnings(host: Host, good: Mapping[str, Any]) -> list[str]:
    """Return warnings about the machine, and about the ingress."""
    found = []
    distribution, release = system_name(host)
    if release in BEST_EFFORT.get(distribution, ()):
        found.append(f"{distribution} {release} is expected to work but is not tested; Debian 12 and 13 are")
    if ingress.uses_acme(good) and (elsewhere := host.report["resolves_elsewhere"]):
        found.append(
            f"the host of jupyterhub_url resolves to {', '.join(elsewhere)}, which is not an address of the machine."
            " That is right behind NAT that forwards ports 80 and 443 to it; otherwise correct the DNS record (A or"
            " AAAA), or no certificate can be issued"
        )
    report, settings = host.report, good.get("docker_daemon_settings", {})
    found += mtu.warnings(host.engine, settings, report["own_networks"], report["servers_running"])
    return [*found, *ingress.warnings(good)]


@rule()
def system(host: Host) -> Findings:
    """Packages and the init system are known only for these."""
    distribution, release = system_name(host)
    if release not in (*TESTED.get(distribution, ()), *BEST_EFFORT.get(distribution, ())):
        yield Finding(
            f"{distribution} {release} is not supported",
            "use Debian 12 or 13 (Ubuntu 22.04 and 24.04 are expected to work)",
            "the system",
        )


@rule()
def architecture(host: Host) -> Findings:
    """The locks have wheels only for these."""
    machine = str(host.facts.get("architecture", "unknown"))
    if machine not in ARCHITECTURES:
        yield Finding(f"{machine} is not supported", "use an x86-64 or arm64 machine", "the architecture")


@rule()
def root(host: Host) -> Findings:
    """Installing packages, the engine and files of other accounts require root."""
    if host.report["euid"] != 0:
        yield Finding(
            "the tasks would not run as root", "log in as root, or allow sudo and keep become on", "the account"
        )


@rule("preflight_memory_min_mb")
def memory(host: Host, least: int) -> Findings:
    """Less is not enough for the Hub, a build and a few servers."""
    if host.report["memory_mb"] < least:
        yield Finding(
            f"the machine has {host.report['memory_mb']} MB, and at least {least} MB are required",
            "use a larger machine, or lower preflight_memory_min_mb",
            "memory",
        )


@rule("hub_server_memory_mb")
def server_memory(host: Host, server: int) -> Findings:
    """A limit above the machine's memory has no effect."""
    if server > host.report["memory_mb"]:
        yield Finding(
            f"one server may use {server} MB, but the machine has only {host.report['memory_mb']} MB",
            "lower it, or use a larger machine",
            "hub_server_memory_mb",
        )


@rule("hub_reserve_memory_mb", "hub_server_memory_mb")
def reserved_memory(host: Host, reserve: int, server: int) -> Findings:
    """Otherwise no server could start: each counts with at least a quarter of its limit."""
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
    """A limit above the machine's processors has no effect."""
    if server > host.report["processors"]:
        yield Finding(
            f"one server may use {server:g} processors, but the machine has only {host.report['processors']}",
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
                what = f"{name} has {size['memory_mb']} MB, but the machine has only {host.report['memory_mb']} MB"
                yield Finding(what, "lower it, or use a larger machine", about)
            if size["cpus"] > host.report["processors"]:
                what = f"{name} has {size['cpus']:g} processors, but the machine has only {host.report['processors']}"
                yield Finding(what, "lower it, or use a larger machine", about)


@rule("images_environments")
def mounted_folders(host: Host, environments: list[Mapping[str, Any]]) -> Findings:
    """No server of the environment could start."""
    for index, entry in enumerate(environments):
        for mount in entry.get("mounts") or []:
            if (source := same_for_all(mount["source"])) in host.report["absent_folders"]:
                yield Finding(
                    f"mounts: there is no folder {shown(source)} on the machine",
                    "create it there, or correct the path",
                    f"images_environments[{index}] (slug {shown(entry.get('slug'))})",
                )


def shared_sources(folders: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return which folders of the machine users share, and what servers must be able to do there."""
    return {
        each["source"]: {"uid": SERVER_UID, "write": is_writable(each)}
        for each in folders
        if str(each.get("source") or "").startswith("/")
    }


@rule("hub_shared_folders")
def shared_folders(host: Host, folders: list[Mapping[str, Any]]) -> Findings:
    """Servers would not start, or their users would find a folder that is of no use."""
    for about, entry in numbered("hub_shared_folders", folders):
        source = str(entry.get("source"))
        path = shlex.quote(source)
        problem = host.report["unusable_folders"].get(source)
        if problem == folder_access.ABSENT:
            what, fix = f"there is no folder {shown(source)} on the machine", "create it there, or correct the path"
        elif problem == folder_access.UNREADABLE:
            what = f"servers, which run as the user {SERVER_UID}, cannot read {shown(source)}"
            fix = f"run there: sudo chmod -R o+rX {path}"
        elif problem == folder_access.READ_ONLY:
            what = f"{shown(source)} is on a file system that is mounted read-only"
            fix = "mount it writable, or name only readers: read_groups, read_users, read_all"
        elif problem:
            what = f"servers, which run as the user {SERVER_UID}, cannot write to {shown(source)}"
            fix = (
                f"run there: sudo chown -R {SERVER_UID} {path}; or name only readers: read_groups, read_users, read_all"
            )
        else:
            continue
        yield Finding(f"source: {what}", fix, about)


@rule("images_environments")
def gpus(host: Host, environments: list[Mapping[str, Any]]) -> Findings:
    """The engine would refuse to start servers: it looks for this program at its own start (moby, nvidia_linux.go)."""
    for index, entry in enumerate(environments):
        if entry.get("gpus") and not host.report["nvidia_hook"]:
            yield Finding(
                "gpus: the machine has no nvidia-container-runtime-hook, without which containers cannot use GPUs",
                "install NVIDIA's container toolkit and restart the engine, or remove gpus",
                f"images_environments[{index}] (slug {shown(entry.get('slug'))})",
            )


@rule("backup_plan")
def units(host: Host, plan: Mapping[str, Any]) -> Findings:
    """The operator may have had a backup before."""
    if plan.get("repository") and (units := host.report["foreign_units"]):
        yield Finding(
            f"the machine has a unit {units[0]} that no run wrote, and the backup's would replace it",
            f"give it another name, or remove it: systemctl disable --now {units[0]}, then remove its file",
            "backup_plan",
        )


@rule("backup_plan")
def key(host: Host, plan: Mapping[str, Any]) -> Findings:
    """Without the key that it was made with, every backup in the repository would be lost."""
    if plan.get("repository") and host.report["has_other_key"]:
        yield Finding(
            "is not the key of the repository, which was made with the one in the file backup/secrets/password of"
            " jupyterhub_root",
            "set it to that key (make backup-key), or leave it out; to change the key, see docs/how-to/backup.md"
            " (Change the key)",
            "backup_password",
        )


@rule("backup_plan")
def scheduler(host: Host, plan: Mapping[str, Any]) -> Findings:
    """Otherwise no backup would ever be made."""
    if plan.get("schedule") and not host.report["has_scheduler"]:
        yield Finding(
            "the machine has neither systemd nor cron, so nothing would start a backup",
            "install cron, or remove schedule and have a program of yours run make backup",
            "backup_plan.schedule",
        )


@rule("preflight_disk_min_gb", "jupyterhub_root")
def disk(host: Host, least_gb: int, jupyterhub_root: str) -> Findings:
    """A build that fills the disk would break the engine as well."""
    least_mb = least_gb * 1000 // (4 if host.report["deployed"] else 1)
    for path, free in host.report["disks"].items():
        needed = ROOT_MIN_MB if path == jupyterhub_root else least_mb
        if free < needed:
            yield Finding(
                f"{free / 1000:.1f} GB are free for {path}, but {needed / 1000:.1f} GB are needed",
                "free some, add a larger disk there, or lower preflight_disk_min_gb",
                "disk",
            )


@rule("jupyterhub_address")
def address(host: Host, value: str) -> Findings:
    """Otherwise Docker could not publish the port."""
    if not host.report["address_is_local"]:
        yield Finding(
            f"the machine has no such address: {shown(value)}",
            "use 127.0.0.1, 0.0.0.0 or an address that `ip address` lists there",
            "jupyterhub_address",
        )


@rule("jupyterhub_url", "ingress_mode", "ingress_caddy")
def name_resolves(host: Host, url: str, mode: str, caddy: Mapping[str, Any]) -> Findings:
    """No authority would issue a certificate for it."""
    if ingress.uses_acme({"ingress_mode": mode, "ingress_caddy": caddy}) and not host.report["resolves_to"]:
        yield Finding(
            f"{host_of(url)} does not resolve on the machine, so no certificate authority will find it either",
            "at your DNS provider, add an A record (and AAAA, if the machine has IPv6) for it with the machine's"
            " address, and wait until it resolves",
            "jupyterhub_url",
        )


@rule("ingress_caddy", "ingress_mode")
def certificate(host: Host, caddy: Mapping[str, Any], mode: str) -> Findings:
    """The operator's own certificate must exist, and be valid for the host."""
    if mode != "caddy":
        return
    for kind in host.report["absent_files"]:
        yield Finding(
            f"there is no file {shown(caddy[kind])} on the machine",
            "put it there, or correct the path",
            f"ingress_caddy.{kind}",
        )
    if problem := host.report["certificate_problem"]:
        yield Finding(
            f"{shown(caddy['certificate_file'])} and its key cannot be used: {problem}",
            "put the certificate for jupyterhub_url there, with its chain, and its key without a passphrase, as PEM",
            "ingress_caddy.certificate_file",
        )


@rule("ingress_mode")
def coolify(host: Host, mode: str) -> Findings:
    """Coolify's proxy reaches the Hub through Coolify's network."""
    if mode == "coolify" and not host.report["has_coolify"]:
        yield Finding(
            "is coolify, but the machine's engine has no network coolify",
            "deploy to the machine that Coolify runs on, or to a server with a proxy that Coolify manages",
            "ingress_mode",
        )
