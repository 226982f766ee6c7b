"""A Hub and real user servers. The scenario `default` covers restarts and reboots."""

from __future__ import annotations

import json

from testinfra.host import Host
from vps import Admin, assert_fence, inspect, wait_until_healthy

ROOT = "/srv/jupyterhub/hub"


def test_hub_is_not_root_but_can_use_the_docker_socket(host: Host) -> None:
    wait_until_healthy(host)
    hub = inspect(host, "jupyterhub-hub")
    assert hub["Config"]["User"] == "64101"
    assert hub["HostConfig"]["CapDrop"] == ["ALL"]
    limits = hub["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"], limits["RestartPolicy"]["Name"]) == (
        768 * 1024**2,
        512,
        "unless-stopped",
    )
    assert host.check_output("docker exec jupyterhub-hub sh -c 'ulimit -Sn; ulimit -Hn'").split() == ["16384"] * 2
    assert hub["HostConfig"]["GroupAdd"] == [str(host.file("/var/run/docker.sock").gid)]


def test_only_the_hub_has_its_secrets(host: Host) -> None:
    assert host.file(f"{ROOT}/secrets").mode == 0o700
    everything = (
        json.dumps(inspect(host, "jupyterhub-hub"))
        + host.check_output("docker logs jupyterhub-hub 2>&1")
        + host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        + host.file(f"{ROOT}/hub.json").content_string
    )
    names = host.file(f"{ROOT}/secrets").listdir()
    assert set(names) == {"admin_password", "cookie_secret", "crypt_key", "proxy_token", "user_password"}
    for name in names:
        file = host.file(f"{ROOT}/secrets/{name}")
        assert (file.uid, file.mode) == (64101, 0o600), name
        assert file.content_string not in everything, name


def test_state_is_in_a_labelled_volume(host: Host) -> None:
    labels = inspect(host, "jupyterhub-hub", "volume")["Labels"]
    assert labels == {"jupyterhub-ansible.project": "jupyterhub", "jupyterhub-ansible.kind": "hub-state"}


def test_only_the_recorder_writes_the_audit_trail(host: Host) -> None:
    assert inspect(host, "jupyterhub-audit", "volume")["Labels"] == {
        "jupyterhub-ansible.project": "jupyterhub",
        "jupyterhub-ansible.kind": "audit-trail",
    }
    recorder = inspect(host, "jupyterhub-audit")
    limits = recorder["HostConfig"]
    assert recorder["Config"]["User"] == "64104:64101"
    assert (limits["NetworkMode"], limits["ReadonlyRootfs"], limits["CapDrop"]) == ("none", True, ["ALL"])
    assert (limits["Memory"], limits["PidsLimit"]) == (64 * 1024**2, 16)
    assert "no-new-privileges" in limits["SecurityOpt"]
    [path] = host.check_output("docker exec jupyterhub-hub sh -c 'ls /srv/audit/*.jsonl'").split()
    assert '"event":"hub started"' in host.check_output("docker exec jupyterhub-hub cat %s", path)
    assert "Permission denied" in host.run("docker exec jupyterhub-hub sh -c %s", f"echo x >>{path}").stderr
    for command in (f"rm -f {path}", "touch /srv/audit/x"):
        assert "Read-only file system" in host.run("docker exec jupyterhub-hub sh -c %s", command).stderr
    check = "docker exec jupyterhub-audit python -m jupyterhub_ansible audit check"
    assert host.check_output(check).startswith("Lines 1 to ")


def test_server_has_limits_and_no_capabilities(host: Host, admin: Admin) -> None:
    admin.start("ada")
    server = inspect(host, "jupyterhub-user-ada")
    limits = server["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == 2048 * 1024**2
    assert limits["NanoCpus"] == 2 * 10**9 or limits["CpuQuota"] == 2 * limits["CpuPeriod"]
    assert limits["PidsLimit"] == 1024
    assert limits["CapDrop"] == ["ALL"]
    assert limits["Init"]
    assert host.check_output("docker exec jupyterhub-user-ada id --user") == "1000"
    assert inspect(host, "jupyterhub-user-ada", "volume")["Labels"]["jupyterhub-ansible.user"] == "ada"


def test_server_is_fenced(host: Host, admin: Admin) -> None:
    admin.start("bob")
    assert_fence(host, "bob")
