"""The Hub's side of idle culling: all times follow from the timeout, and the service has no other rights."""

import asyncio
import copy
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_ansible.culling import plan as culling
from jupyterhub_ansible.proxy import routes as proxy
from jupyterhub_ansible.settings import check
from jupyterhub_ansible.settings.model import Settings, Workspace

NOW = datetime(2025, 11, 21, tzinfo=UTC)
TIMEOUTS = [60, 61, 159, 160, 300, 3600, 86400, 10**7]


def settings(*own: int | None, idle: int = 0, max_age: int = 0) -> Settings:
    """Return settings with an environment for each timeout in `own`; the first is the default."""
    example = copy.deepcopy(check.EXAMPLE)
    [base] = example["images_environments"]
    slugs = [f"env-{number}" for number in range(len(own) or 1)]
    example["images_environments"] = [
        {**base, "slug": slug, "idle_timeout_s": timeout} for slug, timeout in zip(slugs, own or [None], strict=True)
    ]
    example["hub_default_environment"] = "env-0"
    example |= {"hub_idle_timeout_s": idle, "hub_max_age_s": max_age}
    return Settings.model_validate_json(json.dumps(example))


def server_plan(environment: dict[str, Any], options: dict[str, Any] | None) -> tuple[dict[str, int], int]:
    spawner = SimpleNamespace(user_options=options)
    every = environment["JUPYTERHUB_ACTIVITY_INTERVAL"](spawner)
    return json.loads(environment[culling.VARIABLE](spawner)), int(every)


def is_idle(
    planned: dict[str, Any],
    seconds: float,
    options: dict[str, Any] | None = None,
    *,
    hub: datetime = NOW - timedelta(days=300),
) -> bool:
    """Return the decision about a server started 200 days ago, whose last known activity was `seconds` ago."""
    server = {"user_options": options, "started": "2025-05-05T00:00:00.123456Z"}
    judge = culling.arbiter({**planned, "since": hub.isoformat()}, NOW)
    return judge(inactive=timedelta(seconds=seconds), inactive_limit=0, server=server)


@pytest.mark.parametrize("timeout", TIMEOUTS)
def test_idle_server_is_stopped_within_an_interval_but_not_before_it_could_report(timeout: int) -> None:
    planned = culling.plan(settings(idle=timeout))
    environment = culling.environment(settings(idle=timeout))
    plan, tells_every = server_plan(environment, {})
    # It checks, then reports, with JupyterHub's jitter of a tenth: until then it may be in use.
    assert not is_idle(planned, timeout + plan["look_s"] + 1.1 * tells_every - 0.1)
    # The culler checks at most a quarter later, and has a quarter of slack.
    quarter = culling.quarter(timeout)
    assert is_idle(planned, timeout + culling.interval(timeout) - quarter)
    assert 4 * quarter <= culling.interval(timeout) <= max(16, timeout / 10)
    assert culling.interval(timeout) <= 600
    assert 0 < plan["notice_s"] <= timeout / 4


def test_without_timeouts_there_is_no_service_and_no_plan() -> None:
    assert culling.service(settings(), "token") is None
    assert culling.environment(settings()) == {}


def test_a_workspace_s_own_timeout_counts_for_its_server() -> None:
    common = settings(7200, idle=300)
    both = [Workspace(slug="own", environment="env-0", idle_timeout_s=60), Workspace(slug="other", environment="env-0")]
    given = common.model_copy(update={"hub_workspaces": tuple(both)})
    planned, environment = culling.plan(given), culling.environment(given)
    for slug, timeout in (("own", 60), ("other", 7200), ("removed", 7200)):
        options = {"profile": "env-0", "workspace": slug}
        assert server_plan(environment, options)[0]["timeout_s"] == timeout
        assert not is_idle(planned, timeout - 1, options)
        assert is_idle(planned, timeout + culling.interval(timeout), options)
    # The culler looks as often as the shortest timeout needs.
    assert f"sleep {culling.quarter(60)} " in " ".join(culling.service(given, "token")["command"])  # type: ignore[index]


def test_an_environment_s_own_timeout_counts_for_its_servers() -> None:
    # The common setting, none, and another one.
    given = settings(None, 0, 120, idle=3600)
    planned, environment = culling.plan(given), culling.environment(given)
    assert planned["timeouts"] == {"env-0": 3600, "env-1": 0, "env-2": 120}
    for slug, timeout in planned["timeouts"].items():
        plan, _ = server_plan(environment, {"profile": slug})
        assert plan["timeout_s"] == timeout
        assert is_idle(planned, timeout + 600, {"profile": slug}) is bool(timeout)
    assert not is_idle(planned, 1000, {"profile": "env-0"})
    # Servers that are never culled check, too, because settings may change while they run.
    assert server_plan(environment, {"profile": "env-1"})[0]["look_s"] == 150
    assert server_plan(environment, {"profile": "env-1"})[1] == 300
    # As often as the shortest timeout needs.
    service = culling.service(given, "token")
    assert service
    assert f"sleep {culling.quarter(120)} &" in service["command"][-1]


