"""A run repairs what was changed or removed by hand, while a user's server keeps running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from e2e.client import eventually
from sites import Site
from testinfra.host import Host
from vps import Admin, assert_fence, inspect, started

HUB, PROXY, SERVER = "jupyterhub-hub", "jupyterhub-proxy", "jupyterhub-user-ada"
CONTROL, USERS = "jupyterhub-control", "jupyterhub-users"
ROOT = "/srv/jupyterhub"
UNIT = "/etc/systemd/system/jupyterhub-fence.service"
DAEMON = "/etc/docker/daemon.json"
PROOF = "/run/jupyterhub-fence-proof"
LABELS = "--label jupyterhub-ansible.project=jupyterhub --label jupyterhub-ansible.kind=network"


@contextmanager
def undisturbed(host: Host, admin: Admin) -> Iterator[None]:
    """A running user server is the same afterwards, reachable through the proxy, and fenced."""
    admin.start("ada")
    before = started(host, SERVER)
    yield
    assert started(host, SERVER) == before
    eventually("the server through the proxy", lambda: admin.ask("GET", "/user/ada/api/status")[0] == 200, 75)
    assert_fence(host, "ada")


def by_hand(host: Host, *commands: str) -> None:
    for command in commands:
        host.check_output(command)


def content(host: Host, path: str) -> str:
    return str(host.file(path).content_string)


def test_run_restores_what_was_removed(host: Host, site: Site, admin: Admin) -> None:
    before = {path: content(host, path) for path in (f"{ROOT}/hub/hub.json", f"{ROOT}/proxy/fence", UNIT)}
    image = inspect(host, HUB)["Config"]["Image"]
    with undisturbed(host, admin):
        by_hand(
            host,
            f"docker rm --force {HUB} {PROXY}",
            f"docker network disconnect {USERS} {SERVER}",
            f"docker image rm {image}",
            "nft delete table inet jupyterhub_fence",
            "systemctl disable jupyterhub-fence",
            f"rm -r {ROOT}/proxy/secrets {' '.join(before)} {DAEMON}",
            "systemctl stop docker.socket docker.service",
        )
        site.run().succeeded()
    assert {path: content(host, path) for path in before} == before
    assert json.loads(content(host, DAEMON))["live-restore"] is True
    assert inspect(host, HUB)["Config"]["Image"] == image
    assert host.service("docker").is_running
    assert host.service("jupyterhub-fence").is_enabled


def test_run_restores_what_was_changed(host: Host, site: Site, admin: Admin) -> None:
    files = (f"{ROOT}/hub/hub.json", f"{ROOT}/proxy/fence", UNIT)
    before = {path: content(host, path) for path in files}
    secrets = host.file(f"{ROOT}/hub/secrets").listdir()
    with undisturbed(host, admin):
        by_hand(
            host,
            f"docker stop {HUB}",
            f"docker network disconnect {CONTROL} {HUB}",
            f"docker update --restart no {PROXY}",
            f"docker pause {PROXY}",
            "nft insert rule inet jupyterhub_fence forward accept",
            "systemctl disable jupyterhub-fence",
            f"chmod 0777 {ROOT} {ROOT}/hub {ROOT}/hub/secrets",
            f"chown --recursive nobody {ROOT}/hub",
            f"chmod 0666 {ROOT}/hub/hub.json {ROOT}/hub/secrets/*",
            f"sed -i s/2048/1024/ {ROOT}/hub/hub.json",
            f"sed -i s/drop/accept/ {ROOT}/proxy/fence",
            f"echo '# by hand' >> {UNIT}",
            # Our setting is restored, and the owner's stays.
            f"""echo '{{"live-restore": false, "debug": true}}' > {DAEMON}""",
        )
        site.run().succeeded()
    assert {path: content(host, path) for path in files} == before
    for path, owner, mode in [
        (ROOT, 0, 0o755),
        (f"{ROOT}/hub", 0, 0o755),
        (f"{ROOT}/hub/hub.json", 64101, 0o600),
        (f"{ROOT}/hub/secrets", 64101, 0o700),
        *((f"{ROOT}/hub/secrets/{name}", 64101, 0o600) for name in secrets),
    ]:
        assert (host.file(path).uid, host.file(path).mode) == (owner, mode), path
    settings = json.loads(content(host, DAEMON))
    assert (settings["live-restore"], settings["debug"], "log-opts" in settings) == (True, True, True)
    assert inspect(host, PROXY)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert set(inspect(host, HUB)["NetworkSettings"]["Networks"]) == {CONTROL, USERS}


def test_run_repairs_changed_containers_alone(host: Host, site: Site, admin: Admin) -> None:
    """A run checks the containers even if everything else is settled."""
    containers = ["proxy : container | Run the proxy", "hub : container | Run the Hub"]
    with undisturbed(host, admin):
        # Written whenever the module runs, which is what makes a run slow.
        stamps = "stat --format '%n %y' /run/jupyterhub-hub.settled /run/jupyterhub-proxy.settled"
        before = host.check_output(stamps)
        assert site.run().succeeded().changes == []
        assert host.check_output(stamps) == before, "the modules were skipped: all is settled"
        by_hand(
            host,
            f"docker network disconnect {CONTROL} {PROXY}",
            f"docker update --memory 700m {HUB}",
        )
        assert site.run().succeeded().changes == containers
        by_hand(host, f"docker update --restart no {PROXY}", f"docker pause {HUB}")
        assert site.run().succeeded().changes == containers
    assert set(inspect(host, PROXY)["NetworkSettings"]["Networks"]) == {CONTROL, USERS}
    assert inspect(host, PROXY)["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert inspect(host, HUB)["HostConfig"]["Memory"] == 768 * 1024**2


def test_run_repairs_recreated_networks(host: Host, site: Site, admin: Admin) -> None:
    """No container is on them any more: even the user's server is attached again, and found at its address."""
    before = {name: inspect(host, name, "network") for name in (CONTROL, USERS)}
    proof = content(host, PROOF)
    with undisturbed(host, admin):
        by_hand(
            host,
            *(f"docker network disconnect --force {USERS} {name}" for name in (SERVER, HUB, PROXY)),
            *(f"docker network disconnect --force {CONTROL} {name}" for name in (HUB, PROXY)),
            f"docker network rm {CONTROL} {USERS}",
            # A wrong network: neither bridge nor addresses are those that the fence protects.
            f"docker network create {LABELS} --subnet 10.99.0.0/24 {USERS}",
            f"docker network connect {USERS} {SERVER}",
        )
        site.run().succeeded()
    now = {name: inspect(host, name, "network") for name in before}
    for part in ("Labels", "Options"):
        assert [now[name][part] for name in now] == [before[name][part] for name in before]
    assert now[USERS]["IPAM"] == before[USERS]["IPAM"]
    assert content(host, PROOF) != proof, "the new network is proved again"


def test_homes_survive_the_loss_of_the_hub_s_state(host: Host, site: Site, admin: Admin) -> None:
    """The Hub forgets its users and their servers; their files stay, and they can start again."""
    admin.start("ada")
    by_hand(
        host,
        f"docker exec {SERVER} sh -c 'echo kept > ~/file'",
        f"docker rm --force {HUB}",
        f"docker volume rm {HUB}",
    )
    site.run().succeeded()
    new_admin = Admin(host)
    new_admin.start("ada")
    assert host.check_output(f"docker exec {SERVER} cat file") == "kept"
    new_admin.stop("ada")


def test_last_run_changes_nothing(site: Site) -> None:
    assert site.run().succeeded().changes == []
