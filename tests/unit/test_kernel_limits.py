"""Kernel limits that all users' servers share are raised, also after a boot, and never lowered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jupyterhub_ansible.engine import kernel_limits as of_the_hub
from project import run_module

from plugins.module_utils import docker_engine
from plugins.modules import kernel_limits

LOW = {
    "fs.aio-max-nr": 65536,
    "fs.epoll.max_user_watches": 400000,
    "fs.file-max": 800000,
    "fs.inotify.max_user_instances": 128,
    "fs.inotify.max_user_watches": 65536,
    "fs.pipe-user-pages-soft": 16384,
    "kernel.pty.max": 4096,
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with the kernel's default values; /etc/sysctl.d is `kept`."""
    for name, value in LOW.items():
        path = tmp_path / "kernel" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return tmp_path


def found(machine: Path) -> dict[str, Any]:
    return dict(docker_engine.kernel_limits(machine / "kernel", machine / "kept/ours.conf"))


def run(machine: Path, check: bool = False) -> Any:
    now = found(machine)
    arguments = {"limits": now["kernel_limits"], "low": now["kernel_limits_low"]}
    return run_module("kernel_limits", {**arguments, **paths(machine), "_ansible_check_mode": check})


def paths(machine: Path) -> dict[str, Any]:
    folders = {"path": "kept/ours.conf", "kernel": "kernel", "record": "lib/record.json"}
    return {**{name: str(machine / path) for name, path in folders.items()}, "others": [str(machine / "kept")]}


def test_all_are_raised_and_kept(machine: Path) -> None:
    foreseen = run(machine, check=True)
    assert len(found(machine)["kernel_limits_low"]) == len(LOW)
    done = run(machine)
    assert foreseen["changed"]
    assert done["changed"]
    assert foreseen["diff"] == done["diff"]
    assert found(machine)["kernel_limits_low"] == []
    assert found(machine)["kernel_limits_kept"]
    assert (machine / "kernel/fs/inotify/max_user_instances").read_text() == "2147483647"
    assert not run(machine)["changed"]


def test_nothing_is_lowered(machine: Path) -> None:
    """Pipes are unlimited; the others already have their highest values."""
    (machine / "kernel/fs/pipe-user-pages-soft").write_text("0")
    (machine / "kernel/fs/aio-max-nr").write_text(str(2**63))
    run(machine)
    assert (machine / "kernel/fs/pipe-user-pages-soft").read_text() == "0"
    assert (machine / "kernel/fs/aio-max-nr").read_text() == str(2**63)


def test_after_a_boot_or_with_a_changed_file(machine: Path) -> None:
    run(machine)
    (machine / "kernel/kernel/pty/max").write_text("4096")
    assert found(machine)["kernel_limits_low"] == ["kernel.pty.max = 1048576"]
    (machine / "kept/ours.conf").write_text("kernel.pty.max = 1\n")
    assert not found(machine)["kernel_limits_kept"]
    assert run(machine)["changed"]
    assert found(machine)["kernel_limits_kept"]
    assert found(machine)["kernel_limits_low"] == []


def test_a_kernel_without_some_of_them(machine: Path) -> None:
    (machine / "kernel/fs/aio-max-nr").unlink()
    run(machine)
    assert "aio" not in (machine / "kept/ours.conf").read_text()
    assert found(machine)["kernel_limits_kept"]


def test_a_kernel_that_refuses(machine: Path) -> None:
    """As in a container: a warning, and the limit does not count as changed."""
    run(machine)
    limit = machine / "kernel/kernel/pty/max"
    limit.unlink()
    limit.mkdir()
    arguments = {"limits": found(machine)["kernel_limits"], "low": ["kernel.pty.max = 1048576"]}
    (machine / "kept/ours.conf").write_text("")
    assert run_module("kernel_limits", {**arguments, **paths(machine)})["refused"] == ["kernel.pty.max"]
    told = run_module("kernel_limits", {**arguments, **paths(machine)})
    assert not told["changed"]
    assert "kernel.pty.max: one server can use it up for all" in str(told["warnings"])


def absent(machine: Path, **more: Any) -> Any:
    return run_module("kernel_limits", {"state": "absent", **paths(machine), **more})


def test_limits_are_reset_to_what_they_were(machine: Path) -> None:
    """Also if a first run was interrupted before it wrote its file; the values of later runs are not the machine's."""
    run(machine)
    run(machine)
    assert absent(machine, _ansible_check_mode=True)["changed"]
    assert found(machine)["kernel_limits_kept"]
    assert absent(machine)["changed"]
    assert {name: (machine / "kernel" / name.replace(".", "/")).read_text().strip() for name in LOW} == {
        name: str(value) for name, value in LOW.items()
    }
    assert not (machine / "kept/ours.conf").exists()
    assert not absent(machine)["changed"]


def test_what_the_machine_s_own_files_set_counts(machine: Path) -> None:
    run(machine)
    (machine / "kept/90-mine.conf").write_text(
        "# kernel.pty.max = 3\nkernel.pty.max=5000\n-fs/aio-max-nr = 7\nother = 1\n"
    )
    absent(machine)
    assert (machine / "kernel/kernel/pty/max").read_text() == "5000"
    assert (machine / "kernel/fs/aio-max-nr").read_text() == "7"


def test_other_settings_are_remembered_and_may_be_kept(machine: Path) -> None:
    forward = machine / "kernel/net/ipv4/ip_forward"
    forward.parent.mkdir(parents=True)
    forward.write_text("0\n")
    now = found(machine)
    arguments = {"limits": now["kernel_limits"], "low": now["kernel_limits_low"], "remember": ["net.ipv4.ip_forward"]}
    run_module("kernel_limits", {**arguments, **paths(machine)})
    forward.write_text("1\n")
    absent(machine, keep=["net.ipv4.ip_forward"])
    assert forward.read_text() == "1\n"
    absent(machine, before={"kernel.pty.max": "7"})
    assert forward.read_text() == "0"
    assert (machine / "kernel/kernel/pty/max").read_text() == "4096", "what was recorded counts more"


def test_without_a_record_the_file_goes_and_the_values_stay_until_a_reboot(machine: Path) -> None:
    run(machine)
    (machine / "lib/record.json").unlink()
    assert absent(machine)["changed"]
    assert found(machine)["kernel_limits_low"] == []


def test_the_hub_checks_the_same_limits(machine: Path) -> None:
    assert of_the_hub.LIMITS == docker_engine.KERNEL_LIMITS
    assert of_the_hub.low(machine / "kernel") == found(machine)["kernel_limits_low"]
    run(machine)
    assert of_the_hub.low(machine / "kernel") == []


def test_our_file_is_read_after_common_ones() -> None:
    """Files are read in the order of their names, and the last one wins."""
    default = yaml.safe_load(kernel_limits.DOCUMENTATION)["options"]["path"]["default"]
    assert str(docker_engine.SYSCTL_FILE) == default
    assert docker_engine.SYSCTL_FILE.name > "99-sysctl.conf"
