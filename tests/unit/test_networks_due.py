"""Networks that already are as wanted are skipped; all others are left to the module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from plugins.filter.networks_due import networks_due

BRIDGE = {"com.docker.network.bridge.name": "br-team"}
USERS = {
    "name": "team-users",
    "driver_options": BRIDGE,
    "ipam": [{"subnet": "10.213.0.0/20", "gateway": "10.213.0.1", "iprange": "10.213.8.0/21"}],
}
CONTROL = {"name": "team-control", "driver_options": {}, "ipam": []}
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


def test_as_wanted() -> None:
    assert networks_due([USERS, CONTROL], SEEN, "team") == []


def test_missing() -> None:
    assert networks_due([USERS, CONTROL], {}, "team") == [USERS, CONTROL]


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
    assert networks_due([USERS, CONTROL], seen, "team") == [USERS]
