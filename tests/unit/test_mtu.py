"""The MTU of our networks: which one, and warnings where something else has another one."""

from __future__ import annotations

import re
import runpy
import socket
import subprocess
from typing import Any
from unittest.mock import Mock

import pytest

from plugins.module_utils.rules import mtu as rules
from plugins.plugin_utils.preflight import mtu

OPTION = "com.docker.network.driver.mtu"
FOREIGN = {"running": True, "ours": False, "mtu": None, "route_mtu": 1400}
OURS = {**FOREIGN, "ours": True}
SET = {**OURS, "mtu": 1400}
NETWORKS = {"hub-users": {"Options": {OPTION: "1400"}}, "hub-control": {"Options": None}}


def test_the_mtu_of_the_default_route_is_the_kernels() -> None:
    asked = subprocess.run(["ip", "route", "get", "203.0.113.1"], capture_output=True, text=True, check=False).stdout
    if device := re.search(r" dev (\S+)", asked):
        link = subprocess.run(["ip", "link", "show", device[1]], capture_output=True, text=True, check=True).stdout
        found = re.search(r" mtu (\d+)", asked) or re.search(r" mtu (\d+)", link)
        assert found
        assert rules.of_default_route() == min(1500, int(found[1]))
    else:
        assert rules.of_default_route() is None


def test_without_a_default_route_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As early in a boot: networks with a smaller one must not be made again with Docker's default."""
    monkeypatch.setattr(socket.socket, "connect", Mock(side_effect=OSError("Network is unreachable")))
    assert rules.of_default_route() is None
    runpy.run_path(rules.__file__, run_name="__main__")
    assert capsys.readouterr().out == "\n"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, None),
        ({"mtu": 1400}, 1400),
        ({"mtu": 0}, None),
        ({"mtu": "large"}, None),
        ({"default-network-opts": {"bridge": {OPTION: "1300"}}}, 1300),
        ({"mtu": 1280, "default-network-opts": {"bridge": {OPTION: "1300"}}}, 1280),
        ({"default-network-opts": []}, None),
    ],
)
def test_the_mtu_in_the_engines_settings(settings: dict[str, Any], found: int | None) -> None:
    assert rules.of_settings(settings) == found


@pytest.mark.parametrize(
    ("engine", "settings", "found"),
    [
        (OURS, {}, 1400),
        # What the engine's owner chose may be for a link further away.
        (OURS, {"mtu": 1300}, 1300),
        (OURS, {"mtu": 1500}, 1400),
        ({**FOREIGN, "mtu": 1300}, {}, 1300),
        # There is no default route.
        ({**OURS, "route_mtu": None}, {}, None),
        ({**FOREIGN, "route_mtu": None, "mtu": 1300}, {}, 1300),
        # An earlier run wrote it.
        ({**OURS, "mtu": 1300}, {}, 1400),
    ],
)
def test_the_mtu_of_our_networks(engine: dict[str, Any], settings: dict[str, Any], found: int | None) -> None:
    assert mtu.of_networks(engine, settings) == found


def test_nothing_is_said_where_all_is_as_it_should_be() -> None:
    unknown = {**FOREIGN, "route_mtu": None}
    assert list(mtu.warnings(unknown, {"mtu": 1500}, NETWORKS, servers=True)) == []
    plain = {**FOREIGN, "route_mtu": 1500}
    assert list(mtu.warnings(plain, {}, {"hub-control": {}}, servers=True)) == []
    assert list(mtu.warnings({**FOREIGN, "mtu": 1400}, {}, {}, servers=True)) == []
    assert list(mtu.warnings(SET, {}, NETWORKS, servers=False)) == []
    # One that is not started yet will be started with it.
    assert list(mtu.warnings({**OURS, "running": False}, {}, {}, servers=False)) == []


def test_what_is_left_is_said() -> None:
    [about] = mtu.warnings(SET, {}, NETWORKS, servers=True)
    assert about.startswith("hub-control: packets should have 1400 bytes at most")
    assert "a deployment while none runs corrects it" in about
    [about] = mtu.warnings(OURS, {"mtu": 1500}, {}, servers=True)
    assert about.startswith("docker_daemon_settings.mtu: this machine's link to the outside carries packets of 1400")
    [about] = mtu.warnings(FOREIGN, {}, {}, servers=False)
    assert 'add "mtu": 1400 to /etc/docker/daemon.json and restart the machine' in about
    [about] = mtu.warnings(OURS, {}, {}, servers=False)
    assert "set docker_daemon_settings: {mtu: 1400}, deploy, and restart the machine" in about
