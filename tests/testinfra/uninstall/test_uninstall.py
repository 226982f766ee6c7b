"""`make uninstall` on machines that were bare: all is gone but the data, which the next deployment finds."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from project import PROJECT
from testinfra.host import Host
from vps import Admin, inspect

INVENTORY = PROJECT / "molecule/inventory"

# What Debian's packages leave when they are removed, besides their configuration files (docs/how-to/uninstall.md).
OF_PACKAGES = re.compile(
    r"/etc/(g?shadow|group|gshadow)-?$|/etc/ld\.so\.cache$|/etc/networks$|/etc/rc[0-6S]\.d/...(docker|apparmor)$"
    r"|/etc/apparmor\.d/(local|tunables)/|/run/adduser$"
    r"|/etc/systemd/system/[\w-]+\.target\.wants(/(docker|containerd|apparmor)\.(service|socket))?$"
)
CONFIGURATION = "dpkg-query --show --showformat '${db:Status-Status}:${Conffiles}\\n'"
# The other Hub on the machine, as far as anyone could take it for a part of this one.
LAB = "jupyterhub-ansible.project=lab"
OTHER_HUB = [
    f"docker network create --label {LAB} lab-users",
    f"docker volume create --label {LAB} lab-user-ann",
    "docker tag {image} lab/env-base:{hash}",
    f"docker run --detach --name lab-hub --label {LAB} --network lab-users --volume lab-user-ann:/home"
    " --entrypoint sleep lab/env-base:{hash} 86400",
    "mkdir -p /srv/lab/hub/secrets && touch /srv/lab/hub/secrets/cookie_secret",
]
OTHER_HUB_GONE = (
    "docker rm --force lab-hub && docker network rm lab-users && docker volume rm lab-user-ann && rm -r /srv/lab"
)


@pytest.fixture(scope="module")
def name(host: Host) -> str:
    """The Hub's name, which contains a hyphen."""
    listed = subprocess.check_output(["ansible-inventory", "--inventory", INVENTORY, "--host", host.backend.name])
    return str(json.loads(listed)["jupyterhub_name"])


@pytest.fixture(scope="module")
def is_bookworm(host: Host) -> bool:
    return str(host.backend.name).endswith("bookworm")


@pytest.fixture(scope="module")
def ada(host: Host, name: str) -> str:
    """A user with a running server and a file; the tests' own images are no part of a machine that anybody deploys."""
    host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' 'jhtest/*' | xargs docker image rm")
    admin = Admin(host, name)
    admin.start("ada")
    host.check_output("docker exec %s sh -c 'echo hers > kept.txt'", f"{name}-user-ada")
    return str(admin.token)


def files_of(host: Host, name: str) -> str:
    """Return a hash of each file of her home, and of the secrets, with owners and modes."""
    home = f"/var/lib/docker/volumes/{name}-user-ada/_data"
    find = f"find {home} /srv/{name}/hub/secrets -type f -not -path '*/.*' -printf '%p %U %m\\n' -exec sha256sum {{}} +"
    found: str = host.check_output(f"{find} | sort")
    assert "kept.txt" in found
    assert "cookie_secret" in found
    return found


def left(host: Host) -> list[str]:
    """Return what is on the machine that was not there before the deployment, and what was and is not, with a minus."""
    before = set(host.file("/var/lib/snapshot").content_string.splitlines())
    now = set(host.check_output("whole-snapshot").splitlines())
    assert len(before) > 5000
    stanzas = host.check_output(CONFIGURATION).split("\nconfig-files:")[1:]
    configuration = {
        line.split()[0] for each in stanzas for line in each.split("\n\n")[0].splitlines() if line.startswith(" /")
    }
    folders = {str(folder) for path in configuration for folder in Path(path).parents}

    def is_of_packages(line: str) -> bool:
        path = next((word for word in line.split() if word.startswith("/")), "")
        return bool(path in configuration | folders or OF_PACKAGES.search(path))

    differences = [f"- {line}" for line in before - now] + list(now - before)
    return sorted(line for line in differences if not is_of_packages(line))


def test_running_servers_and_a_wrong_name_are_refused(
    host: Host, name: str, ada: str, uninstall: Callable[..., Any]
) -> None:
    before = host.check_output("docker ps --quiet --no-trunc")
    for typed, said in (
        ({}, "1 server is running, of ada"),
        ({"delete_data_of": "hub", "stop_servers": "yes"}, f"DELETE_DATA=hub: this Hub is called {name}"),
        ({"jupyterhub_root": "/srv", "stop_servers": "yes"}, "jupyterhub_root: is not a dedicated folder"),
    ):
        run = uninstall(**typed)
        assert not run.ok
        assert said in run.said
        assert "Nothing was changed." in run.said
        assert run.changed == 0
    assert host.check_output("docker ps --quiet --no-trunc") == before


