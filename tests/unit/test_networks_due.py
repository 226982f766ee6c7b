"""Networks that already are as wanted are skipped; all others are left to the module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from plugins.filter.networks_due import networks_due

BRIDGE = {"com.docker.network.bridge.name": "br-team"}
USERS: dict[str, Any] = {
    "name": "team-users",
    "driver_options": BRIDGE,
    "ipam": [{"subnet": "10.213.0.0/20", "gateway": "10.213.0.1", "iprange": "10.213.8.0/21"}],
}
CONTROL: dict[str, Any] = {"name": "team-control", "driver_options": {}, "ipam": []}
LABELS = {"jupyterhub-ansible.project": "team", "jupyterhub-ansible.kind": "network"}
SEEN: dict[str, dict[str, Any]] = {
    "team-users": {
        "Driver": "bridge",
        "Options": BRIDGE,
        "Labels": {**LABELS},
        "Internal": False,
        "IPAM": {"Config": [{"Subnet": "10.213.0.0/20", "Gateway": "10.213.0.1", "IPRange": "10.213.8.0/21"}]},
    },
    "team-control": {
        "Driver": "bridge",
        "Options": None,
        "Labels": {**LABELS},
        "IPAM": {"Config": [{"Subnet": "172.18.0.0/16"}]},
    },
}


MTU = "com.docker.network.driver.mtu"


@pytest.mark.parametrize("servers", [True, False])
def test_as_wanted(servers: bool) -> None:
    assert networks_due([USERS, CONTROL], SEEN, "team", 1500, servers) == []


def test_missing() -> None:
    assert networks_due([USERS, CONTROL], {}, "team", 1500, servers=False) == [USERS, CONTROL]


def test_another_mtu_is_due_unless_a_server_is_running() -> None:
    options: list[dict[str, str]] = [{**BRIDGE, MTU: "1400"}, {MTU: "1400"}]
    smaller = [each | {"driver_options": more} for each, more in zip((USERS, CONTROL), options, strict=True)]
    assert networks_due([USERS, CONTROL], {}, "team", 1400, servers=True) == smaller
    assert networks_due([USERS, CONTROL], SEEN, "team", 1400, servers=False) == smaller
    assert networks_due([USERS, CONTROL], SEEN, "team", 1400, servers=True) == []
    seen = copy.deepcopy(SEEN)
    seen["team-users"]["Options"][MTU] = "1400"
    # As if the engine's default-network-opts had added it.
    seen["team-control"]["Options"] = {MTU: "1500"}
    assert networks_due([USERS, CONTROL], seen, "team", 1400, servers=False) == smaller[1:]
    assert networks_due([USERS, CONTROL], seen, "team", 1500, servers=False) == [USERS]
    # Without a default route it stays as it is, also of a network that is replaced for another reason.
    assert networks_due([USERS, CONTROL], seen, "team", None, servers=False) == []
    assert networks_due([USERS], {}, "team", None, servers=False) == [USERS]
    other = {**seen, "team-users": {**seen["team-users"], "Internal": True}}
    assert networks_due([USERS, CONTROL], other, "team", None, servers=False) == smaller[:1]
    # What differs otherwise is replaced all the same.
    seen["team-users"]["Internal"] = True
    assert networks_due([USERS, CONTROL], seen, "team", 1500, servers=True) == [USERS]


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.update(Driver="macvlan"),
        lambda n: n.update(Options={}),
        lambda n: n["Options"].update(more="1"),
        lambda n: n["Labels"].pop("jupyterhub-ansible.kind"),
        lambda n: n["Labels"].update({"jupyterhub-ansible.project": "other"}),
        lambda n: n.update(Internal=True),
        lambda n: n.update(EnableIPv6=True),
        lambda n: n["IPAM"].update(Config=None),
        lambda n: n["IPAM"]["Config"][0].update(Gateway="10.213.0.9"),
        lambda n: n["IPAM"]["Config"][0].pop("IPRange"),
        lambda n: n["IPAM"]["Config"].append({"Subnet": "10.9.0.0/24"}),
    ],
)
def test_different(change: Callable[[dict[str, Any]], object]) -> None:
    seen = copy.deepcopy(SEEN)
    change(seen["team-users"])
    assert networks_due([USERS, CONTROL], seen, "team", 1500, servers=False) == [USERS]
