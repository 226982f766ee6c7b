"""The Hub's background tasks besides JupyterHub's own."""

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import pytest
import requests
from jupyterhub import app
from jupyterhub.auth import DummyAuthenticator
from jupyterhub.spawner import SimpleLocalProcessSpawner as SimpleSpawner
from jupyterhub_ansible import app as hub_app
from jupyterhub_ansible.app import JupyterHub, checked_settings, prepare, trust_proxy
from jupyterhub_ansible.audit import refusals
from jupyterhub_ansible.auth import tokens
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.settings.model import Settings, SettingsError, SharedFolder
from jupyterhub_ansible.sharing import grants
from jupyterhub_ansible.spawner import fence_check
from jupyterhub_ansible.spawner.disk_admission import Disk
from jupyterhub_ansible.spawner.server_cards import Page
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from jupyterhub_ansible.spawner.start_page import TEMPLATES
from jupyterhub_ansible.web.http_server import HubServer
from project import IMAGES
from tornado.httpserver import HTTPServer
from traitlets.config import Config

SWEEP_SHARES = JupyterHub._sweep_shares
EVENTS = Mock()
"""Replaces the thread that follows events."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub whose upstream start does nothing."""
    monkeypatch.setattr(app.JupyterHub, "start", AsyncMock())
    monkeypatch.setattr(hub_app, "CLEAN_UP_S", 0)
    monkeypatch.setattr(hub_app, "Events", EVENTS)
    monkeypatch.setattr(UserServerSpawner, "addresses", Mock(), raising=False)
    monkeypatch.setattr(tokens, "remove_stale", Mock())
    # It never ends by itself.
    monkeypatch.setattr(JupyterHub, "_sweep_shares", AsyncMock(side_effect=asyncio.CancelledError))
    hub = JupyterHub(spawner_class=UserServerSpawner)
    hub.db = Mock()
    hub.http_server, hub.tornado_settings = Mock(), {"log": logging.getLogger("hub")}
    return hub


def started(hub: Any) -> None:
    async def scenario() -> None:
        await hub.start()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(scenario())


