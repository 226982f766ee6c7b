"""An engine that the role installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

SETTINGS = "/etc/docker/daemon.json"
LIMITS = "/etc/sysctl.d/zz-jupyterhub-ansible.conf"


def engine_pid(host: Any) -> str:
    return str(host.check_output("cat /run/docker.pid"))


def inspect(host: Any, container: str, template: str) -> str:
    return str(host.check_output("docker inspect --format %s %s", template, container))


@pytest.fixture
def container(host: Any, busybox: str) -> Iterator[str]:
    """Run a container with the engine's defaults."""
    name = "probe"
    host.check_output(f"docker run --detach --name {name} {busybox} sleep 600")
    yield name
    host.run(f"docker rm --force {name}")


def test_marker_says_that_the_engine_is_ours(host: Any) -> None:
    assert host.file("/etc/docker/managed-by-jupyterhub-ansible").is_file


def test_running_engine_has_the_settings(host: Any) -> None:
    """The file alone does not prove that the engine has read it."""
    info = json.loads(host.check_output("docker info --format '{{json .}}'"))
    assert info["LiveRestoreEnabled"] is True
    assert info["LoggingDriver"] == "json-file"


def test_containers_run_and_rotate_their_logs(host: Any, container: str) -> None:
    assert inspect(host, container, "{{.State.Running}}") == "true"
    log = json.loads(inspect(host, container, "{{json .HostConfig.LogConfig}}"))
    assert log == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


def test_engine_starts_at_boot(host: Any) -> None:
    if host.exists("systemctl"):
        assert host.service("docker").is_enabled
    else:
        assert host.check_output("find /etc/rc2.d -name 'S*docker'")


def test_ansible_can_talk_to_the_engine(host: Any) -> None:
    assert host.run("/usr/bin/python3 -c 'import requests'").succeeded


def test_kernel_limits_that_servers_share_are_raised_now_and_at_boot(host: Any) -> None:
    """Also on a machine without systemd, and without the program sysctl."""
    lines = [line for line in host.file(LIMITS).content_string.splitlines() if not line.startswith("#")]
    assert "fs.inotify.max_user_instances = 2147483647" in lines
    for name, value in (line.split(" = ") for line in lines):
        assert host.file(f"/proc/sys/{name.replace('.', '/')}").content_string.strip() == value, name


def test_second_run_changes_and_restarts_nothing(host: Any, converge: Callable[..., Any]) -> None:
    before = engine_pid(host)
    run = converge()
    assert run.ok, run.output
    assert run.changed == 0
    assert engine_pid(host) == before


def test_next_run_finishes_an_aborted_one(host: Any, container: str, converge: Callable[..., Any]) -> None:
    """A run that stops between writing the settings and restarting the engine leaves settings newer than the engine."""
    host.check_output(f"touch {SETTINGS}")
    started = inspect(host, container, "{{.State.StartedAt}}")
    before = engine_pid(host)

    run = converge()

    assert run.ok, run.output
    assert engine_pid(host) != before, "the engine still runs with the old settings"
    # With live-restore containers go on.
    assert inspect(host, container, "{{.State.StartedAt}}") == started


def test_dead_engine_is_started(host: Any, converge: Callable[..., Any]) -> None:
    if host.exists("systemctl"):
        host.check_output("systemctl stop docker.socket docker.service")
    else:
        # So that its pid file stays.
        host.check_output(f"kill -9 {engine_pid(host)}")

    run = converge()

    assert run.ok, run.output
    assert host.run("docker version").succeeded


def test_settings_that_the_engine_refuses_fail_the_run(host: Any, container: str, converge: Callable[..., Any]) -> None:
    started = inspect(host, container, "{{.State.StartedAt}}")

    run = converge(docker_daemon_settings={"no-such-setting": 1})

    assert not run.ok
    assert "don't match any configuration option: no-such-setting" in run.output
    # Engines before 23.0 refuse them when they start, newer ones before anything is changed.
    validates = "--validate" in host.check_output("dockerd --help")
    assert ("were not written" in run.output) == validates
    assert host.run("docker version").succeeded == validates

    run = converge(docker_daemon_settings={"no-such-setting": None})

    assert run.ok, run.output
    assert inspect(host, container, "{{.State.StartedAt}}") == started
