"""tests/fresh_machine.py lists what it removes, or refuses; programs are stand-ins, the machine's files a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import docker_traces
import fresh_machine
import pytest

# Commands that change something; all others only read.
DANGEROUS = ("rm --force", "purge", "link delete", "-restore", "nft delete", "groupdel", "umount", "kill ")
PROGRAMS = {
    # The engine is removed with its package.
    "docker": """
        test -e packages || exit 1
        if test -e fails && expr "$*" : ".*$(cat fails)" >/dev/null; then echo no answer >&2; exit 1; fi
        case "$*" in
          *" version") test ! -e hangs ;;
          *" ps --all"*) test ! -e containers.json || echo some ;;
          *"container inspect"*) cat containers.json ;;
          *"volume ls"*) test ! -e volumes.json || echo some ;;
          *"volume inspect"*) cat volumes.json ;;
          *"image ls"*) echo sha256:1; echo sha256:2; echo sha256:1 ;;
        esac""",
    "ctr": "test -e namespaces && cat namespaces",
    "umount": "exit 1",
    "dpkg-query": "if test -e packages; then cat packages; fi",
    "apt-get": 'rm packages',
    "iptables-save": "cat rules",
    "iptables-restore": "cat >rules",
    "ip6tables-save": "exit 1",
    "iptables-legacy-save": "exit 1",
    "ip6tables-legacy-save": "exit 1",
    "nft": """
        case "$*" in
          "list tables") cat tables ;;
          "delete table inet jhe2e_fence") grep -v "$4" tables >left; mv left tables ;;
        esac""",
    "ip": 'rm -r "root/sys/class/net/$3"',
    "groupdel": "rm root/etc/group",
}  # fmt: skip
RULES = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -s 198.51.100.0/24 -j DROP
-A FORWARD -j DOCKER-USER
-A FORWARD -o br-bc3d39aa0841 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i br-jhe2e ! -o br-jhe2e -j ACCEPT
-A FORWARD -i eth0 -o wg0 -j ACCEPT
-A FORWARD -i br-lan ! -o br-guest -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.18.0.2/32 -d 172.18.0.2/32 -p tcp -m tcp --dport 8000 -j MASQUERADE
-A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE
COMMIT
"""
RULES_OF_OTHERS = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
-A INPUT -s 198.51.100.0/24 -j DROP
-A FORWARD -i eth0 -o wg0 -j ACCEPT
-A FORWARD -i br-lan ! -o br-guest -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.8.0.0/24 -o eth0 -j MASQUERADE
COMMIT
"""
KIND, PROJECT, TEST = "jupyterhub-ansible.kind", "jupyterhub-ansible.project", "jupyterhub-ansible.test"
ANONYMOUS = "4ae2269c92e46712a8f88453ea14f484"


class Place:
    """A machine, represented by a folder: its programs, their answers, and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        (folder / "packages").write_text(
            "containerd installed\ndocker.io installed\nrunc config-files\ntini not-installed\n"
        )
        (folder / "rules").write_text(RULES)
        (folder / "tables").write_text("table inet jhe2e_fence\ntable inet somebody_elses\ntable ip filter\n")
        self.containers: list[dict[str, Any]] = []
        self.volumes: dict[str, dict[str, str]] = {}
        for name, text in PROGRAMS.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\ncd {folder}\necho "{name} $*" >>asked\n{text}\n')
            path.chmod(0o755)
        for file in (
            "etc/docker/daemon.json", "etc/group", "etc/sysctl.d/99-own.conf", "etc/systemd/system/own.service",
            "etc/systemd/system/jupyterhub-notes.service", "etc/systemd/system/jhe2e-fence.service",
            "run/jhe2e-fence-proof", "srv/jhe2e/hub/secrets/token",
            "srv/other/file", "var/lib/docker/image/x", "var/lib/dpkg/status",
        ):  # fmt: skip
            path = self.root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("docker:x:999:\n" if file == "etc/group" else "{}")
        for interface in ("docker0", "br-bc3d39aa0841", "br-jhe2e", "br-lan"):
            (self.root / "sys/class/net" / interface / "bridge").mkdir(parents=True)
        (self.root / "sys/class/net/eth0").mkdir()

    def add(self, name: str, labels: dict[str, str], *volumes: str) -> None:
        """Add a container with its volumes."""
        mounts = [{"Type": "volume", "Name": volume} for volume in volumes] + [{"Type": "bind", "Source": "/x"}]
        self.containers.append({"Name": f"/{name}", "Config": {"Labels": labels}, "Mounts": mounts})

    def write(self) -> None:
        """Add containers and volumes to the engine's answers, or to its folder, if it does not answer."""
        if self.containers:
            (self.folder / "containers.json").write_text(json.dumps(self.containers))
        if self.volumes:
            described = [{"Name": name, "Labels": labels or None} for name, labels in self.volumes.items()]
            (self.folder / "volumes.json").write_text(json.dumps(described))
        for one in self.containers:
            path = self.root / "var/lib/docker/containers" / one["Name"].strip("/") / "config.v2.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            mounts = {mount["Name"]: mount for mount in one["Mounts"] if "Name" in mount}
            path.write_text(json.dumps({**one, "MountPoints": mounts}))
        for name in self.volumes:
            (self.root / "var/lib/docker/volumes" / name).mkdir(parents=True)

    def asked(self) -> list[str]:
        """Return the calls that would have changed something."""
        calls = (self.folder / "asked").read_text().splitlines()
        return [call for call in calls if any(word in call for word in DANGEROUS)]

    def files(self) -> set[str]:
        """Return all files."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.delenv("THROWAWAY", raising=False)

    def engines(machine: fresh_machine.Machine) -> list[tuple[int, str]]:
        return [] if (tmp_path / "ended").exists() else [(7, "/usr/sbin/dockerd")]

    def kill(pid: int, number: int) -> None:
        (tmp_path / "ended").touch()
        with (tmp_path / "asked").open("a") as asked:
            print("kill", pid, file=asked)

    monkeypatch.setattr(fresh_machine.Machine, "engines", engines)
    monkeypatch.setattr(fresh_machine, "kill", kill)
    monkeypatch.setattr(fresh_machine, "mounted", list)
    monkeypatch.setattr(fresh_machine, "names_of_the_tests", lambda: {"jhtest", "jhe2e", "jhbench"})
    # Things of the tests: a machine of Molecule, a user's server, objects of bench and end-to-end tests.
    place.add("jhtest-docker-bare", {KIND: "test"}, ANONYMOUS)
    place.add("jhe2e-user-alice", {PROJECT: "jhe2e", KIND: "user"}, "jhe2e-user-alice")
    place.add("registry", {TEST: "e2e"})
    place.volumes = {ANONYMOUS: {}, "jhe2e-user-alice": {PROJECT: "jhe2e"}, "jhbench-user-many1": {TEST: "bench"}}
    return place


def made_fresh(place: Place) -> int:
    place.write()
    return fresh_machine.main(fresh_machine.Machine(place.root))


def test_the_tests_names_are_unique() -> None:
    assert {"jhtest", "jhbench"} < fresh_machine.names_of_the_tests()
    assert "jupyterhub" not in fresh_machine.names_of_the_tests()


def test_without_confirmation_it_only_lists(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write()
    before = place.files()
    assert made_fresh_again(place) == 2
    said = capsys.readouterr().out
    for line in (
        "containers: jhe2e-user-alice, jhtest-docker-bare, registry",
        f"volumes: {ANONYMOUS}, jhbench-user-many1, jhe2e-user-alice",
        "images: 2",
        "processes: /usr/sbin/dockerd (7)",
        "packages: containerd, docker.io, runc",
        "bridges: br-bc3d39aa0841, br-jhe2e, docker0",
        "rules: 8 of iptables, table inet jhe2e_fence",
        "groups: docker",
    ):
        assert f"\n  {line}\n" in said
    for file in ("etc/docker", "etc/systemd/system/jhe2e-fence.service", "run/jhe2e-fence-proof", "srv/jhe2e"):
        assert str(place.root / file) in said
    assert "own" not in said
    assert "THROWAWAY=yes tests/fresh_machine.py" in said
    assert place.asked() == []
    assert place.files() == before


def test_with_confirmation_it_removes_only_what_belongs_to_the_tests(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    assert made_fresh(place) == 0
    assert capsys.readouterr().out.endswith("This machine is fresh.\n")
    assert place.files() == {
        "etc/sysctl.d/99-own.conf", "etc/systemd/system/own.service", "etc/systemd/system/jupyterhub-notes.service",
        "srv/other/file", "var/lib/dpkg/status",
    }  # fmt: skip
    assert (place.folder / "rules").read_text() == RULES_OF_OTHERS
    assert (place.folder / "tables").read_text() == "table inet somebody_elses\ntable ip filter\n"
    assert sorted(path.name for path in (place.root / "sys/class/net").iterdir()) == ["br-lan", "eth0"]
    [removed] = [call for call in place.asked() if "rm --force" in call]
    assert removed.endswith("rm --force --volumes jhtest-docker-bare jhe2e-user-alice registry")
    [purged] = [call for call in place.asked() if "purge" in call]
    assert purged.endswith("containerd docker.io runc")
    # The second time there is nothing to do.
    assert made_fresh_again(place) == 0
    assert capsys.readouterr().out == "This machine is fresh.\n"


def made_fresh_again(place: Place) -> int:
    return fresh_machine.main(fresh_machine.Machine(place.root))


@pytest.mark.parametrize("engine", ["answers", "does not answer"])
@pytest.mark.parametrize(
    ("name", "labels", "told"),
    [
        ("postgres", {}, "container postgres\n"),
        ("jupyterhub-hub", {PROJECT: "jupyterhub", KIND: "hub"}, "container jupyterhub-hub, of the Hub jupyterhub ("),
        # A name like those of the tests is not enough if a label says otherwise.
        ("jhtest-mine", {PROJECT: "mine"}, "container jhtest-mine, of the Hub mine ("),
    ],
)
def test_containers_of_others_are_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, labels: dict[str, str], told: str, engine: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("THROWAWAY", "yes")
    place.add(name, labels)
    if engine == "does not answer":
        (place.folder / "hangs").touch()
    assert made_fresh(place) == 1
    said = capsys.readouterr()
    assert told in said.err
    assert "jhe2e" not in said.err
    assert said.out == ""
    assert place.asked() == []


@pytest.mark.parametrize("engine", ["answers", "does not answer"])
def test_volumes_and_folders_of_others_are_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], engine: str
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    if engine == "does not answer":
        (place.folder / "hangs").touch()
    place.volumes |= {"jupyterhub-user-ann": {PROJECT: "jupyterhub"}, "data": {}, "f00": {}}
    place.add("jhtest-other", {KIND: "test"}, "f00")
    # A Hub that was removed except for its secrets; and one in another folder, as its unit shows.
    (place.root / "srv/jupyterhub/hub/secrets").mkdir(parents=True)
    (place.root / "opt/lab/proxy").mkdir(parents=True)
    (place.root / "etc/systemd/system/lab-fence.service").write_text(
        "[Service]\nExecStart=/bin/sh /opt/lab/proxy/fence watch\n"
    )
    assert made_fresh(place) == 1
    told = capsys.readouterr().err.splitlines()[1:]
    of_whom = ", of the Hub jupyterhub" if engine == "answers" else ""
    assert told == [
        "  volume data",
        f"  volume jupyterhub-user-ann{of_whom}",
        f"  {place.root}/srv/jupyterhub, of the Hub jupyterhub (make uninstall removes it)",
        f"  {place.root}/opt/lab, of the Hub lab (make uninstall removes it)",
    ]
    assert place.asked() == []


def test_an_engine_not_from_apt_is_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    monkeypatch.setattr(fresh_machine.Machine, "engines", lambda machine: [(7, "/usr/local/bin/dockerd")])
    assert made_fresh(place) == 1
    assert "an engine that apt did not install: /usr/local/bin/dockerd" in capsys.readouterr().err
    # Another machine's engine, whose socket is mounted here.
    monkeypatch.setattr(fresh_machine.Machine, "engines", lambda machine: [])
    assert made_fresh_again(place) == 1
    assert "it does not run on this machine" in capsys.readouterr().err
    (place.root / "etc/docker/daemon.json").write_text('{"data-root": "/srv"}')
    assert made_fresh_again(place) == 1
    assert f"{place.root}/srv: /etc/docker/daemon.json calls it data-root" in capsys.readouterr().err
    assert place.asked() == []


@pytest.mark.parametrize("command", ["ps --all", "container inspect", "volume ls", "volume inspect", "image ls"])
def test_a_missing_answer_of_the_engine_is_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    (place.folder / "fails").write_text(command)
    assert made_fresh(place) == 1
    assert f"\n  docker {command} failed: no answer\n" in capsys.readouterr().err
    assert place.asked() == []


@pytest.mark.parametrize(
    "file",
    ["var/lib/kubelet/config.yaml", "var/lib/rancher/k3s/x", "run/containerd/io.containerd.runtime.v2.task/k8s.io/x"],
)
def test_others_that_use_containerd_are_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    (place.root / file).parent.mkdir(parents=True)
    (place.root / file).touch()
    assert made_fresh(place) == 1
    assert "containerd" in capsys.readouterr().err
    assert place.asked() == []


def test_containers_of_containerd_are_checked(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fresh_machine.Machine, "engines", lambda machine: [(7, "/usr/bin/containerd")])
    socket = place.root / "run/containerd/containerd.sock"
    socket.parent.mkdir()
    socket.touch()
    for namespaces, told in ((None, "containerd does not tell"), ("moby\ndefault\n", "containers of default in")):
        if namespaces:
            (place.folder / "namespaces").write_text(namespaces)
        assert made_fresh_again(place) == 1
        assert told in capsys.readouterr().err
    (place.folder / "namespaces").write_text("moby\n")
    assert made_fresh_again(place) == 2


def test_foreign_files_in_a_data_root_are_a_reason_to_refuse(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    for folder in ("containers", "overlay2", "photos"):
        (place.root / "data" / folder).mkdir(parents=True)
    (place.root / "etc/docker/daemon.json").write_text('{"data-root": "/data"}')
    assert made_fresh(place) == 1
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"  {place.root}/data/photos: it is in the data-root, and not an engine's"
    ]
    assert place.asked() == []


def test_nothing_is_deleted_through_a_mount(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    mounts = [f"{place.root}/srv/jhe2e/data"]
    monkeypatch.setattr(fresh_machine, "mounted", lambda: mounts)
    assert made_fresh(place) == 1
    assert f"{mounts[0]}: it is mounted in what would go" in capsys.readouterr().err
    assert place.asked() == []
    # The engine's own mounts are unmounted first; any other stops the removal.
    mounts[:] = [f"{place.root}/var/lib/docker/volumes/data/_data", f"{place.root}/srv/other"]
    before = place.files()
    with pytest.raises(SystemExit, match=r"could not be unmounted: .*/volumes/data/_data$"):
        made_fresh_again(place)
    assert place.files() == before


def test_a_bind_mounted_folder_stays_and_is_emptied(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    data = place.root / "var/lib/docker"
    monkeypatch.setattr(fresh_machine, "mounted", lambda: [str(data)])
    assert made_fresh(place) == 0, capsys.readouterr().err
    assert list(data.iterdir()) == []


def test_without_rules_of_others_forwarding_is_allowed_again() -> None:
    saved = "*filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n-A FORWARD -o docker0 -j DOCKER\nCOMMIT\n"
    assert docker_traces.without_docker(saved, []) == "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"


def test_a_hanging_engine_is_removed_anyway(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THROWAWAY", "yes")
    (place.folder / "hangs").touch()
    assert made_fresh(place) == 0, capsys.readouterr().err
    assert "containers: jhe2e-user-alice, jhtest-docker-bare, registry" in capsys.readouterr().out
    # It would not have answered this either.
    assert [call for call in place.asked() if "rm --force" in call] == []


def test_a_machine_that_never_had_an_engine_is_fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fresh_machine.Machine, "engines", lambda machine: [])
    # It does not have the programs either.
    monkeypatch.setattr(fresh_machine, "SYSTEM_PATH", str(tmp_path))
    assert fresh_machine.main(fresh_machine.Machine(tmp_path)) == 0
    assert capsys.readouterr().out == "This machine is fresh.\n"
