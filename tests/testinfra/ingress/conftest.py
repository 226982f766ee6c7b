"""The machine that the tests of all ways in share."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import testinfra
from e2e.people import github
from sites import Site
from ways_in import MACHINE, NAME, URL, Place, named


@pytest.fixture(scope="session")
def place(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Deploy with HTTPS and login with GitHub."""
    host = testinfra.get_host(f"docker://{MACHINE}")
    inspected = testinfra.get_host("local://").check_output("docker inspect %s", MACHINE)
    address = json.loads(inspected)[0]["NetworkSettings"]["IPAddress"]
    folder = tmp_path_factory.mktemp("tls")
    with named(NAME, address), github("bridge", URL, folder) as (account, settings, _):
        account.add_organization("acme")
        account.add_team("acme", "operators")
        site = Site(MACHINE, pytestconfig.getoption("--ansible-inventory"))
        place = Place(host, site, address, account, settings, folder)
        place.deploy().succeeded()
        yield place
