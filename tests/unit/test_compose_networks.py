"""The networks that the Hub makes as a Compose application."""

from __future__ import annotations

import json

import pytest
from fake_engine import LOG, PLAN, Engine, refused
from jupyterhub_ansible.compose import networks
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.rules import users_network
from jupyterhub_ansible.rules.ranges import wrong_users_subnet
from jupyterhub_ansible.settings import environment_variables
from jupyterhub_ansible.settings.check import EXAMPLE

MTU = "com.docker.network.driver.mtu"


@pytest.mark.parametrize("subnet", ["10.213.0.0/20", "192.168.7.0/24", "172.16.0.0/16"])
def test_valid_users_networks(subnet: str) -> None:
    assert wrong_users_subnet(subnet) is None


@pytest.mark.parametrize(
    "subnet", ["8.8.0.0/20", "127.0.0.0/8", "10.0.0.0/8", "10.213.0.0/25", "10.213.0.1/20", "no network"]
)
def test_invalid_users_networks(subnet: str) -> None:
    assert wrong_users_subnet(subnet)


def test_name_applies_to_networks_and_images() -> None:
    settings = json.loads(json.dumps(EXAMPLE))
    settings["images_environments"][0]["image"] = "example/env-base:built"
    settings["images_environments"].append(
        {**settings["images_environments"][0], "slug": "mine", "image": "registry.example.org/x:1"}
    )
    found = environment_variables.overlaid(settings, {"JUPYTERHUB_NAME": "second"})
    assert (found["jupyterhub_name"], found["deployment"]["users_network"]) == ("second", "second-users")
    assert [each["image"] for each in found["images_environments"]] == [
        "second/env-base:built",
        "registry.example.org/x:1",
    ]


@pytest.fixture
def hub_networks(engine: Engine) -> networks.Networks:
    made = networks.Networks(engine, "hub", PLAN, LOG)
    made.ensure()
    return made


def attach(hub_networks: networks.Networks, engine: Engine, name: str) -> bool:
    return hub_networks.attach(engine.of(name), api="proxy-api", alias="proxy", address=PLAN.proxy)


def test_networks_are_created_once_and_match_the_role(engine: Engine, hub_networks: networks.Networks) -> None:
    users = engine.made["hub-users"]
    assert users["Options"] == {"com.docker.network.bridge.name": "br-hub"}
    assert users["IPAM"]["Config"] == [
        {"Subnet": PLAN.subnet, "Gateway": PLAN.gateway, "IPRange": PLAN.range, "AuxiliaryAddresses": None}
    ]
    engine.refuses = refused(409, "exists")
    hub_networks.ensure()
    assert set(engine.made) == {"hub-users", "hub-control"}


def test_changed_subnet_is_reported_with_its_fix(engine: Engine, hub_networks: networks.Networks) -> None:
    other = networks.Networks(engine, "hub", users_network.plan("10.214.0.0/20"), LOG)
    with pytest.raises(
        ComposeError, match=r"has the subnet 10\.213\.0\.0/20, and should .* docker network rm hub-users"
    ):
        other.ensure()


def test_taken_subnet_is_reported(engine: Engine) -> None:
    engine.refuses = refused(403, "Pool overlaps with other one on this address space")
    engine.made["other"] = {"Name": "other", "IPAM": {"Config": [{"Subnet": "10.214.0.0/16"}, {"Subnet": "fd00::/64"}]}}
    with pytest.raises(
        ComposeError, match=r"Pool overlaps .*JUPYTERHUB_USERS_SUBNET to others, such as 10\.215\.0\.0/20"
    ):
        networks.Networks(engine, "hub", PLAN, LOG).ensure()


def test_networks_have_the_mtu_of_the_machine(engine: Engine) -> None:
    made = networks.Networks(engine, "hub", PLAN, LOG)
    assert not made.ensure(1400)
    assert engine.made["hub-users"]["Options"] == {"com.docker.network.bridge.name": "br-hub", MTU: "1400"}
    assert engine.made["hub-control"]["Options"] == {MTU: "1400"}
    # Those that a person removed are made as they were.
    engine.made.clear()
    made.ensure()
    assert engine.made["hub-control"]["Options"] == {MTU: "1400"}


def test_networks_with_another_mtu_are_replaced_unless_a_server_is_on_them(
    engine: Engine, hub_networks: networks.Networks, caplog: pytest.LogCaptureFixture
) -> None:
    engine.add("p", kind="compose-proxy")
    attach(hub_networks, engine, "p")
    engine.add("a-server", kind="user-server")
    engine.made["hub-users"]["Containers"]["a-server"] = {}
    engine.calls.clear()
    assert not hub_networks.ensure(1400)
    assert engine.calls == []
    assert "should have 1400 bytes at most (MTU)" in caplog.text
    del engine.made["hub-users"]["Containers"]["a-server"]
    # The helper did not answer.
    assert not hub_networks.ensure(None)
    assert engine.calls == []
    assert hub_networks.ensure(1400)
    assert engine.calls == ["disconnect p hub-users", "rm hub-users", "disconnect p hub-control", "rm hub-control"]
    assert engine.made["hub-users"]["Options"][MTU] == engine.made["hub-control"]["Options"][MTU] == "1400"
    engine.calls.clear()
    assert attach(hub_networks, engine, "p")
    assert not hub_networks.ensure(1400)


def test_a_container_is_attached_where_it_is_not(engine: Engine, hub_networks: networks.Networks) -> None:
    engine.add("p")
    assert attach(hub_networks, engine, "p")
    assert engine.calls == [
        f"connect p hub-users {PLAN.proxy} ['proxy']",
        "connect p hub-control None ['proxy-api']",
    ]
    assert not attach(hub_networks, engine, "p")
    # Somebody recreated it with the same name.
    engine.made["hub-users"]["Id"] = "new"
    engine.calls.clear()
    assert attach(hub_networks, engine, "p")
    assert engine.calls == ["disconnect p hub-users", f"connect p hub-users {PLAN.proxy} ['proxy']"]


def test_taken_address_is_reported(engine: Engine, hub_networks: networks.Networks) -> None:
    engine.add("p")
    engine.refuses = refused(403, "Address already in use")
    with pytest.raises(ComposeError, match="p cannot be attached to hub-users: Address already in use"):
        attach(hub_networks, engine, "p")


def test_proxy_is_found_by_its_address_or_as_the_newest(engine: Engine, hub_networks: networks.Networks) -> None:
    address = "10.213.0.3"
    assert hub_networks.proxy(address) is None
    engine.add("old", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",), created=1)
    engine.add("new", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub",), created=2)
    engine.add("another-hub-s", kind="compose-proxy", env=("JUPYTERHUB_NAME=hub-2",), created=3)
    found = hub_networks.proxy(address)
    assert found
    assert found["Id"] == "new"
    hub_networks.ensure()
    hub_networks.attach(engine.of("old"), api="proxy-api", alias="proxy", address=address)
    found = hub_networks.proxy(address)
    assert found
    assert found["Id"] == "old"
