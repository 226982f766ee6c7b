"""A dry run predicts what the run after it does, task by task."""

from __future__ import annotations

from secrets import token_hex
from typing import Any

from sites import Site
from testinfra.host import Host

ENGINE = [
    "docker : Write the engine's settings",
    "docker : start | Have the engine read its settings",
    "docker : start | Start the engine, now and at boot",
]
NETWORK = [
    "network : watched | Keep the fence around the users' network in force",
    "network : Make the networks => (item=jupyterhub-users)",
]
PROXY = ["proxy : container | Run the proxy"]
HUB = ["hub : container | Run the Hub"]
SETTINGS = ["hub : Write the Hub's settings"]

ELSEWHERE: dict[str, Any] = {"network_users_subnet": "10.214.0.0/20", "docker_log_max_size_mb": 11}
OTHERWISE: dict[str, Any] = {
    "jupyterhub_port": 8010,
    "hub_server_memory_mb": 1500,
    "hub_traits": {"Spawner": {"default_url": "/lab/tree"}},
    "images_environments": [
        {"slug": "base", "title": "Notebooks", "description": "And more."},
        {"slug": "cow", "title": "Cow", "pip": ["cowsay==6.1"]},
    ],
}


def foretold(site: Site, **edit: Any) -> list[str]:
    """What a run changed, just as the dry run before it said."""
    foreseen = site.check(**edit).succeeded()
    done = site.run(**edit).succeeded()
    assert foreseen.changes == done.changes, foreseen.output
    return done.changes


# Each edit leaves the ones before it in place: what is foretold has one cause, and all else is unchanged.


def test_engine_settings_and_the_users_subnet(site: Site) -> None:
    """Proxy and Hub follow the network, and servers are told the Hub's new address."""
    assert foretold(site, **ELSEWHERE) == ENGINE + NETWORK + PROXY + SETTINGS + HUB


def test_port_limits_traits_and_catalogue(site: Site) -> None:
    changes = foretold(site, **ELSEWHERE, **OTHERWISE)
    assert changes == ["images : build | Build env-cow", *PROXY, *SETTINGS, *HUB]


def test_all_of_it_taken_back_and_a_secret_given(site: Site) -> None:
    """The Hub's copy of the token is foretold before the proxy's is written."""
    image = ["images : prune | Remove tags beyond images_keep that no container uses"]
    token, copy = ["proxy : Keep the proxy's token"], ["hub : Keep the Hub's secrets"]
    changes = foretold(site, proxy_token=token_hex())
    assert changes == ENGINE + image + NETWORK + token + PROXY + copy + SETTINGS + HUB


def test_then_nothing(site: Site) -> None:
    """A generated secret and one that was given once are kept alike."""
    assert foretold(site) == []


def test_settings_that_the_hub_would_refuse(host: Host, site: Site) -> None:
    """The Hub's own code is asked by a dry run, too."""
    before = host.file("/srv/jupyterhub/hub/hub.json").content_string
    run = site.check(hub_traits={"JupyterHub": {"log_level": "LOUD"}}, hub_server_memory_mb=1500)
    assert run.code
    assert "traits: JupyterHub.log_level: must be " in run.said
    assert host.file("/srv/jupyterhub/hub/hub.json").content_string == before
