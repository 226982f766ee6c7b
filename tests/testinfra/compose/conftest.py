"""The GitHub stand-in on this host, where the machine's containers reach it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from compose_app import URL
from e2e.browser import steady_network
from e2e.people import github
from github import GitHub


@dataclass(frozen=True)
class StandIn:
    """GitHub's state, its URL, and the CA of its certificate."""

    github: GitHub
    url: str
    certificate: Path


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """Run the stand-in on this host's address in the machine's network."""
    with github("bridge", URL, tmp_path_factory.mktemp("tls")) as (account, settings, certificate):
        # The numbers by which the older application that was recorded knows both.
        account.add_organization("acme", number=1001)
        account.add_user("Olga", number=1002)
        account.set_member("acme", "Olga")
        yield StandIn(account, settings["hub_github_url"], certificate)


@pytest.fixture(scope="session", autouse=True)
def no_ipv6_for_new_interfaces() -> Iterator[None]:
    """Keep Chromium from aborting page loads while other scenarios start machines."""
    with steady_network():
        yield
