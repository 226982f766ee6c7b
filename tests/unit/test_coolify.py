"""The Compose file under Coolify's rules (tests/coolify.py), as text; the scenario compose starts it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from coolify import CoolifyError, Resource
from jupyterhub_ansible.settings import environment_variables

COMPOSE = Path(__file__).parents[2] / "compose"
UUID = "kc8gk4s0o4w0"
GIVEN = {
    "GITHUB_CLIENT_ID": "Iv1.id",
    "GITHUB_CLIENT_SECRET": "c" * 40,
    "OAUTH_CALLBACK_URL": "https://hub.example.org/hub/oauth_callback",
}


@pytest.fixture
def resource() -> Resource:
    return Resource(UUID, (COMPOSE / "docker-compose.yml").read_text(), GIVEN, "https://hub.example.org:8000")


@pytest.fixture
def deployed(resource: Resource) -> dict[str, Any]:
    return resource.deployment("f" * 40, "101112131415")


def test_required_variables_are_asked_for_and_not_prefilled() -> None:
    empty = Resource(UUID, (COMPOSE / "docker-compose.yml").read_text(), {}, "https://hub.example.org:8000")
    empty.deployment("f" * 40, "1")
    assert empty.required == set(GIVEN)
    assert {empty.variables[name] for name in GIVEN} == {""}


def test_secrets_are_generated_once_and_the_hub_accepts_them(resource: Resource) -> None:
    resource.deployment("f" * 40, "1")
    first = dict(resource.variables)
    resource.deployment("e" * 40, "2")
    made = {name for name in first if name.startswith("SERVICE_HEX_64_")}
    assert len(made) == 3
    assert {name: resource.variables[name] for name in made} == {name: first[name] for name in made}
    found = environment_variables.secrets({"JUPYTERHUB_COOKIE_SECRET": str(first["SERVICE_HEX_64_COOKIESECRET"])})
    assert re.fullmatch("[0-9a-f]{64}", found["cookie_secret"])


def test_services_are_attached_to_the_resource_s_own_network_only(deployed: dict[str, Any]) -> None:
    services = deployed["services"]
    assert {name for name in services if "networks" not in services[name]} == {"audit", "env-base", "env-datascience"}
    assert services["hub"]["networks"] == services["proxy"]["networks"] == {UUID: None}
    assert list(deployed["networks"]) == [UUID]


def test_the_hub_relies_on_no_name_that_coolify_changes(deployed: dict[str, Any]) -> None:
    text = yaml.safe_dump(deployed["services"]["hub"])
    # Coolify would write the file itself, uses the port itself, and changes the name.
    assert "ports" not in deployed["services"]["proxy"]
    assert deployed["services"]["hub"]["volumes"][0].startswith("/var/run/docker.sock:")
    assert deployed["services"]["env-base"]["image"] == f"{UUID}_env-base:{'f' * 40}"
    assert f"{UUID}_hub-state:/srv/jupyterhub" in text
    shared = [volume.partition(":")[0] for volume in deployed["services"]["proxy"]["volumes"]]
    assert f"{shared[0]}:/run/proxy" in text


def test_labels_contain_no_variables_which_coolify_would_not_expand(deployed: dict[str, Any]) -> None:
    assert not [label for service in deployed["services"].values() for label in service["labels"] if "$" in label]
    assert "jupyterhub-ansible.kind=compose-proxy" in deployed["services"]["proxy"]["labels"]


def test_traefik_s_labels(deployed: dict[str, Any]) -> None:
    """In Traefik's own syntax: every router has a rule and an existing service, on the proxy's public port."""
    labels = dict(label.split("=", 1) for label in deployed["services"]["proxy"]["labels"])
    routers = {name.split(".")[3] for name in labels if name.startswith("traefik.http.routers.")}
    assert routers == {f"https-0-{UUID}-proxy", f"http-0-{UUID}-proxy"}
    for router in routers:
        assert re.fullmatch(r"Host\(`[a-z.]+`\) && PathPrefix\(`/`\)", labels[f"traefik.http.routers.{router}.rule"])
        service = labels[f"traefik.http.routers.{router}.service"]
        port = labels[f"traefik.http.services.{service}.loadbalancer.server.port"]
        assert f"--port={port}" in deployed["services"]["proxy"]["command"]
        for middleware in labels[f"traefik.http.routers.{router}.middlewares"].split(","):
            assert any(name.startswith(f"traefik.http.middlewares.{middleware}.") for name in labels)
    # It is on three networks, and Traefik on this one.
    assert labels["traefik.docker.network"] == UUID


def test_hub_proxy_and_recorder_decide_on_health(resource: Resource) -> None:
    # Coolify ignores containers that are never restarted.
    counted = [name for name, service in resource.raw["services"].items() if service.get("restart") != "no"]
    assert counted == ["proxy", "audit", "hub"]
    # The recorder has no network.
    for name in ("proxy", "hub"):
        test = " ".join(resource.raw["services"][name]["healthcheck"]["test"])
        assert "healthcheck " in test, "what the image has: neither curl nor wget"


def test_build_arguments_are_added_to_every_stage_and_override_none(resource: Resource) -> None:
    resource.deployment("f" * 40, "1")
    before = (COMPOSE / "Dockerfile").read_text()
    after = resource.dockerfile(before).splitlines()
    assert [line for line in after if line in before.splitlines()] == before.strip().splitlines()
    stages = [line for line in after if line.startswith("FROM ")]
    assert after.count("ARG JUPYTERHUB_SETTINGS") == len(stages)
    used = set(re.findall(r"\$\{?([A-Z_]+)", re.sub(r"^#.*", "", before, flags=re.MULTILINE)))
    # One of these without a value would override what a stage sets itself.
    assert not used & set(resource.arguments())


def test_a_file_that_coolify_refuses_is_refused() -> None:
    raw = "services: {proxy: {image: x, volumes: ['./a:/b']}}"
    with pytest.raises(CoolifyError, match="keeps files of its own"):
        Resource(UUID, raw, {}, "https://x").deployment("f", "1")
    with pytest.raises(CoolifyError, match="service name"):
        Resource(UUID, "services: {'a;b': {image: x}}", {}, "https://x")


def test_every_declared_network_would_reach_every_service() -> None:
    raw = "services: {proxy: {image: x}}\nnetworks: {users: {}}"
    deployed = Resource(UUID, raw, {}, "https://x").deployment("f", "1")
    assert deployed["services"]["proxy"]["networks"] == {"users": None, UUID: None}
