"""Rules for the machine's Docker engine, from what the module `host_report` returns about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings
from .host import Host, rule

OLDEST_ENGINE = (20, 10)
# Kinds of engines that cannot run a Hub: key of engine_info, description, reason.
FOREIGN_KINDS = (
    ("rootless", "is rootless", "it cannot give the Hub's files and networks their owners and addresses"),
    ("snap", "is a snap", "its confinement hides the Hub's files from it"),
    ("userns_remap", "maps user ids (userns-remap)", "the Hub and users' homes need the ids of their images"),
    ("podman", "is Podman posing as Docker", "its API differs in networks and labels"),
)


@rule()
def engine(host: Host) -> Findings:
    """Not every kind of engine can run a Hub."""
    for kind, description, reason in FOREIGN_KINDS:
        if host.engine.get(kind):
            yield Finding(
                f"it {description}: {reason}",
                "use a machine without it, or replace it with the distribution's docker.io",
                "the Docker engine",
            )
    version = str(host.engine.get("version") or "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == len(OLDEST_ENGINE) and numbers < OLDEST_ENGINE:
        yield Finding(f"version {version} is too old", "upgrade it to 20.10 or newer", "the Docker engine")


@rule()
def engine_rules(host: Host) -> Findings:
    """Without its firewall rules, servers reach containers of other networks but nothing outside.

    Restarting an engine that would stop containers, or that is not ours, is the operator's decision.
    """
    # Those of a rootless one are in a network of its own.
    if host.engine.get("rules") is not False or host.engine.get("rootless"):
        return
    if host.engine.get("ours") and host.engine.get("live_restore"):
        return
    stops = "" if host.engine.get("live_restore") else ", which stops all containers, since live-restore is off"
    restart = f"restart the engine{stops}: systemctl restart docker (without systemd: service docker restart)"
    if host.engine.get("rules_off"):
        yield Finding(
            'it runs with "iptables": false, so its networks are neither isolated from each other nor connected to'
            " the outside",
            f"remove that from /etc/docker/daemon.json, or from its command line, and {restart}",
            "the Docker engine",
        )
    else:
        yield Finding(
            "its own rules are gone from the kernel (nft flush ruleset? systemctl restart nftables?), so its networks"
            " are neither isolated from each other nor connected to the outside",
            restart,
            "the Docker engine",
        )


@rule("docker_daemon_settings")
def data_root(host: Host, daemon_settings: Mapping[str, Any]) -> Findings:
    """With another folder the engine would start without images, volumes and users' files."""
    used = host.engine.get("root_dir")
    wanted = daemon_settings.get("data-root", used) or "/var/lib/docker"
    if used and host.engine.get("ours") and Path(str(wanted)) != Path(used):
        yield Finding(
            f"the engine keeps its images and volumes in {used}, and would not find them in {shown(str(wanted))}",
            f"stop the engine, move {used} there, write data-root into /etc/docker/daemon.json, start it, deploy again",
            "docker_daemon_settings.data-root",
        )
