"""Limits of a user's server on the machine."""

import pytest
from jupyterhub_ansible.spawner.limits import Engine, cgroup_parent, engine, host_config, in_bytes

MB = 1024**2
JSON = Engine(8 * 1024 * MB, "json-file", "systemd")


def test_memory_counts_once() -> None:
    config = host_config("jh", JSON, 1000 * MB, None, 64)
    assert config["memswap_limit"] == 1000 * MB
    # Even if full, each leaves memory for the server.
    assert config["shm_size"] == 500 * MB
    assert f"size={500 * MB}" in config["tmpfs"]["/tmp"]
    assert config["pids_limit"] == 64


def test_programs_in_tmp_can_run() -> None:
    options = host_config("jh", JSON, 1000 * MB, None, 64)["tmpfs"]["/tmp"].split(",")
    assert {"exec", "nosuid", "nodev", "mode=1777"} <= set(options)


@pytest.mark.parametrize(("tmp_mb", "size"), [(100, 100), (2000, 1000)])
def test_the_size_of_tmp(tmp_mb: int, size: int) -> None:
    assert f"size={size * MB}" in host_config("jh", JSON, 1000 * MB, tmp_mb, 64)["tmpfs"]["/tmp"]


def test_a_server_without_a_limit() -> None:
    config = host_config("jh", JSON, None, None, 64)
    assert "shm_size" not in config
    assert "tmpfs" not in config
    assert "size=104857600" in host_config("jh", JSON, None, 100, 64)["tmpfs"]["/tmp"]


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_a_log_cannot_fill_the_disk(driver: str) -> None:
    log = host_config("jh", JSON._replace(log_driver=driver), None, None, 64)["log_config"]
    assert log == {"type": driver, "config": {"max-size": "5m", "max-file": "2"}}


def test_other_log_drivers_are_unchanged() -> None:
    assert "log_config" not in host_config("jh", JSON._replace(log_driver="journald"), None, None, 64)


def test_cgroup_of_all_users_servers() -> None:
    assert cgroup_parent("jh", "systemd") == "jh-users.slice"
    assert cgroup_parent("jh", "cgroupfs") == "/jh-users"


def test_engine_properties() -> None:
    info = {"MemTotal": 5, "LoggingDriver": "local", "CgroupDriver": "systemd", "Containers": 7}
    assert engine(info) == Engine(5, "local", "systemd")


@pytest.mark.parametrize(("limit", "number"), [(5, 5), ("2G", 2 * 1024 * MB), (None, None), (0, None)])
def test_limits_as_configured(limit: int | str | None, number: int | None) -> None:
    assert in_bytes(limit) == number
