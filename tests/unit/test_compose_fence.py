"""The helper container that keeps the fence in force."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from fake_engine import PLAN, Engine
from jupyterhub_ansible.compose import fence
from jupyterhub_ansible.compose.errors import ComposeError
from jupyterhub_ansible.engine.labels import not_inherited
from jupyterhub_ansible.spawner.limits import cgroup_parent
from project import ROLES


@pytest.mark.parametrize(
    ("driver", "project", "expected"),
    [
        ("cgroupfs", "hub", "hub-users"),
        ("systemd", "hub", "hub.slice/hub-users.slice"),
        ("systemd", "a-hub", "a.slice/a-hub.slice/a-hub-users.slice"),
    ],
)
def test_the_ceiling_is_where_the_spawner_starts_servers(driver: str, project: str, expected: str) -> None:
    assert fence.group(project, driver) == expected
    assert expected.endswith(cgroup_parent(project, driver).lstrip("/"))


@pytest.mark.parametrize("number", [0, 1])
def test_the_scripts_have_the_settings_that_the_role_gives_them(helper: fence.Fence, number: int) -> None:
    tasks = yaml.safe_load((ROLES / "network/tasks/watched.yml").read_text())
    given = tasks[number]["local.jupyterhub.settled"]["arguments"]["settings"]
    assert {line.partition("=")[0] for line in helper.settings[number].splitlines()} == given.keys()


def test_the_settings_of_the_scripts(helper: fence.Fence) -> None:
    assert [text.splitlines() for text in helper.settings] == [
        [
            "name=a-hub",
            "bridge=br-a-hub",
            "table=a_hub_fence",
            f"subnet={PLAN.subnet}",
            f"hub={PLAN.hub}",
            f"proxy={PLAN.proxy}",
        ],
        ["name=a-hub", "reserve_mb=512", "group=a-hub-users"],
    ]


def test_helper_is_created_once_and_replaced_if_its_settings_change(engine: Engine, helper: fence.Fence) -> None:
    helper.ensure()
    helper.ensure()
    assert engine.calls == ["start a-hub-fence"]
    host = engine.of("a-hub-fence")["options"]["host_config"]
    assert host["network_mode"] == "host"
    assert host["cap_drop"] == ["ALL"]
    assert host["restart_policy"] == {"Name": "unless-stopped"}, "it is back after a reboot"
    fence.Fence(engine, "a-hub", PLAN, 1024, "sha256:hub").ensure()
    assert engine.calls == ["start a-hub-fence", "remove a-hub-fence", "start a-hub-fence"]


def test_helper_that_ended_is_recreated(engine: Engine, helper: fence.Fence) -> None:
    helper.ensure()
    engine.of("a-hub-fence")["State"]["Running"] = False
    helper.ensure()
    assert engine.calls[1:] == ["remove a-hub-fence", "start a-hub-fence"]


def test_foreign_container_is_left_alone(engine: Engine, helper: fence.Fence) -> None:
    engine.add("a-hub-fence")
    with pytest.raises(ComposeError, match="Another container is already called a-hub-fence"):
        helper.ensure()


@pytest.mark.parametrize(
    ("said", "expected"), [(b"in force\n2026\n", "in force\n2026"), (b"not in force\n", ""), (b"", "")]
)
def test_helper_reports_whether_the_fence_is_in_force(
    engine: Engine, helper: fence.Fence, said: bytes, expected: str
) -> None:
    assert not helper.in_force(), "there is none"
    helper.ensure()
    engine.said = said
    assert helper.in_force() == expected


def test_helper_mounts_systemd_resolved_if_there(engine: Engine, helper: fence.Fence) -> None:
    helper.ensure()
    [mount] = engine.of("a-hub-fence")["options"]["host_config"]["mounts"]
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("/run/systemd/resolve", "/host/resolve", True)
    del engine.present["a-hub-fence"]
    engine.no_mounts = True
    helper.ensure()
    assert engine.of("a-hub-fence")["options"]["host_config"]["mounts"] == []


def test_the_helper_watches(tmp_path: Path) -> None:
    """It runs the image's two scripts with the given settings."""
    there, run = tmp_path / "image", tmp_path / "run"
    for folder in (there, run):
        folder.mkdir()
    for name in ("fence", "ceiling"):
        (there / name).write_text('#!/bin/sh\n. "$0.conf"; echo "$0 $1 $what"\n')
        (there / name).chmod(0o755)
    keep = fence.KEEP.replace("/usr/local/share/jupyterhub", str(there)).replace("/run", str(run))
    command = ["sh", "-ec", keep.replace("watch &", "watch"), "keep-fence", "what=rules\n", "what=memory\n"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{run}/ceiling watch memory", f"{run}/fence watch rules"]


def test_helper_does_not_look_like_a_compose_service(engine: Engine, helper: fence.Fence) -> None:
    helper.ensure()
    assert engine.of("a-hub-fence")["options"]["labels"] == {
        "com.docker.compose.project": "",
        "com.docker.compose.service": "",
        "jupyterhub-ansible.project": "a-hub",
        "jupyterhub-ansible.kind": "fence",
        fence.CONFIG_HASH: helper.digest,
    }


def test_labels_that_a_container_must_not_inherit() -> None:
    label = {"traefik.enable": "true", "coolify.managed": "true", "jupyterhub-ansible.environment": "base"}
    assert not_inherited({"Config": {"Labels": label}}) == {"traefik.enable": "", "coolify.managed": "false"}
    for none in ({"Labels": None}, {}):
        assert not_inherited({"Config": none}) == {}
