"""Packages are recorded before they are installed, and removed only if nothing else needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from project import run_module

from plugins.module_utils import debian_packages, machine_record

SIMULATED = """\
Inst libc6 [2.41-1] (2.41-2 Debian:13/stable [amd64])
Inst containerd (1.7.24~ds1-6 Debian:13/stable [amd64])
Inst docker.io (26.1.5+dfsg1-9 Debian:13/stable [amd64]) []
Conf containerd (1.7.24~ds1-6 Debian:13/stable [amd64])
"""
STATUS = """\
Package: docker.io
Status: install ok installed
Depends: containerd (>= 1.2) | other, libc6
Recommends: git

Package: containerd
Status: install ok installed
Conffiles:
 /etc/containerd/config.toml abc
Provides: a-runtime (= 1), cri

Package: gone
Status: deinstall ok config-files
Depends: containerd

Package: libc6
Status: install ok installed
"""


def test_new_packages_are_recorded_before_they_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_packages, "said", lambda *_: "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")
    record = tmp_path / "lib/record.json"
    ran: list[list[str]] = []

    def run(command: list[str]) -> str:
        ran.append(command)
        if "--simulate" not in command:
            assert record.exists()
            raise KeyboardInterrupt
        return SIMULATED

    with pytest.raises(KeyboardInterrupt):
        debian_packages.install(["docker.io", "ca-certificates"], run, record)
    found = json.loads(record.read_text())
    # Not one that was upgraded, nor one that was there.
    assert found["packages"] == {"containerd": "1.7.24~ds1-6", "docker.io": "26.1.5+dfsg1-9"}
    assert found["asked"] == {"docker.io": ""}
    # Before the engine sets it.
    assert found["policies"]["iptables FORWARD"] == "DROP"
    assert record.stat().st_mode & 0o777 == 0o600
    assert "--no-install-recommends" in ran[0]


def test_installed_packages(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    found = debian_packages.installed(tmp_path / "status")
    assert found.keys() == {"docker.io", "containerd", "libc6"}
    assert found["containerd"]["Provides"] == "a-runtime (= 1), cri"


# In the order of apt-get --simulate remove runc.
REMOVED = """\
Remv theirs:i386 [1.0] [docker.io:amd64 ]
Remv docker.io [26.1.5+dfsg1-9]
Inst crun (1.21-1 Debian:13/stable [amd64])
Remv containerd [1.7.24~ds1-6]
Conf crun (1.21-1 Debian:13/stable [amd64])
"""


@pytest.mark.parametrize(
    ("names", "said", "beside"),
    [
        (["docker.io", "containerd"], REMOVED, ["crun", "theirs:i386"]),
        (["docker.io", "containerd", "crun", "theirs:i386"], REMOVED, []),
        ([], REMOVED, []),
    ],
)
def test_what_apt_would_remove_with_them(names: list[str], said: str, beside: list[str]) -> None:
    ran: list[list[str]] = []

    def run(command: list[str]) -> str:
        ran.append(command)
        return said

    assert debian_packages.touched_beside(names, run) == beside
    assert all("--simulate" in command and command[-len(names) :] == names for command in ran)


@pytest.mark.parametrize("taken", [False, True])
def test_packages_are_not_removed_with_others(tmp_path: Path, taken: bool) -> None:
    apt = tmp_path / "apt-get"
    log = tmp_path / "log"
    also = "echo Remv theirs" if taken else ":"
    apt.write_text(f'#!/bin/sh\necho "$*" >>{log}\ncase "$*" in *--simulate*) echo Remv jhtest-none; {also} ;; esac\n')
    apt.chmod(0o755)
    result = run_module("packages", {"names": ["jhtest-none"], "state": "absent"}, PATH=f"{tmp_path}:/usr/bin:/bin")
    calls = log.read_text().splitlines()
    assert result.get("failed", False) == taken
    assert "apt would change others as well: theirs" in result.get("msg", "") or not taken
    assert ["--simulate" in call for call in calls] == ([True] if taken else [True, False])


def package(**fields: str) -> dict[str, str]:
    return fields


@pytest.mark.parametrize(
    ("others", "wanted", "going", "kept"),
    [
        ({}, {}, ["engine", "lib", "runtime"], {}),
        # Whatever needs one of them keeps it, and what that one needs.
        ({"theirs": package(Depends="x, lib (>= 1)")}, {}, ["engine", "runtime"], {"lib": "needed by theirs"}),
        (
            {"theirs": package(**{"Pre-Depends": "cri | x"})},
            {},
            ["engine"],
            {"runtime": "needed by theirs", "lib": "needed by runtime"},
        ),
        ({"theirs": package(Recommends="engine")}, {}, ["engine", "lib", "runtime"], {}),
        ({}, {"lib": "asked for", "absent": "x", "base": "x"}, ["engine", "runtime"], {"lib": "asked for"}),
    ],
)
def test_only_what_nothing_else_needs_is_removable(
    others: dict[str, Any], wanted: dict[str, str], going: list[str], kept: dict[str, str]
) -> None:
    packages = {
        "engine": package(Depends="runtime:any, base"),
        "runtime": package(Depends="lib", Provides="cri (= 1)"),
        "lib": package(),
        "base": package(),
        **others,
    }
    recorded = ["engine", "runtime", "lib", "absent"]
    assert debian_packages.removable(recorded, packages, wanted) == (going, kept)


def test_the_record_keeps_what_was_first_and_goes_with_its_last_entry(tmp_path: Path) -> None:
    path = tmp_path / "lib/record.json"
    assert machine_record.read(path) == {}
    machine_record.remember("kernel", {"a": "1"}, path)
    machine_record.remember("kernel", {"a": "2", "b": "3"}, path)
    machine_record.remember("packages", {"p": "1"}, path)
    assert machine_record.read(path) == {"kernel": {"a": "1", "b": "3"}, "packages": {"p": "1"}}
    machine_record.keep(["b"], path)
    assert machine_record.read(path)["kernel"] == {"b": "3"}
    machine_record.keep([], path)
    assert not path.parent.exists()
    machine_record.keep([], path)
    path.parent.mkdir()
    path.write_text("[damaged")
    assert machine_record.read(path) == {}