def test_dry_run_lists_it_and_changes_nothing(host: Host, name: str, ada: str, uninstall: Callable[..., Any]) -> None:
    before = host.check_output(
        "docker ps --all; docker volume ls; docker image ls; docker network ls; whole-snapshot"
    ).splitlines()
    run = uninstall("--check", "--diff", delete_data_of=name)
    assert run.ok, run.output
    assert f"Would remove the Hub {name}" in run.said
    assert f"volume {name}-user-ada" in run.said
    assert "But this would be refused: 1 server is running" in run.said
    assert run.changed > 10
    after = host.check_output(
        "docker ps --all; docker volume ls; docker image ls; docker network ls; whole-snapshot"
    ).splitlines()
    # Docker's tables have the times of today.
    assert [
        line for line in after if line.startswith(("/", "package", "rule", "unit", "sysctl")) and line not in before
    ] == []
    assert inspect(host, f"{name}-user-ada")["State"]["Running"]


def test_second_hub_on_the_machine_is_untouched(
    host: Host, name: str, is_bookworm: bool, ada: str, uninstall: Callable[..., Any]
) -> None:
    if not is_bookworm:
        pytest.skip("nothing in it depends on Debian's release: the other machine, Debian 12, proves it")
    image = host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' %s", f"{name}/env-base")
    for command in OTHER_HUB:
        host.check_output(command.format(image=image, hash=image.rpartition(":")[2]))
    look = "docker inspect lab-hub lab-users lab-user-ann lab/env-base:* | grep -v Duration; ls -lR /srv/lab".replace(
        "*", image.rpartition(":")[2]
    )
    shared = (
        "cat /etc/docker/daemon.json /etc/sysctl.d/*jupyterhub* /proc/sys/fs/inotify/max_user_instances; dpkg --list"
    )
    before = host.check_output(look), host.check_output(shared)

    run = uninstall(stop_servers="yes")

    assert run.ok, run.output
    assert "what it shares with other Hubs on this machine (lab)" in run.said
    assert (host.check_output(look), host.check_output(shared)) == before
    assert host.check_output("docker ps --format '{{.Names}}'") == "lab-hub"
    assert "kept.txt" in files_of(host, name)
    assert host.check_output(f"nft list tables | grep {name.replace('-', '_')} || :") == ""
    assert uninstall().changed == 0
    host.check_output(OTHER_HUB_GONE)
    host.check_output(f"docker image rm lab/env-base:{image.rpartition(':')[2]}")


def test_machine_is_as_it_was_before_but_for_the_data(
    host: Host, name: str, is_bookworm: bool, ada: str, uninstall: Callable[..., Any], converge: Callable[..., Any]
) -> None:
    if is_bookworm:
        pytest.skip("this machine proves that a second Hub stays; Debian 13's, that nothing else does")
    before = files_of(host, name)

    run = uninstall(stop_servers="yes")

    assert run.ok, run.output
    assert "the next deployment finds them" in run.said
    assert [line for line in left(host) if f" /srv/{name}" not in f" {line}"] == []
    assert files_of(host, name) == before
    again = uninstall()
    assert again.ok, again.output
    assert again.changed == 0

    deployed = converge()
    assert deployed.ok, deployed.output
    host.check_output("docker image ls --format '{{.Repository}}:{{.Tag}}' 'jhtest/*' | xargs docker image rm")
    assert files_of(host, name) == before
    admin = Admin(host, name, token=ada)
    # Her account and the token are from before.
    assert admin.ask("GET", "/hub/api/users/ada")[0] == 200
    admin.start("ada")
    assert host.check_output("docker exec %s cat kept.txt", f"{name}-user-ada") == "hers"


def test_with_the_name_typed_the_data_is_removed_as_well(
    host: Host, name: str, ada: str, uninstall: Callable[..., Any]
) -> None:
    run = uninstall(delete_data_of=name, stop_servers="yes")
    assert run.ok, run.output
    assert left(host) == []
    assert host.check_output("ls -A /var/lib/docker") == ""
    again = uninstall(delete_data_of=name)
    assert again.ok, again.output
    assert again.changed == 0
    assert f"There is nothing left to remove of the Hub {name}" in again.said
