"""Settings of the Docker engine: whoever may use the engine has the machine, and the users' network is built on it.

docs/how-to/engine.md says the same to readers. What an engine takes besides is not judged here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...module_utils.rules.problems import Finding, shown
from ...module_utils.rules.registry import Findings, Rules

rule = Rules()

SOCKET = "/var/run/docker.sock"
# Where the Hub, and this machine's docker command, look for it.
OWN_HOSTS = (f"unix://{SOCKET}", "unix:///run/docker.sock")
TLS = ("tlscacert", "tlscert", "tlskey")
DOCS = "docs/how-to/engine.md"
# Groups that others are in than administrators.
WIDE_GROUPS = ("users", "staff", "nogroup", "nobody", "www-data", "games", "100", "65534")
# A network that is less than this is the world, but for IPv6's own addresses of a site.
WIDEST = {4: 8, 6: 16}
OF_A_SITE = ipaddress.IPv6Network("fc00::/7")
# Servers' ports are open to whoever sends packets for them to this machine.
OPEN_GATEWAYS = ("nat-unprotected", "routed")

PAST_THE_PROXY = "lets other machines reach users' servers past the proxy"

Told = tuple[str, str]


def _is_local(host: str) -> bool:
    return host.startswith(("unix://", "fd://"))


def _is_own(host: str) -> bool:
    # systemd's may have a number behind it.
    return host in OWN_HOSTS or host.startswith("fd://")


def _hosts(value: Any, settings: Mapping[str, Any]) -> Iterator[Told]:
    hosts = [str(each) for each in value] if isinstance(value, list) else [str(value)]
    guarded = settings.get("tlsverify") is True and all(settings.get(each) for each in TLS)
    for host in hosts:
        if not _is_local(host) and not guarded:
            yield (
                f"{shown(host)} gives everybody who reaches it root on this machine",
                f"remove it (DOCKER_HOST=ssh://... needs no port), or add tlsverify: true with {', '.join(TLS)}",
            )
    if (guarded or all(map(_is_local, hosts))) and not any(map(_is_own, hosts)):
        yield f"takes away the socket {SOCKET}, which the Hub uses", f"add unix://{SOCKET}"


def _insecure_registries(value: Any, settings: Mapping[str, Any]) -> Iterator[Told]:
    for each in value if isinstance(value, list) else [value]:
        try:
            network = ipaddress.ip_network(str(each), strict=False)
        except ValueError:
            continue
        of_a_site = isinstance(network, ipaddress.IPv6Network) and network.subnet_of(OF_A_SITE)
        if network.prefixlen < WIDEST[network.version] and not of_a_site:
            yield (
                f"{shown(str(each))} is half the world: whoever is on the way could put code of theirs into images",
                "name the registry, as host:port",
            )


def _network_options(value: Any, settings: Mapping[str, Any]) -> Iterator[Told]:
    for driver, options in value.items() if isinstance(value, Mapping) else ():
        for name, option in options.items() if isinstance(options, Mapping) else ():
            if "gateway_mode" in str(name) and option in OPEN_GATEWAYS:
                yield f"{driver}.{name}: {option} {PAST_THE_PROXY}", "remove it"


def _if(test: Callable[[Any], bool], what: str, fix: str) -> Callable[[Any, Mapping[str, Any]], Iterator[Told]]:
    def check(value: Any, settings: Mapping[str, Any]) -> Iterator[Told]:
        if test(value):
            yield what, fix

    return check


def _off(value: Any) -> bool:
    # What is no boolean, the engine refuses; but "false" would be told too late.
    return value is False or str(value).lower() == "false"


REFUSED: dict[str, Callable[[Any, Mapping[str, Any]], Iterator[Told]]] = {
    "hosts": _hosts,
    "insecure-registries": _insecure_registries,
    "iptables": _if(
        _off,
        "leaves all containers without Docker's firewall, and without a way out",
        "remove it: the fence stands beside Docker's rules",
    ),
    "ip-masq": _if(_off, "leaves users' servers without a way out: no address is translated", "remove it"),
    "ip-forward": _if(_off, "leaves users' servers without a way out: nothing is forwarded", "remove it"),
    "allow-direct-routing": _if(lambda value: not _off(value), PAST_THE_PROXY, "remove it"),
    "default-network-opts": _network_options,
    "bridge": _if(lambda value: value == "none", "takes away the network that images are built on", "remove it"),
    "userns-remap": _if(
        bool,
        "maps user ids: the Hub and users' homes need the ids of their images, and the engine would find no volume",
        "remove it",
    ),
    "group": _if(
        lambda value: str(value) in WIDE_GROUPS,
        "would give its members root on this machine, and others than administrators are in it",
        "remove it, or name a group of administrators",
    ),
    "api-cors-header": _if(lambda value: "*" in str(value), "lets any web page use the engine", "remove it"),
    "seccomp-profile": _if(
        lambda value: value == "unconfined",
        "opens every system call of the kernel to containers",
        "remove it, or name the file of a profile",
    ),
}


def _name(key: str) -> str:
    """Return a key in the one form that it is known by here; the engine refuses other forms when it starts."""
    return key.lower().replace("_", "-")


@rule("docker_daemon_settings")
def gives_nobody_the_machine(settings: Mapping[str, Any]) -> Findings:
    """What would give it to the network, or take down what keeps servers apart."""
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
