"""The MTU of our networks, and warnings where something else has another one; module_utils/rules/mtu.py says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.rules.mtu import ETHERNET, of_network, of_settings


def of_networks(engine: Mapping[str, Any], daemon_settings: Mapping[str, Any]) -> int | None:
    """Return the MTU for our networks: that of the default route, or less if the engine's owner chose less.

    None if neither says any, as on a machine that has just booted: networks then stay as they are.

    Args:
        engine: what the module `engine_info` returns.
        daemon_settings: `docker_daemon_settings`.
    """
    # An engine that is ours has in its daemon.json what an earlier run wrote, maybe for another route.
    known = (engine["route_mtu"], of_settings(daemon_settings), None if engine["ours"] else engine["mtu"])
    return min((each for each in known if each), default=None)


def warnings(
    engine: Mapping[str, Any], daemon_settings: Mapping[str, Any], networks: Mapping[str, Any], servers: bool
) -> Iterator[str]:
    """Yield where larger packets are sent than the default route carries, and who can change that.

    Args:
        engine: what the module `engine_info` returns.
        daemon_settings: `docker_daemon_settings`.
        networks: ours, as the engine describes them, by name.
        servers: whether a user's server is running.
    """
    route, wanted = engine["route_mtu"], of_networks(engine, daemon_settings)
    link = f"this machine's link to the outside carries packets of {route} bytes only (its MTU), so"
    if route is None:
        return
    if (given := of_settings(daemon_settings)) and given > route:
        yield f"docker_daemon_settings.mtu: {link} with {given} downloads in builds can stall. Remove it, or lower it"
    elif engine["running"] and (engine["mtu"] or ETHERNET) > route:
        fix = f"set docker_daemon_settings: {{mtu: {route}}}, deploy,"
        if not engine["ours"]:
            fix = f'add "mtu": {route} to /etc/docker/daemon.json'
        yield (
            f"{link} downloads in builds and in other containers can stall: the engine's own network has"
            f" {engine['mtu'] or ETHERNET} (those of the Hub and of users' servers do not). To change that, {fix} and"
            " restart the machine: an engine does not change it while containers run"
        )
    left = [name for name in sorted(networks) if of_network(networks[name]) != wanted] if servers else []
    if left:
        yield (
            f"{' and '.join(left)}: packets should have {wanted} bytes at most (MTU), otherwise downloads can stall."
            " Users' servers are running, so this is left as it is; a deployment while none runs corrects it"
        )
