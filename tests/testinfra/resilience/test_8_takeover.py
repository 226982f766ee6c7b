"""A Hub that an older commit deployed is taken over by a run, while a server runs (tests/older)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from older import become
from sites import Run, Site
from testinfra.host import Host
from vps import Admin, assert_fence, inspect, started

SERVER = "jupyterhub-user-bob"


@dataclass
class Before:
    """What there was when the older Hub ran."""

    server: str
    image: str
    secrets: str
    settings: dict[str, Any]


def secrets(host: Host) -> str:
    return str(host.check_output("sha256sum /srv/jupyterhub/hub/secrets/* /srv/jupyterhub/proxy/secrets/*"))


@pytest.fixture(scope="module")
def before(host: Host) -> Before:
    become(host, "playbook")
    host.check_output("systemctl daemon-reload && /srv/jupyterhub/proxy/fence load")
    settings = json.loads(host.file("/srv/jupyterhub/hub/hub.json").content_string)
    return Before(started(host, SERVER), inspect(host, SERVER)["Config"]["Image"], secrets(host), settings)


@pytest.fixture(scope="module")
def run(before: Before, site: Site) -> Run:
    return site.run().succeeded()


@pytest.fixture(scope="module")
def admin(host: Host, run: Run) -> Admin:
    return Admin(host)


@pytest.fixture(scope="module")
def site(host: Any, pytestconfig: pytest.Config) -> Site:
    return Site(host.backend.name, pytestconfig.getoption("--ansible-inventory"))


def test_the_older_hub_was_another_one(before: Before) -> None:
    assert "server" in before.settings, "hub.json had other names"


def test_the_server_runs_on_and_answers(host: Host, before: Before, run: Run, admin: Admin) -> None:
    assert started(host, SERVER) == before.server
    assert admin.ask("GET", "/user/bob/api/status")[0] == 200
    assert host.check_output("docker exec %s cat kept.txt", SERVER) == "mine"
    assert secrets(host) == before.secrets


def test_the_fence_is_proved_around_it(host: Host, run: Run) -> None:
    assert_fence(host, "bob")
    unit = "/etc/systemd/system/jupyterhub-fence.service"
    assert "fence keep" in host.file(unit).content_string
    for name in ("fence", "ceiling"):
        assert host.check_output("systemctl show --property SubState --value jupyterhub-%s", name) == "running"


def test_a_second_run_changes_nothing(site: Site, run: Run) -> None:
    assert site.run().succeeded().changes == []


def test_the_server_stops_and_starts_again(host: Host, admin: Admin, before: Before) -> None:
    assert admin.ask("DELETE", "/hub/api/users/bob/server")[0] in (202, 204)
    admin.start("bob")
    assert inspect(host, SERVER)["Config"]["Image"] != before.image
    assert host.check_output("docker exec %s cat kept.txt", SERVER) == "mine"
    assert admin.ask("DELETE", "/hub/api/users/bob/server")[0] in (202, 204)
