"""The networks' MTU on a machine whose link to the outside carries less than Ethernet's 1500 bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from testinfra.host import Host
from vps import Admin, assert_fence, inspect, wait_until_healthy

NETWORKS = ("jupyterhub-users", "jupyterhub-control")


def sizes(host: Host) -> set[str]:
    return {inspect(host, name, "network")["Options"].get("com.docker.network.driver.mtu", "1500") for name in NETWORKS}


def test_networks_get_the_machine_s_mtu_once_no_server_runs(
    host: Host, admin: Admin, converge: Callable[..., Any]
) -> None:
    admin.start("ada")
    # The link of the machine that this throwaway machine runs on may be small already.
    before = host.check_output("cat /sys/class/net/eth0/mtu")
    smaller = str(int(before) - 100)
    assert sizes(host) == {before}
    host.check_output("ip link set eth0 mtu %s", smaller)
    run = converge()
    assert run.ok, run.output
    assert f"jupyterhub-control and jupyterhub-users: packets should have {smaller} bytes at most" in run.said
    assert f"set docker_daemon_settings: {{mtu: {smaller}}}" in run.said
    assert sizes(host) == {before}
    for user in json.loads(admin.ask("GET", "/hub/api/users")[1]):
        if user["servers"]:
            admin.stop(user["name"])
    run = converge()
    assert run.ok, run.output
    assert "at most (MTU)" not in run.said
    assert sizes(host) == {smaller}
    wait_until_healthy(host)
    admin.start("ada")
    for container in ("jupyterhub-user-ada", "jupyterhub-hub", "jupyterhub-proxy"):
        links = host.check_output("docker exec %s sh -c %s", container, "cat /sys/class/net/eth*/mtu")
        assert set(links.split()) == {smaller}, container
    assert_fence(host, "ada")
    assert converge().changed == 0