@pytest.mark.parametrize("options", [None, {}, {"profile": "gone"}, {"profile": ["odd"]}])
def test_unavailable_choice_falls_back_to_the_default(options: dict[str, Any] | None) -> None:
    given = settings(120, 0)
    assert server_plan(culling.environment(given), options)[0]["timeout_s"] == 120
    assert is_idle(culling.plan(given), 200, options)


def test_maximum_age_alone() -> None:
    given = settings(max_age=7200)
    service = culling.service(given, "token")
    assert service
    assert json.loads(service["environment"][culling.PLAN])["max_age_s"] == 7200
    assert not is_idle(culling.plan(given), 10**6)
    plan, _ = server_plan(culling.environment(given), {})
    assert (plan["timeout_s"], plan["max_age_s"]) == (0, 7200)
    assert plan["notice_s"] == 900


def test_servers_older_than_the_hub_get_time_to_report() -> None:
    planned = culling.plan(settings(idle=60))
    # By older settings, they may report only every five minutes, and they could not while the Hub was down.
    for hub_s, idle_s, expected in (
        (600, 10**6, False),
        (700, 10**6, True),
        (700, 600, False),
        (700, 700, True),
    ):
        assert is_idle(planned, idle_s, hub=NOW - timedelta(seconds=hub_s)) is expected


def test_suspended_machine() -> None:
    planned = culling.plan(settings(idle=86400))
    look = culling.quarter(86400)
    assert not culling.was_suspended(planned, 1000.0, 1000.0 + look + 5)
    assert culling.was_suspended(planned, 1000.0, 1000.0 + look + 3600)


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_nothing_is_stopped_right_after_a_suspend(tmp_path: Path) -> None:
    # The real service, with a program in place of python that prints its arguments.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "${culling.LAST_CHECK}" >>{tmp_path}/looks\nexit 1\n')
    python.chmod(0o755)
    service = culling.service(settings(idle=60), "token")
    assert service
    script = service["command"][2].replace(f"sleep {culling.quarter(60)} ", "sleep 0.1 ")
    assert f"sleep {culling.MAX_REPORT_AGE_S} " in script
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with started(["sh", "-c", script], env=environment) as process:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    # Once; then it waits.
    [look] = (tmp_path / "looks").read_text().split()
    assert abs(float(look) - time.time()) < 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_service_ends_at_once_with_the_hub(number: signal.Signals) -> None:
    service = culling.service(settings(idle=86400), "token")
    assert service
    with started(service["command"]) as process:
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(5) == 0


def test_the_service_knows_when_the_hub_started() -> None:
    service = culling.service(settings(idle=60), "token")
    assert service
    since = datetime.fromisoformat(json.loads(service["environment"][culling.PLAN])["since"])
    assert timedelta() <= datetime.now(UTC) - since < timedelta(minutes=1)


def routes_of(options: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the routes of alice's server with these user options, and of the Hub."""
    theirs = {"server_name": "", "cookie": "x", "last_activity": "now"}

    async def all_routes(self: Any) -> dict[str, Any]:
        return {
            "/": {"data": {"hub": True, "last_activity": "now"}},
            "/user/alice/": {"data": {"user": "alice", **theirs}},
            "/user/gone/": {"data": {"user": "gone", **theirs}},
        }

    def find(db: object, name: str) -> Any:
        server = SimpleNamespace(user_options=options)
        return SimpleNamespace(orm_spawners={"": server}) if name == "alice" else None

    monkeypatch.setattr("jupyterhub.proxy.ConfigurableHTTPProxy.get_all_routes", all_routes)
    monkeypatch.setattr("jupyterhub.orm.User.find", find)
    ours = proxy.UserProxy(
        app=SimpleNamespace(db=None), tells_activity={"ours": True, "brought": False}, default_profile="ours"
    )
    routes: dict[str, Any] = asyncio.run(ours.get_all_routes())
    return routes


@pytest.mark.parametrize(
    ("options", "counts"),
    [({"profile": "ours"}, False), ({"profile": "brought"}, True), ({"profile": "gone"}, False), (None, False)],
)
def test_proxys_last_activity_counts_only_for_servers_that_do_not_report(
    options: dict[str, Any] | None, counts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = routes_of(options, monkeypatch)
    assert ("last_activity" in routes["/user/alice/"]["data"]) is counts
    # Unchanged.
    assert "last_activity" in routes["/"]["data"]
    assert "last_activity" in routes["/user/gone/"]["data"]
