"""What `make uninstall` finds on a machine, and what it leaves to others."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from plugins.module_utils import debian_packages, engine_files, engine_removal, machine_record
from plugins.modules import removal_plan

RECORDED = {"docker.io": "1", "containerd": "1", "runc": "1"}
ENGINE = {"installed": True, "running": True, "ours": True, "swarm_active": False, "root_dir": "/var/lib/docker"}


class Machine:
    """A machine with an engine that a run installed, and nothing else."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.engine: dict[str, Any] = {**ENGINE}
        self.record: dict[str, dict[str, str]] = {"packages": {**RECORDED}, "asked": {"docker.io": ""}}
        self.packages: dict[str, dict[str, str]] = {
            "docker.io": {"Depends": "containerd, runc"},
            "containerd": {"Depends": "runc"},
            "runc": {},
            "dpkg": {},
        }
        self.things: dict[str, list[Any]] | None = {"containers": [], "networks": [], "images": [], "volumes": []}
        self.said: dict[str, str] = {}
        self.root = folder / "srv/hub"
        self.run = folder / "run"
        self.run.mkdir()
        patch.setattr(removal_plan, "RUN", self.run)
        for place in ("SYSTEMD", "CRON", "STAMPS"):
            (folder / place).mkdir()
            patch.setattr(removal_plan, place, folder / place)
        patch.setattr(removal_plan, "gather", lambda *_, **__: {**self.engine})
        patch.setattr(engine_removal, "listed", lambda _: self.things)
        patch.setattr(machine_record, "read", lambda: self.record)
        patch.setattr(debian_packages, "installed", lambda: self.packages)
        patch.setattr(removal_plan, "engine_package", lambda: "docker.io" if "docker.io" in self.packages else "")
        for each in (removal_plan, engine_files):
            patch.setattr(each, "said", lambda *command: self.said.get(" ".join(command), ""))
            patch.setattr(each, "existing", lambda *paths: [*map(str, paths)])

    def gathered(self, delete_data: bool = False) -> dict[str, Any]:
        return removal_plan.gathered("hub", self.root, delete_data, [], "/run/docker.sock")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


CONTAINERD, RUNC = {"/var/lib/containerd", "/run/containerd"}, {"/run/runc"}


def test_the_engine_that_a_run_installed_goes_with_its_files(machine: Machine) -> None:
    found = machine.gathered()
    assert found["engine"] == "removed"
    assert {*found["shared"]["engine_files"]} >= {"/run/docker", *CONTAINERD, *RUNC}
    assert not any(each.startswith("/var/lib/docker") for each in found["shared"]["engine_files"])
    assert "/var/lib/docker/volumes" in machine.gathered(delete_data=True)["shared"]["engine_files"]


@pytest.mark.parametrize(
    ("packages", "record", "left"),
    [
        # An interrupted removal, which the next run completes.
        ({}, RECORDED, {"/run/docker", *CONTAINERD, *RUNC}),
        # Kubernetes, nerdctl or Podman on a machine that no run touched.
        ({"containerd": {}, "runc": {}}, {}, set()),
        ({}, {}, set()),
        # Something else needs it since, or has brought another one.
        ({"kubelet": {"Depends": "containerd"}, "containerd": {}}, RECORDED, {"/run/docker", *RUNC}),
        ({"theirs": {"Provides": "containerd (= 2), runc"}}, RECORDED, {"/run/docker"}),
        ({"containerd.io": {}}, {**RECORDED, "containerd.io": "1"}, {"/run/docker", *CONTAINERD, *RUNC}),
    ],
)
def test_without_an_engine_the_files_of_others_stay(
    machine: Machine, packages: dict[str, Any], record: dict[str, str], left: set[str]
) -> None:
    machine.engine |= {"installed": False, "running": False, "root_dir": ""}
    machine.packages = packages
    machine.record = {"packages": record} if record else {}
    found = machine.gathered(delete_data=True)
    assert found["engine"] == "absent"
    files = {*found["shared"]["engine_files"]}
    assert files & {"/run/docker", *CONTAINERD, *RUNC} == left


def test_containers_of_others_keep_the_files_of_containerd(machine: Machine) -> None:
    machine.engine |= {"installed": False, "running": False, "root_dir": ""}
    machine.packages = {}
    machine.said["ctr namespaces list --quiet"] = "moby\nk8s.io\n"
    found = machine.gathered(delete_data=True)
    assert found["engine_users"] == ["containers of k8s.io in containerd"]
    assert found["shared"]["engine_files"] == []


