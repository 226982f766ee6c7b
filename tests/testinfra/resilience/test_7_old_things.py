"""The next run removes what former settings left on the machine; a server that uses it keeps running."""

from __future__ import annotations

import json
from typing import Any

from sites import Site
from testinfra.host import Host
from vps import Admin, inspect, started

SERVER = "jupyterhub-user-eve"
HUB_SETTINGS = "/srv/jupyterhub/hub/hub.json"
LOG = "/srv/jupyterhub/builds/env-extra.log"
DAEMON = "/etc/docker/daemon.json"
REPOSITORY = [
    "/etc/apt/sources.list.d/jupyterhub-ansible-docker.sources",
    "/etc/apt/keyrings/jupyterhub-ansible-docker.asc",
]
EXTRA = "jupyterhub/env-extra:0123456789abcdef"
# One more than images_keep.
OLDER = [f"jupyterhub/env-base:{number:016x}" for number in range(3)]
# Looks like one of ours.
MINE = f"jupyterhub/mine:{7:016x}"
# Removed later, all at once.
SETTINGS: dict[str, Any] = {
    "docker_daemon_settings": {"debug": True, "log-opts": {"compress": "true"}},
    "hub_traits": {"JupyterHub": {"active_server_limit": 7}},
    "hub_server_environment": {"A_MIRROR": "https://mirror.example"},
    "images_pip_index_url": "https://mirror.example/simple",
}


def content(host: Host, path: str) -> Any:
    return json.loads(host.file(path).content_string)


def tags(host: Host, repository: str) -> list[str]:
    return str(host.check_output("docker image ls --format '{{.Tag}}' %s", repository)).split()


def test_removed_settings_and_environments_leave_the_machine(host: Host, site: Site, admin: Admin) -> None:
    before = content(host, HUB_SETTINGS)
    [base] = before["images_environments"]
    # An image and the build log of a former environment, and older images of ours.
    for ref in (EXTRA, *OLDER):
        label = f"jupyterhub-ansible.content-hash={ref.rpartition(':')[2]}"
        host.check_output(f"printf 'FROM {base['image']}' | docker build --label {label} --tag {ref} -")
    # The operator's own image, which inherits our labels.
    host.check_output(f"printf 'FROM {base['image']}\\nLABEL mine=yes' | docker build --tag {MINE} -")
    host.check_output(f"mkdir -p {LOG.rpartition('/')[0]} && touch {LOG}")
    # A setting of the machine's owner, and what a former repository of the engine left.
    host.check_output(f"echo '{{\"max-concurrent-downloads\": 2}}' > {DAEMON}")
    host.check_output(f"mkdir -p /etc/apt/keyrings && touch {' '.join(REPOSITORY)}")
    catalogue = [{"slug": "base", "title": "Base"}, {"slug": "extra", "title": "Extra", "image": EXTRA}]

    site.run(images_environments=catalogue, **SETTINGS).succeeded()

    engine = content(host, DAEMON)
    assert (engine["debug"], engine["log-opts"]["compress"], engine["max-concurrent-downloads"]) == (True, "true", 2)
    assert content(host, HUB_SETTINGS)["hub_server_environment"] == SETTINGS["hub_server_environment"]
    admin.start("eve", profile="extra")
    assert inspect(host, SERVER)["Config"]["Image"] == EXTRA
    since = started(host, SERVER)

    site.run().succeeded()

    engine = content(host, DAEMON)
    assert "debug" not in engine
    assert set(engine["log-opts"]) == {"max-size", "max-file"}
    assert engine["max-concurrent-downloads"] == 2
    assert content(host, HUB_SETTINGS) == before
    assert [path for path in REPOSITORY if host.file(path).exists] == []
    kept = {f"jupyterhub/env-base:{tag}" for tag in tags(host, "jupyterhub/env-base")}
    assert base["image"] in kept
    assert len(kept.intersection(OLDER)) == 2, "images_keep"
    # The server keeps running with its image, but nobody can choose it any more.
    assert started(host, SERVER) == since
    assert admin.ask("GET", "/user/eve/api/status")[0] == 200
    assert tags(host, "jupyterhub/env-extra") == [EXTRA.rpartition(":")[2]]
    admin.ask("POST", "/hub/api/users/bob")
    status, answer = admin.ask("POST", "/hub/api/users/bob/server", {"profile": "extra"})
    assert status == 400
    assert "There is no environment of that name. Choose one of: base." in answer


def test_image_is_removed_after_its_last_server(host: Host, site: Site, admin: Admin) -> None:
    admin.stop("eve")
    # Her stored last choice is replaced by the default.
    admin.start("eve")
    assert inspect(host, SERVER)["Config"]["Image"] != EXTRA

    run = site.run().succeeded()

    assert run.changes == ["images : prune | Remove tags beyond images_keep that no container uses"]
    assert tags(host, "jupyterhub/env-extra") == []
    assert tags(host, "jupyterhub/mine") == [MINE.rpartition(":")[2]]
    assert not host.file(LOG).exists
    admin.stop("eve")
