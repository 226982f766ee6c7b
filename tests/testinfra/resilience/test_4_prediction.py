"""A dry run predicts what the next run does, task by task."""

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

ELSEWHERE: dict[str, Any] = {
    "network_users_subnet": "10.214.0.0/20",
    "docker_daemon_settings": {"log-opts": {"max-size": "11m"}},
}
OTHERWISE: dict[str, Any] = {
    "jupyterhub_port": 8010,
    "hub_server_memory_mb": 1500,
    "hub_traits": {"Spawner": {"default_url": "/lab/tree"}},
    "images_environments": [
        {"slug": "base", "title": "Notebooks", "description": "And more."},
        {"slug": "cow", "title": "Cow", "pip": ["cowsay==6.1"]},
    ],
}


def predicted(site: Site, **edit: Any) -> list[str]:
    """Return what a run changed, exactly as the dry run before it predicted."""
    prediction = site.check(**edit).succeeded()
    done = site.run(**edit).succeeded()
    assert prediction.changes == done.changes, prediction.output
    return done.changes


# Each edit keeps the ones before it, so that every predicted change has one cause.


def test_dry_run_predicts_new_engine_settings_and_subnet(site: Site) -> None:
    """Proxy and Hub follow the network; the Hub's settings have its new address."""
    assert predicted(site, **ELSEWHERE) == ENGINE + NETWORK + PROXY + SETTINGS + HUB


def test_dry_run_predicts_a_new_port_limits_traits_and_catalogue(site: Site) -> None:
    changes = predicted(site, **ELSEWHERE, **OTHERWISE)
    assert changes == ["images : build | Build env-cow", *PROXY, *SETTINGS, *HUB]


def test_dry_run_predicts_the_way_back_and_a_given_secret(site: Site) -> None:
    """The Hub's copy of the token is predicted before the proxy's is written."""
    image = ["images : prune | Remove tags beyond images_keep that no container uses"]
    token, copy = ["proxy : Keep the proxy's token"], ["hub : Keep the Hub's secrets"]
    changes = predicted(site, proxy_token=token_hex())
    assert changes == ENGINE + image + NETWORK + token + PROXY + copy + SETTINGS + HUB


def test_dry_run_predicts_no_change(site: Site) -> None:
    """Generated secrets are kept, and so is one that was set once."""
    assert predicted(site) == []


def test_dry_run_reports_settings_that_the_hub_refuses(host: Host, site: Site) -> None:
    """A dry run checks settings with the Hub's own code as well."""
    before = host.file("/srv/jupyterhub/hub/hub.json").content_string
    run = site.check(hub_traits={"JupyterHub": {"log_level": "LOUD"}}, hub_server_memory_mb=1500)
    assert run.code
    assert "traits: JupyterHub.log_level: must be " in run.said
    assert host.file("/srv/jupyterhub/hub/hub.json").content_string == before
