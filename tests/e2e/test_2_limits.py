"""Limits and hardening of users' servers, as the machine's kernel enforces them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from e2e.client import User
from e2e.deployment import SETTINGS, Deployment
from e2e.walls import assert_no_calls_with_a_history, assert_one_cannot_take_all, assert_work_goes_on

LOOK = """
import json, os, pathlib, re
cgroup = pathlib.Path("/sys/fs/cgroup")
def value(v2, *v1):
    for path in (v2, *v1):
        if (cgroup / path).exists():
            return (cgroup / path).read_text().split()
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({
    "memory": value("memory.max", "memory/memory.limit_in_bytes"),
    "swap": value("memory.swap.max", "memory/memory.memsw.limit_in_bytes"),
    "pids": value("pids.max", "pids/pids.max"),
    "cpus": value("cpu.max") or value("cpu/cpu.cfs_quota_us") + value("cpu/cpu.cfs_period_us"),
    "init": open("/proc/1/cmdline").read().split("\\0")[0],
    "uid": os.getuid(),
    "status": status,
}))
"""


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_server_is_limited_and_has_no_privileges(request: pytest.FixtureRequest, name: str) -> None:
    user: User = request.getfixturevalue(name)
    seen = json.loads(user.server().run(LOOK).stdout)
    memory = SETTINGS["hub_server_memory_mb"] * 1024 * 1024
    assert seen["memory"] == [str(memory)]
    # cgroup v2 counts swap separately (0); v1 counts memory and swap together (the memory limit).
    version_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    assert seen["swap"] == ["0" if version_2 else str(memory)]
    assert seen["pids"] == [str(SETTINGS["hub_server_pids"])]
    quota, period = map(int, seen["cpus"])
    assert quota / period == SETTINGS["hub_server_cpus"]
    assert seen["init"] == "/sbin/docker-init"
    assert seen["uid"] == 1000
    status = seen["status"]
    assert status["Uid"].split() == ["1000"] * 4
    assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_risky_system_calls_are_refused(alice: User) -> None:
    with alice.server().kernel() as kernel:
        assert_no_calls_with_a_history(kernel)
        assert_work_goes_on(kernel)


def test_server_cannot_exhaust_the_kernel_s_limits_for_others(alice: User, bob: User) -> None:
    with alice.server().kernel() as greedy, bob.server().kernel() as other:
        assert_one_cannot_take_all(greedy, other)


def test_server_sees_neither_the_engine_nor_the_host_s_files(deployment: Deployment, alice: User) -> None:
    container = deployment.server("alice")
    [home] = container["Mounts"]
    assert (home["Type"], home["Name"], home["Destination"]) == (
        "volume",
        f"{deployment.name}-user-alice",
        "/home/jovyan",
    )
    assert not container["HostConfig"]["Privileged"]
    assert list(container["NetworkSettings"]["Networks"]) == [deployment.users_network]
    assert container["NetworkSettings"]["Ports"] in ({}, {"8888/tcp": None}), "published on the host"
    assert alice.server().run("import os; os.path.exists('/var/run/docker.sock')").result == "False"


def test_memory_above_the_limit_kills_the_kernel_and_not_the_server(deployment: Deployment, alice: User) -> None:
    started = deployment.server("alice")["State"]["StartedAt"]
    with alice.server().kernel() as kernel:
        kernel.send(f"data = b'x' * ({SETTINGS['hub_server_memory_mb']} * 1024 * 1024)")
        while (message := kernel.receive())["content"].get("execution_state") != "restarting":
            assert message["msg_type"] != "execute_reply", f"the kernel survived: {message['content']}"
    assert alice.server().run("1 + 1").result == "2"
    assert deployment.server("alice")["State"]["StartedAt"] == started


@pytest.mark.parametrize("role", ["hub", "proxy"])
def test_hub_and_proxy_have_no_privileges(deployment: Deployment, role: str) -> None:
    container = deployment.containers()[f"{deployment.name}-{role}"]
    status = Path(f"/proc/{container['State']['Pid']}/status")
    lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == {{"hub": "64101", "proxy": "64102"}[role]}
    assert {int(lines[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert lines["NoNewPrivs"] == "1"
    sockets = [mount["Destination"] for mount in container["Mounts"] if mount["Destination"].endswith("docker.sock")]
    assert bool(sockets) == (role == "hub")
    published = {end["HostIp"] for ends in container["NetworkSettings"]["Ports"].values() for end in ends or []}
    assert published == (set() if role == "hub" else {SETTINGS["jupyterhub_address"]})
