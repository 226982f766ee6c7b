"""Rules for settings of the Docker engine that would give others root, or break the isolation of users' servers.

docs/how-to/engine.md has the same list for operators.  Other settings of the engine are not checked here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings, Rules

rule = Rules()

SOCKET = "/var/run/docker.sock"
# Where the Hub and the docker command expect the socket.
OWN_HOSTS = (f"unix://{SOCKET}", "unix:///run/docker.sock")
TLS = ("tlscacert", "tlscert", "tlskey")
DOCS = "docs/how-to/engine.md"
# Groups whose members are not all administrators.
WIDE_GROUPS = ("users", "staff", "nogroup", "nobody", "www-data", "games", "100", "65534")
# Shorter prefixes cover too much of the internet, except for IPv6's unique local addresses.
SHORTEST_PREFIX = {4: 8, 6: 16}
UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
# With these modes, anyone who routes packets through this machine can reach servers' ports.
OPEN_GATEWAYS = ("nat-unprotected", "routed")

BYPASSES_PROXY = "lets other machines reach users' servers past the proxy"

WhatAndFix = tuple[str, str]


def _is_local(host: str) -> bool:
    return host.startswith(("unix://", "fd://"))


def _is_own(host: str) -> bool:
    # A socket of systemd's may have a number after it.
    return host in OWN_HOSTS or host.startswith("fd://")


def _hosts(value: Any, settings: Mapping[str, Any]) -> Iterator[WhatAndFix]:
    hosts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    guarded = settings.get("tlsverify") is True and all(settings.get(each) for each in TLS)
    for host in hosts:
        if not _is_local(host) and not guarded:
            yield (
                f"{shown(host)} gives root on this machine to anyone who can reach it",
                f"remove it (DOCKER_HOST=ssh://... needs no port), or add tlsverify: true with {', '.join(TLS)}",
            )
    if (guarded or all(map(_is_local, hosts))) and not any(map(_is_own, hosts)):
        yield f"removes the socket {SOCKET}, which the Hub uses", f"add unix://{SOCKET}"


def _insecure_registries(value: Any, settings: Mapping[str, Any]) -> Iterator[WhatAndFix]:
    for each in value if isinstance(value, list) else [value]:
        try:
            network = ipaddress.ip_network(str(each), strict=False)
        except ValueError:
            continue
        is_local = isinstance(network, ipaddress.IPv6Network) and network.subnet_of(UNIQUE_LOCAL)
        if network.prefixlen < SHORTEST_PREFIX[network.version] and not is_local:
            yield (
                f"{shown(str(each))} covers too many addresses: anyone on the path could tamper with images",
                "name the registry, as host:port",
            )


def _network_options(value: Any, settings: Mapping[str, Any]) -> Iterator[WhatAndFix]:
    for driver, options in value.items() if isinstance(value, Mapping) else ():
        for name, option in options.items() if isinstance(options, Mapping) else ():
            if "gateway_mode" in str(name) and option in OPEN_GATEWAYS:
                yield f"{driver}.{name}: {option} {BYPASSES_PROXY}", "remove it"


def _if(test: Callable[[Any], bool], what: str, fix: str) -> Callable[[Any, Mapping[str, Any]], Iterator[WhatAndFix]]:
    def check(value: Any, settings: Mapping[str, Any]) -> Iterator[WhatAndFix]:
        if test(value):
            yield what, fix

    return check


def _off(value: Any) -> bool:
    # The engine refuses values that are not booleans, but "false" in quotes should be reported here already.
    return value is False or str(value).lower() == "false"


REFUSED: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[WhatAndFix]]] = {
    "hosts": _hosts,
    "insecure-registries": _insecure_registries,
    "iptables": _if(
        _off,
        "leaves all containers without Docker's firewall and without a connection to the outside",
        "remove it: the fence works alongside Docker's rules",
    ),
    "ip-masq": _if(_off, "cuts users' servers off from the outside: addresses are not translated", "remove it"),
    "ip-forward": _if(_off, "cuts users' servers off from the outside: packets are not forwarded", "remove it"),
    "allow-direct-routing": _if(lambda value: not _off(value), BYPASSES_PROXY, "remove it"),
    "default-network-opts": _network_options,
    "bridge": _if(lambda value: value == "none", "removes the network that images are built on", "remove it"),
    "userns-remap": _if(
        bool,
        "maps user ids: the Hub and users' homes need the ids of their images, and existing volumes would be lost"
        " from sight",
        "remove it",
    ),
    "group": _if(
        lambda value: str(value) in WIDE_GROUPS,
        "would give its members root on this machine, and not all of them are administrators",
        "remove it, or name a group of administrators",
    ),
    "api-cors-header": _if(lambda value: "*" in str(value), "lets any web page use the engine", "remove it"),
    "seccomp-profile": _if(
        lambda value: value == "unconfined",
        "lets containers make every system call of the kernel",
        "remove it, or name a profile's file",
    ),
}


def _name(key: str) -> str:
    """Return a key in the spelling of the table above; the engine refuses others only when it starts."""
    return key.lower().replace("_", "-")


@rule("docker_daemon_settings")
def unsafe_engine_settings(settings: Mapping[str, Any]) -> Findings:
    """They would give the network control of the machine, or break the isolation of servers."""
    given = {_name(key): value for key, value in settings.items()}
    for key, value in settings.items():
        check = REFUSED.get(_name(key))
        for what, fix in check(value, given) if check and value is not None else ():
            yield Finding(what, f"{fix} ({DOCS})", f"docker_daemon_settings.{key}")


@rule("docker_daemon_settings", "docker_swarm_enabled")
def live_restore_excludes_swarm(settings: Mapping[str, Any], swarm: bool) -> Findings:
    """The engine would not start."""
    if swarm and settings.get("live-restore") is True:
        yield Finding("live-restore is incompatible with docker_swarm_enabled: true", "remove one of the two")
