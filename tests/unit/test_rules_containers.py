"""Docker options for users' servers: an allow list of safe ones, enforced everywhere alike."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from docker.api.container import ContainerApiMixin
from docker.types.containers import HostConfig
from jupyterhub_ansible.rules import containers, mounts, traits
from jupyterhub_ansible.rules.placeholders import is_placeholder
from project import ROLES

OURS = mounts.protected("hub", "homes-{username}", ())
NFS = {"type": "nfs", "o": "addr=nas.team.dev,rw,nfsvers=4", "device": ":/export/team"}
PAGE = (ROLES.parent / "docs/how-to/container-options.md").read_text()


def refused(class_name: str, **given: Any) -> list[str]:
    """Return the refused traits of a class, as dotted paths without the class."""
    found = traits.refused({class_name: given}, "github", OURS)
    return [".".join(each.path[1:]) for each in found]


def host_config(**options: Any) -> list[str]:
    return refused("DockerSpawner", extra_host_config=options)


@pytest.mark.parametrize(
    "options",
    [
        {"shm_size": "2g", "cpu_shares": 512, "mem_swappiness": 0, "blkio_weight": 300, "read_only": True},
        {"dns": ["192.0.2.53"], "dns_search": ["team.dev"], "extra_hosts": {"git": "192.0.2.7"}},
        {"ulimits": [{"name": "nofile", "soft": 4096, "hard": 4096}, {"Name": "memlock", "Soft": -1, "Hard": -1}]},
        {"device_requests": [{"driver": "nvidia", "count": -1, "capabilities": [["gpu"]]}]},
        {"device_requests": [{"Count": 1, "Capabilities": [["gpu", "compute"]]}]},
        {"device_requests": [{"driver": "cdi", "device_ids": ["nvidia.com/gpu=0", "amd.com/gpu=all"]}]},
        {"device_requests": [{"driver": "nvidia", "device_ids": ["GPU-3a23c669-1f69-c64e-cf85-44e9b07e7a2a", "1"]}]},
        {"devices": ["/dev/dri", "/dev/kfd:/dev/kfd:rwm", "/dev/dri/renderD128", "/dev/nvidia-uvm"]},
        {"runtime": "nvidia", "group_add": ["video"], "init": True, "storage_opt": {"size": "20G"}},
        {"oom_score_adj": 800},
        {"log_config": {"type": "local", "config": {"max-size": "1m"}}},
    ],
)
def test_safe_options_are_accepted(options: dict[str, Any]) -> None:
    assert host_config(**options) == []


def test_other_traits_of_servers_that_are_safe() -> None:
    safe = {
        "extra_create_kwargs": {"hostname": "{username}", "labels": {"team": "x"}, "user": "1000:100", "tty": True},
        "client_kwargs": {"timeout": 120, "version": "1.41"},
        "volumes": {
            "shared-{username}": "/s",
            "/srv/data/{username}": {"bind": "/data", "mode": "ro"},
            "data": "/d",
            "cache": {"bind": "/c", "mode": "rw,nocopy"},
            "/srv/auto": {"bind": "/a", "mode": "ro,rslave"},
            "/etc/localtime": {"bind": "/etc/localtime", "mode": "ro"},
            "/srv/Gemeinsame Daten/für alle": "/x",
        },
        "read_only_volumes": {"/data/sets": "/sets", "/etc/krb5.conf": "/etc/krb5.conf", "/etc/ssl/certs": "/certs"},
        "mounts": [
            {"source": "/nfs/{username}", "target": "/n", "type": "bind", "read_only": True},
            {"source": "", "target": "/scratch", "type": "tmpfs", "tmpfs_size": "1g", "tmpfs_mode": 0o1777},
            {"source": "/etc/ssl/certs/ca-certificates.crt", "target": "/ca.crt", "type": "bind", "read_only": True},
            {"source": "team", "target": "/t", "driver_config": {"Name": "local", "Options": NFS}},
        ],
        "env_keep": ["LANG", "TZ", "LICENSE_KEY", "MONKEY"],
        "group_overrides": {"gpu": {"groups": ["gpu"], "spawner_override": {"mem_limit": "8G", "cpu_limit": 4}}},
        "remove": True,
        "pull_policy": "ifnotpresent",
        "post_start_cmd": "true",
        "args": ["--debug"],
    }
    for name in ("DockerSpawner", "UserServerSpawner", "MySpawner"):
        assert refused(name, **safe) == []


@pytest.mark.parametrize(
    "name",
    ["DockerSpawner", "UserServerSpawner", "Spawner", "MySpawner", "Configurable", "LoggingConfigurable", "Anything"],
)
def test_no_class_bypasses_the_rules(name: str) -> None:
    given = {"extra_host_config": {"privileged": True}, "network_name": "host", "volumes": {"/": "/host"}}
    assert refused(name, **given) == ["extra_host_config.privileged", "network_name", "volumes./"]


@pytest.mark.parametrize("name", ["EvilAuthenticator", "MyProxy", "JupyterHub", "CryptKeeper"])
def test_nor_does_a_similar_name(name: str) -> None:
    assert refused(name, extra_host_config={"cap_add": ["ALL"]}) == ["extra_host_config.cap_add"]


@pytest.mark.parametrize(
    ("volume", "taken"),
    [
        ("hub-shared-{username}", True),
        ("hub-user-{username}", False),
        ("homes-{username}", False),
        # A user may be called "hub", "user-ann", "b-hub" or "ub-user-ann".
        ("hub-{username}", False),
        ("hu{username}", False),
        ("hub-user{username}", False),
    ],
)
def test_volumes_for_each_user(volume: str, taken: bool) -> None:
    found = list(traits.refused({"DockerSpawner": {"volumes": {volume: "/x"}}}, "github", OURS))
    assert [each.fix for each in found] == ([] if taken else ["set hub_volume_name_template instead"])


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("/srv/homes/{username}", True),
        ("/srv/home-{username}", True),
        ("/home/shared/{username}", True),
        ("/data/homes/{username}", True),
        # A user may be called "ubuntu", "jupyterhub", "yterhub", "coolify", "lib", "docker" or "x".
        ("/home/{username}", False),
        ("/home/{username}/work", False),
        ("/srv/{username}", False),
        ("/srv/jup{username}", False),
        ("/data/{username}", False),
        ("/usr/{username}", False),
        ("/var/lib/{username}", False),
        ("/{username}", False),
    ],
)
def test_folders_for_each_user(source: str, taken: bool) -> None:
    ours = mounts.protected("hub", None, ["/srv/jupyterhub"])
    found = list(traits.refused({"DockerSpawner": {"volumes": {source: "/x"}}}, "github", ours))
    assert [each.what for each in found] == (
        [] if taken else ["could be a system folder, depending on the user's name"]
    )


def test_propagation_is_not_hidden_in_the_mode() -> None:
    volumes = {"/srv/data": {"bind": "/data", "mode": "rw,rshared"}}
    assert refused("DockerSpawner", volumes=volumes) == ["volumes./srv/data.mode"]


def test_custom_class_for_login_is_an_authenticator() -> None:
    found = list(traits.refused({"TeamLogin": {"allow_all": True}}, "team.TeamLogin"))
    assert [each.path for each in found] == [("TeamLogin", "allow_all")]
    assert found[0].fix == "set hub_allow_all instead"


@pytest.mark.parametrize(("function", "listed"), [(HostConfig, "HOST_CONFIG"), (ContainerApiMixin, "CREATE")])
def test_every_docker_option_is_listed_or_refused(function: Any, listed: str) -> None:
    called = function.create_container if listed == "CREATE" else function.__init__
    known = set(inspect.signature(called).parameters) - {"self", "version"}
    table: dict[str, Any] = getattr(containers, listed)
    assert set(table) <= known, "a name that docker-py does not know counts for nothing"
    assert {each for each in known if not list(containers.unsafe({each: "no such value"}, table))} == {
        name for name, (check, _) in table.items() if check("no such value")
    }


def test_page_lists_the_accepted_options() -> None:
    rows = {
        cells[1].strip("` "): set(re.findall(r"`([a-z_]+)`", cells[2]))
        for cells in (line.split("|") for line in PAGE.splitlines() if line.startswith("| `"))
    }
    first = PAGE.partition("| other traits")[0]
    listed = {
        name
        for line in first.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    assert listed - {"extra_host_config"} == set(containers.HOST_CONFIG)
    assert rows["extra_create_kwargs"] == set(containers.CREATE)
    assert rows["client_kwargs"] == set(containers.CLIENT)
    assert set(containers.MOUNT) <= rows["mounts"]
    for words in (*containers.ULIMITS, *containers.RUNTIMES):
        assert f"`{words}`" in first
    assert Path(containers.DOCS.split()[0]).name == "container-options.md"


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("/srv/data", True),
        ("/home/shared", True),
        ("/usr/local/share/data", True),
        ("/data", True),
        ("/data/coolify", False),
        ("/data/coolify/ssh", False),
        ("/data/sets", True),
        ("/srv/Gemeinsame Daten/für alle", True),
        ("/srv/data:/etc", False),
        ("/etc/ssl/private", False),
        ("/etc/", False),
        ("/etc/.", False),
        ("/./etc", False),
        ("/srv/../etc", False),
        ("//etc", False),
        ("/var", False),
        ("/var/lib", False),
        ("/var/lib/docker/volumes", False),
        ("/run/docker.sock", False),
        ("/var/spool/cron", False),
        ("/var/lib/kubelet/pods", False),
        ("/home/ubuntu/.ssh", False),
        ("/srv/keys/.ssh/", False),
        ("/home", False),
        ("/usr", False),
        ("hub-hub", False),
        ("hub-user-ann", False),
        ("hub-audit", False),
        ("hub-deleted-homes", False),
        ("homes-ann", False),
        ("hub-shared", True),
        ("hub-hub-data", True),
        ("data", True),
    ],
)
def test_sources_of_mounts(source: str, taken: bool) -> None:
    assert (mounts.wrong_source(source, OURS) is None) == taken


def test_coolifys_own_folders_are_refused() -> None:
    wrong = mounts.wrong_source("/data", mounts.Protected(folders=(mounts.COOLIFY,)))
    assert wrong
    assert "/data/coolify is where Coolify keeps its keys" in wrong[1]
    assert mounts.wrong_source("/data/sets", mounts.Protected(folders=(mounts.COOLIFY,))) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://static.1-2-3-4.clients.your-server.de", False),
        ("https://your-server.de", True),
        ("https://hub.your-server.org", True),
        ("https://hub.example.org", True),
        ("https://hub.team.dev", False),
    ],
)
def test_placeholder_hosts(value: str, expected: bool) -> None:
    assert is_placeholder(value) is expected
