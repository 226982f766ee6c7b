"""`docker compose up` over the application of an older commit, while a server runs (tests/older)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from compose_app import FOLDER, App, env_file, variables, write
from e2e.client import eventually
from older import become, remove
from testinfra.host import Host
from vps import assert_fence, inspect, started

SERVER = "jupyterhub-user-olga"
HUB, PROXY = "jupyterhub-hub-1", "jupyterhub-proxy-1"


@pytest.fixture(scope="module")
def given(stand_in: Any) -> dict[str, str]:
    given = variables(stand_in.url, JUPYTERHUB_ADDRESS="0.0.0.0")
    settings = json.loads(given["JUPYTERHUB_SETTINGS"])
    # GitHub is asked once, soon after the Hub's start, and not again within this file.
    settings["hub_traits"]["Authenticator"]["auth_refresh_age"] = 3600
    return {**given, "JUPYTERHUB_SETTINGS": json.dumps(settings)}


@pytest.fixture(scope="module")
def secrets(host: Host) -> Iterator[str]:
    """Restore the older application, and return what its secrets hash to."""
    try:
        become(host, "compose")
        folder = inspect(host, "jupyterhub_hub-state", "volume")["Mountpoint"]
        yield host.check_output(f"cd {folder} && sha256sum secrets/*")
    finally:
        # The next tests begin without an application.
        host.run(f"cd {FOLDER} && docker compose down --volumes")
        remove(host)


@pytest.fixture(scope="module")
def since(host: Host, secrets: str) -> str:
    return started(host, SERVER)


@pytest.fixture(scope="module")
def app(host: Host, stand_in: Any, given: dict[str, str], since: str) -> App:
    """Return the application with the older one's variables, as `git pull` leaves them."""
    settings = json.loads(given["JUPYTERHUB_SETTINGS"])
    older = {"github": {"url": settings["hub_github_url"]}, "traits": settings["hub_traits"]}
    write(host, f"{FOLDER}/.env", env_file({**given, "JUPYTERHUB_SETTINGS": json.dumps(older)}))
    app = App(host, stand_in.github, stand_in.url, stand_in.certificate)
    app.compose("up", "--detach")
    return app


def test_older_names_of_settings_are_reported_and_the_server_runs_on(host: Host, app: App, since: str) -> None:
    expected = "traits (JUPYTERHUB_SETTINGS): is now called hub_traits"
    eventually("the report", lambda: expected in app.compose("logs", "hub"), 60)
    assert started(host, SERVER) == since


def test_with_the_new_names_the_hub_has_the_server_and_its_user(
    host: Host, app: App, given: dict[str, str], since: str, secrets: str
) -> None:
    write(host, f"{FOLDER}/.env", env_file(given))
    # The stand-in does not know the token that it gave the older Hub for her: it would say that she is out.
    app.github.break_down(503, below="/api")
    try:
        app.compose("up", "--detach")
        app.wait_until_healthy()
        asked = "olga stays in, since GitHub cannot be asked"
        eventually("the question", lambda: asked in app.compose("logs", "hub"), 60, every_s=1)
    finally:
        app.github.recover()
    olga = app.member("Olga")
    eventually("the server", olga.answers, 60)
    assert started(host, SERVER) == since
    assert olga.server().read("kept.txt") == "mine"
    assert secrets == host.check_output(f"docker exec {HUB} sh -c 'cd /srv/jupyterhub && sha256sum secrets/*'")
    assert_fence(host, "olga", HUB, PROXY)


def test_the_server_starts_again_in_the_new_image(host: Host, app: App) -> None:
    olga = app.member("Olga")
    olga.server().stop()
    olga.server().start("base")
    assert inspect(host, SERVER)["Image"] == inspect(host, "jupyterhub/env-base:built", "image")["Id"]
    assert olga.server().read("kept.txt") == "mine"
    olga.server().stop()
