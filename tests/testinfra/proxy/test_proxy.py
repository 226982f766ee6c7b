from __future__ import annotations

import json

from testinfra.host import Host
from vps import inspect, listener, reached, wait_until_healthy

ROOT = "/srv/jupyterhub/proxy"


def test_proxy_is_healthy_and_restarts_by_itself(host: Host) -> None:
    wait_until_healthy(host, "jupyterhub-proxy")
    proxy = inspect(host, "jupyterhub-proxy")
    assert proxy["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_proxy_has_no_privileges(host: Host) -> None:
    proxy = inspect(host, "jupyterhub-proxy")
    assert proxy["Config"]["User"] == "64102"
    assert proxy["HostConfig"]["CapDrop"] == ["ALL"]
    assert "no-new-privileges" in proxy["HostConfig"]["SecurityOpt"]
    assert proxy["HostConfig"]["ReadonlyRootfs"]


def test_proxy_is_limited(host: Host) -> None:
    limits = inspect(host, "jupyterhub-proxy")["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"]) == (768 * 1024**2, 128)
    assert host.check_output("docker exec jupyterhub-proxy sh -c 'ulimit -Sn; ulimit -Hn'").split() == ["16384"] * 2


def test_proxy_trusts_no_other_proxy(host: Host) -> None:
    environment = inspect(host, "jupyterhub-proxy")["Config"]["Env"]
    assert {"TRUSTED_PROXIES=", "UNTRUSTED_NETWORKS=10.213.0.0/20"} <= set(environment)


def test_nothing_listens_outside_the_machine(host: Host) -> None:
    listening = {
        line.split()[3] for line in host.check_output("ss --no-header --tcp --listening --numeric").splitlines()
    }
    assert "127.0.0.1:8000" in listening
    # The rest are the engine's listeners and the machine's sshd.
    assert {where.rpartition(":")[0] for where in listening if not where.endswith(":22")} == {"127.0.0.1"}


def test_api_is_open_on_the_control_network_only(host: Host) -> None:
    ways = {"api": "proxy-api:8001", "public": "proxy-api:8000"}
    assert reached(host, "jupyterhub-control", ways) == {"api": True, "public": True}
    control = inspect(host, "jupyterhub-proxy")["NetworkSettings"]["Networks"]["jupyterhub-control"]["IPAddress"]
    ways = {"public": "proxy:8000", "api": "proxy:8001", "api by its address": f"{control}:8001"}
    assert reached(host, "jupyterhub-users", ways) == {"public": True, "api": False, "api by its address": False}


def test_servers_do_not_reach_each_other_or_the_machine(host: Host) -> None:
    with listener(host, "10.213.0.1") as machine, listener(host, "jupyterhub-users") as server:
        ways = {"server": server, "machine": machine}
        assert reached(host, "jupyterhub-users", ways) == {"server": False, "machine": False}
        # The listeners do listen: it is the fence that closes the way.
        assert host.run(f"timeout 3 bash -c '</dev/tcp/{machine.replace(':', '/')}'").rc == 0
        assert host.run(f"timeout 3 bash -c '</dev/tcp/{server.replace(':', '/')}'").rc == 0


def test_fence_is_loaded_at_boot_before_the_engine(host: Host) -> None:
    assert host.service("jupyterhub-fence").is_enabled
    assert "docker.service" in host.check_output("systemctl show --property Before jupyterhub-fence.service")


def test_removed_rule_is_detected_and_restored(host: Host) -> None:
    assert host.check_output(f"{ROOT}/fence check") == "in force"
    # The unit would restore it first.
    host.check_output("systemctl stop jupyterhub-fence && nft flush chain inet jupyterhub_fence input")
    assert host.check_output(f"{ROOT}/fence rules") == "not in force"
    assert host.check_output(f"{ROOT}/fence keep") == "loaded"
    assert host.check_output(f"{ROOT}/fence check") == "in force"
    host.check_output("systemctl start jupyterhub-fence")


def test_only_the_proxy_has_the_token(host: Host) -> None:
    folder, file = host.file(f"{ROOT}/secrets"), host.file(f"{ROOT}/secrets/token")
    assert (folder.uid, folder.mode, file.uid, file.mode) == (64102, 0o700, 64102, 0o600)
    token = file.content_string
    assert len(token) == 64
    assert token not in json.dumps(inspect(host, "jupyterhub-proxy"))
    assert token not in host.check_output("docker logs jupyterhub-proxy 2>&1")
    assert token not in host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_everything_is_labelled(host: Host) -> None:
    found = [inspect(host, name, "network")["Labels"] for name in ("jupyterhub-users", "jupyterhub-control")]
    found.append(inspect(host, "jupyterhub-proxy")["Config"]["Labels"])
    assert {labels["jupyterhub-ansible.project"] for labels in found} == {"jupyterhub"}
    assert [labels["jupyterhub-ansible.kind"] for labels in found] == ["network", "network", "proxy"]