def test_containers_are_found_without_containerd_s_client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Such as those of k3s, which has a containerd of its own; both keep sockets in /run/containerd."""
    monkeypatch.setattr(engine_files, "said", lambda *_: "")
    for pid, command in (
        ("1", "/sbin/init"),
        ("7", "/usr/bin/containerd-shim-runc-v2 -namespace moby -id a"),
        ("8", "/var/lib/rancher/k3s/data/1/bin/containerd-shim-runc-v2 -namespace k8s.io -id b"),
        ("9", "grep -namespace x"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0\xff")
    assert engine_files.other_users_of_containerd(tmp_path) == ["containers of k8s.io in containerd"]


@pytest.mark.parametrize("delete_data", [False, True])
def test_an_engine_whose_answers_fail_is_not_empty(machine: Machine, delete_data: bool) -> None:
    """Otherwise its folder would be deleted with the volumes of others, and running servers would not be seen."""
    machine.things = None
    found = machine.gathered(delete_data)
    assert found["engine"] == "silent"
    assert found["shared"]["engine_files"] == []
    assert found["packages"] == []


def test_packages_that_apt_would_take_others_with_are_found_in_advance(machine: Machine) -> None:
    simulated = " ".join(("apt-get", *debian_packages.OPTIONS, "--simulate remove containerd docker.io runc"))
    machine.said[simulated] = "Remv theirs [1]\nRemv docker.io [1]\n"
    assert machine.gathered()["packages_beside"] == ["theirs"]


def test_rules_of_the_operator_go_with_the_engine_and_are_named(machine: Machine) -> None:
    machine.said["iptables-save"] = "-A DOCKER-USER -s 192.0.2.0/24 -j DROP\n-A DOCKER-USER -j RETURN\n"
    machine.said["iptables-legacy-save"] = machine.said["iptables-save"]
    machine.said["ip6tables-save"] = "-A FORWARD -j DOCKER-USER\n-A DOCKER-USER -i eth1 -j DROP\n"
    rules = ["iptables -A DOCKER-USER -s 192.0.2.0/24 -j DROP", "ip6tables -A DOCKER-USER -i eth1 -j DROP"]
    assert machine.gathered()["shared"]["rules"] == rules
    machine.engine["swarm_active"] = True
    assert machine.gathered()["shared"]["rules"] == []


def test_an_engine_that_stays_keeps_the_record_of_policies(machine: Machine) -> None:
    machine.record["policies"] = {"iptables FORWARD": "ACCEPT"}
    machine.engine["swarm_active"] = True
    found = machine.gathered()
    assert found["engine"] == "kept"
    assert found["shared"]["keep"] == ["net.ipv4.ip_forward", "iptables FORWARD"]


def test_a_backup_or_a_restore_that_is_running(machine: Machine) -> None:
    """Its script holds the lock by flock(1), the file stays."""
    lock = machine.run / "hub-backup.lock"
    assert not machine.gathered()["is_backing_up"]
    lock.touch()
    assert not machine.gathered()["is_backing_up"]
    with subprocess.Popen(
        ["flock", "--nonblock", lock, "sh", "-c", "echo held; read end"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as script:
        assert script.stdout
        script.stdout.readline()
        assert machine.gathered()["is_backing_up"]
        script.communicate(b"end\n")
    assert not machine.gathered()["is_backing_up"]


@pytest.mark.parametrize("mine", [[], ["service"], ["timer"], ["cron"], ["service", "timer", "cron"]])
def test_a_schedule_of_the_operator_s_own_stays(machine: Machine, tmp_path: Path, mine: list[str]) -> None:
    """Of the same name as the backup's, from before there were backups."""
    paths = {
        "service": tmp_path / "SYSTEMD/hub-backup.service",
        "timer": tmp_path / "SYSTEMD/hub-backup.timer",
        "cron": tmp_path / "CRON/hub-backup",
    }
    run = f"/bin/sh {machine.root}/backup/backup run"
    ours = {
        "service": f"[Service]\nExecStart={run}\n",
        "timer": "[Unit]\nDescription=When backups of hub are made\n",
        "cron": f"30 3 * * * root {run} >/dev/null\n",
    }
    for kind, path in paths.items():
        path.write_text("30 3 * * * root rsync /srv elsewhere:\n" if kind in mine else ours[kind])
    found = machine.gathered()
    gone = {kind for kind, path in paths.items() if str(path) in found["files"]}
    assert gone == paths.keys() - {*mine}
    assert {*found["units"]} == {path.name for kind, path in paths.items() if kind in gone - {"cron"}}
    assert (f"{tmp_path}/STAMPS/stamp-hub-backup.timer" in found["files"]) == ("timer" in gone)