def test_orphans_are_removed_regularly(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, removed = AsyncMock(side_effect=[None, None, asyncio.CancelledError]), Mock()
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", looked)
    monkeypatch.setattr(tokens, "remove_stale", removed)
    started(hub)
    # Helpers of the last Hub only at the start.
    assert [call.args for call in looked.await_args_list] == [(hub.users, True), (hub.users, False), (hub.users, False)]
    assert [call.args for call in removed.call_args_list] == [(hub.db,)] * 3


@pytest.mark.parametrize(("spawner_class", "policy"), [(UserServerSpawner, "groups"), (SimpleSpawner, "nobody")])
def test_shares_are_looked_through_regularly(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, spawner_class: type, policy: str
) -> None:
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", AsyncMock(side_effect=asyncio.CancelledError))
    monkeypatch.setattr(JupyterHub, "_sweep_shares", SWEEP_SHARES)
    monkeypatch.setattr(hub_app, "SWEEP_S", 0)
    caplog.set_level(logging.INFO)
    looked = Mock(side_effect=[["ben may not use ann/ any more"], ValueError("locked"), [], asyncio.CancelledError])
    monkeypatch.setattr(grants, "sweep", looked)
    hub.config = Config({"UserServerSpawner": {"sharing": "groups"}})
    hub.log, hub.spawner_class = logging.getLogger("hub"), spawner_class
    hub.authenticator = DummyAuthenticator(blocked_users={"ann"})
    started(hub)
    assert [(call.args[1], call.args[2]("ann"), call.args[2]("ben")) for call in looked.call_args_list] == [
        (policy, True, False)
    ] * 4
    assert "ben may not use ann/ any more" in caplog.text
    assert "Cannot look for shares that are over; retrying in 0 s" in caplog.text
    assert hub.db.rollback.call_count == 1


@pytest.mark.parametrize("spawner_class", [UserServerSpawner, SimpleSpawner])
def test_refused_logins_are_summed_up_regularly(hub: Any, monkeypatch: pytest.MonkeyPatch, spawner_class: type) -> None:
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", AsyncMock(side_effect=asyncio.CancelledError))
    monkeypatch.setattr(refusals, "SETTLE_S", 0)
    hub.log, hub.spawner_class = logging.getLogger("hub"), spawner_class
    settle = AsyncMock(side_effect=[None, ValueError("unforeseen"), None, asyncio.CancelledError])
    hub._audit = Mock(load_visits=AsyncMock(), settle=settle)
    started(hub)
    hub._audit.load_visits.assert_awaited_once_with()
    assert settle.await_count == 4


def test_subcommand_starts_no_background_tasks(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = AsyncMock()
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", looked)
    hub.http_server = None
    started(hub)
    looked.assert_not_awaited()


def test_a_hub_starts_without_docker(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.log = logging.getLogger("hub")
    silent = AsyncMock(side_effect=[requests.ConnectionError("refused"), asyncio.CancelledError])
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", silent)
    started(hub)
    assert "Cannot look for orphaned containers: refused" in caplog.text


def test_unexpected_error_does_not_end_the_clean_up(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.log = logging.getLogger("hub")
    failing = AsyncMock(side_effect=[ValueError("no row"), None, asyncio.CancelledError])
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", failing)
    settled, removed = (Mock(side_effect=[ValueError("locked"), None, None]) for _ in range(2))
    monkeypatch.setattr(UserServerSpawner, "settle_addresses", settled)
    monkeypatch.setattr(tokens, "remove_stale", removed)
    started(hub)
    assert (failing.await_count, settled.call_count, removed.call_count) == (3, 3, 3)
    assert hub.db.rollback.call_count == 2
    assert "no row" in caplog.text
    assert "locked" in caplog.text


@pytest.mark.parametrize("environment", ["jinja2_env", "jinja2_env_sync"])
def test_operators_template_can_extend_ours(tmp_path: Path, environment: str) -> None:
    """JupyterHub's prefix `templates/` leads past ours, so that the cards of workspaces would be gone."""
    (tmp_path / "home.html").write_text(
        '{% extends "deployment/home.html" %}{% block main %}<p>Welcome</p>{{ super() }}{% endblock %}'
    )
    hub = JupyterHub(template_paths=[str(tmp_path), str(TEMPLATES)], authenticator=DummyAuthenticator(allow_all=True))
    hub.hub = Mock(base_url="/hub/")
    hub.db = hub.proxy = hub.oauth_provider = hub.eventlog = Mock()
    hub.init_tornado_settings()
    home = hub.tornado_settings[environment].get_template("home.html")
    card = {"title": "Genomics", "state": "running", "people": [], "may_start": False}
    given: dict[str, Any] = {
        "workspaces": lambda: {"workspace.lab": card},
        "shared_folders": lambda: [(SharedFolder(slug="notes"), True)],
        "shared_with_me": list,
        "static_url": lambda *_, **__: "",
        "user": MagicMock(),
    }
    about: dict[str, Any] = {
        "of_deleted": "",
        "of_new": "",
        "may_share": False,
        "disk": Disk(1, 2),
        "is_disk_low": False,
    }
    own = Page(cards=(), running_limit=0, **about)
    page = home.render({**given, "own_servers": lambda *_: own, "named_server_limit_per_user": 0})
    # Theirs, those of the deployment, and JupyterHub's.
    parts = ("<p>Welcome</p>", 'id="delete-server"', ">Genomics</h3>", "<code>shared/notes</code>", "</html>")
    assert [part for part in parts if part not in page] == []


def test_configuration_and_log_use_jupyterhubs_name() -> None:
    assert JupyterHub.__name__ == app.JupyterHub.__name__


@pytest.mark.parametrize(
    ("reconciler", "expected"), [(None, {"10.213.0.3"}), (Mock(proxy_addresses={"172.20.0.9"}), {"172.20.0.9"})]
)
def test_only_the_proxy_is_trusted(reconciler: Any, expected: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HubServer, "proxies", frozenset)
    before = HTTPServer._save_configuration()
    try:
        trust_proxy(Settings.model_validate_json(json.dumps(check.EXAMPLE)), reconciler)
        assert isinstance(HTTPServer(Mock()), HubServer)
    finally:
        HTTPServer._restore_configuration(before)
    assert HubServer.proxies() == expected


# --- Docker's events


def server(container: str, **state: Any) -> Any:
    found = Mock(object_id=container, active=True, ready=True, pending=None, poll_and_notify=AsyncMock())
    found.configure_mock(**state)
    return found


def told(hub: Any, *containers: str | None) -> None:
    """Let the thread report these containers, and the Hub check them."""

    async def scenario() -> None:
        hub._follow_events()
        tell = EVENTS.call_args.args[3]
        for container in containers:
            await asyncio.to_thread(tell, container)
        await asyncio.sleep(0)
        await asyncio.gather(*hub._checks)

    asyncio.run(scenario())


@pytest.fixture
def servers(hub: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Servers of one user: running, stopping, stopped."""
    found = [server("1"), server("2", ready=False, pending="stop"), server("3", ready=False, active=False)]
    users = {"alice": Mock(spawners={each.object_id: each for each in found})}
    monkeypatch.setattr(JupyterHub, "users", users)
    hub.proxy, hub._service_map, hub.log = Mock(check_routes=AsyncMock()), {}, logging.getLogger("hub")
    return found


def test_server_with_an_event_is_polled_at_once(hub: Any, servers: list[Any]) -> None:
    told(hub, "1", "2", "3", "another")
    assert [each.poll_and_notify.await_count for each in servers] == [1, 0, 0]


def test_missed_events_cause_a_check_of_all_servers(hub: Any, servers: list[Any]) -> None:
    told(hub, None)
    hub.proxy.check_routes.assert_awaited_once_with(hub.users, hub._service_map)


def test_server_that_ends_while_its_route_is_added_is_polled_afterwards(hub: Any, servers: list[Any]) -> None:
    starting = servers[0]
    starting.ready, starting.pending = False, "spawn"

    async def scenario() -> None:
        looking = asyncio.create_task(hub._check_server("1"))
        await asyncio.sleep(0.05)
        starting.poll_and_notify.assert_not_awaited()
        starting.ready, starting.pending = True, None
        await asyncio.wait_for(looking, 5)

    asyncio.run(scenario())
    starting.poll_and_notify.assert_awaited_once()


def test_starting_server_is_searched_once(hub: Any, servers: list[Any]) -> None:
    starting = servers[0]
    starting.ready, starting.pending = False, "spawn"
    hub._spawner_of = Mock(side_effect=hub._spawner_of)

    async def scenario() -> None:
        looking = asyncio.create_task(hub._check_server("1"))
        await asyncio.sleep(0.3)
        starting.active = False
        await asyncio.wait_for(looking, 5)

    asyncio.run(scenario())
    assert hub._spawner_of.call_count == 1
    starting.poll_and_notify.assert_not_awaited()


def test_stopping_hub_ends_the_thread(hub: Any, servers: list[Any]) -> None:
    told(hub)
    tell = EVENTS.call_args.args[3]
    with pytest.raises(SystemExit):
        tell("1")


def test_failing_check_is_logged(hub: Any, servers: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    servers[0].poll_and_notify.side_effect = ValueError("unforeseen")
    told(hub, "1")
    assert "unforeseen" in caplog.text


# --- as a Compose application


@pytest.fixture
def reconciler(hub: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The reconciler of that Hub."""
    monkeypatch.setattr(hub_app, "RECONCILE_S", 0)
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", AsyncMock(side_effect=asyncio.CancelledError))
    hub.reconciler, hub.log = Mock(), logging.getLogger("hub")
    hub.proxy, hub._service_map = Mock(check_routes=AsyncMock()), {}
    return hub.reconciler


def test_a_new_proxy_gets_its_routes_at_once(hub: Any, reconciler: Any) -> None:
    reconciler.reconcile.side_effect = [False, True, False, asyncio.CancelledError]
    started(hub)
    hub.proxy.check_routes.assert_awaited_once_with(hub.users, hub._service_map)


def test_reconciling_goes_on_after_errors(hub: Any, reconciler: Any, caplog: pytest.LogCaptureFixture) -> None:
    reconciler.reconcile.side_effect = [OSError("no disk"), True, True, asyncio.CancelledError]
    hub.proxy.check_routes.side_effect = [OSError("no proxy"), None]
    started(hub)
    assert reconciler.reconcile.call_count == 4
    assert caplog.text.count("Checking networks, proxy and fence failed") == 2
    assert "no disk" in caplog.text
    assert "no proxy" in caplog.text


def test_old_images_are_removed_regularly(
    hub: Any, reconciler: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reconciler.reconcile.side_effect = asyncio.CancelledError
    silent = requests.ConnectionError("refused")
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", AsyncMock(side_effect=[None, silent, silent]))
    reconciler.remove_old_images.side_effect = [silent, None, asyncio.CancelledError]
    started(hub)
    assert reconciler.remove_old_images.call_count == 3
    assert "Cannot look for old images: refused" in caplog.text


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The Reconciler class; the spawner's check before a start is restored afterwards."""
    made = Mock()
    monkeypatch.setattr(hub_app, "Reconciler", made)
    monkeypatch.setattr(UserServerSpawner, "check_before_start", None)
    return made


def test_every_start_is_checked_by_the_reconciler(made: Mock) -> None:
    settings, reconciler = Mock(), Mock()
    made.return_value = reconciler
    assert prepare(settings) == reconciler
    assert made.call_args.args[0] is settings
    reconciler.prepare.assert_called_once_with()
    assert UserServerSpawner.check_before_start is reconciler.check_before_start


def test_hub_of_the_playbook_only_monitors_the_fence(made: Mock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JupyterHub, "fence_monitor", None)
    assert prepare(Mock(compose=None, deployment=Mock(hub_connect_url="http://10.213.0.2:8081"))) is None
    made.assert_not_called()
    assert UserServerSpawner.check_before_start is fence_check.check_before_start
    assert JupyterHub.fence_monitor
    assert JupyterHub.fence_monitor.address == "10.213.0.1"


def test_fence_is_checked_regularly(
    hub: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(UserServerSpawner, "remove_orphans", AsyncMock(side_effect=asyncio.CancelledError))
    monkeypatch.setattr(fence_check, "CHECK_S", 0)
    hub.log = logging.getLogger("hub")
    hub.fence_monitor = Mock(check=Mock(side_effect=[None, "it is not", ValueError("no disk"), asyncio.CancelledError]))
    started(hub)
    assert hub.fence_monitor.check.call_count == 4
    assert "it is not" in caplog.text


@pytest.mark.parametrize("where", ["making", "preparing"])
def test_compose_hub_reports_missing_docker(made: Mock, where: str) -> None:
    failing = made if where == "making" else made.return_value.prepare
    failing.side_effect = requests.ConnectionError("refused")
    with pytest.raises(ComposeError, match="The Docker engine cannot be used: refused"):
        prepare(Mock())
    assert UserServerSpawner.check_before_start is None


def test_compose_application_checks_its_settings_like_the_playbook(
    hub_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "CONFIG_FILE", IMAGES / "hub/jupyterhub_config.py")
    monkeypatch.setenv("PYTHONPATH", str(IMAGES / "hub"))
    unknown = {**check.EXAMPLE, "hub_traits": {"MyLogin": {"x": 1}}}
    (hub_files / "hub.json").write_text(json.dumps(unknown))
    # The playbook checks before it writes them.
    assert checked_settings().compose is None
    (hub_files / "hub.json").write_text(json.dumps({**unknown, "compose": {}}))
    with pytest.raises(SettingsError, match=r"^hub_traits: MyLogin: no such class"):
        checked_settings()


def test_operators_file_runs_once_in_the_hub_s_process(hub_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may define a metric, for example, which a process can only have once."""
    monkeypatch.setattr(check, "CONFIG_FILE", IMAGES / "hub/jupyterhub_config.py")
    monkeypatch.setenv("PYTHONPATH", str(IMAGES / "hub"))
    monkeypatch.setenv("JUPYTERHUB_FILES_DIR", str(hub_files))
    (hub_files / "jupyterhub_config.py").write_text(
        "import os, pathlib\nwith pathlib.Path(__file__).with_name('ran').open('a') as f: print(os.getpid(), file=f)\n"
    )
    (hub_files / "hub.json").write_text(json.dumps({**check.EXAMPLE, "compose": {}}))
    checked_settings()
    [process] = (hub_files / "ran").read_text().split()
    assert int(process) != os.getpid()
