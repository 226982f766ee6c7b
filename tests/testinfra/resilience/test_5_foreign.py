"""Things that belong to somebody else: a run never changes them; if they are in the way, it says so and stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sites import Run, Site
from testinfra.host import Host
from vps import image

HUB, CONTROL, USERS = "jupyterhub-hub", "jupyterhub-control", "jupyterhub-users"
FOLDER = "/opt/other"
# What the machine's owner has all the time: a network, a volume, a container, rules, and a folder.
OWNERS = [
    "docker network create --subnet 10.77.1.0/24 other",
    "docker volume create other",
    "docker run --detach --name other --network other --volume other:/data SLEEPER",
    "nft add table inet other",
    "nft 'add chain inet other input { type filter hook input priority 5; }'",
    "nft add rule inet other input tcp dport 9 drop",
    "iptables --new-chain OTHER",
    "iptables --append OTHER --protocol tcp --dport 7 --jump DROP",
    f"mkdir {FOLDER}",
    f"touch {FOLDER}/jupyterhub.sqlite",
]


def sleeper(host: Host) -> str:
    """Return the arguments of `docker run` for a container that does nothing."""
    return f"--entrypoint sleep {image(host)} 86400"


def seen(host: Host) -> dict[str, str]:
    """Return all foreign things and ours, with the times at which they were made and started."""
    inspect = "docker {0} ls --quiet {1} | xargs docker {0} inspect --format '{2}'"
    return {
        name: host.check_output(command)
        for name, command in {
            "containers": inspect.format(
                "container",
                "--all --no-trunc",
                "{{.Name}} {{.Id}} {{.State.StartedAt}} {{json .NetworkSettings.Networks}}",
            ),
            "networks": inspect.format("network", "--no-trunc", "{{.Name}} {{.Id}} {{json .Containers}}"),
            "volumes": inspect.format("volume", "", "{{.Name}} {{.CreatedAt}}"),
            "rules": "nft list table inet other; iptables --list-rules OTHER",
            "files": f"find {FOLDER} /srv/jupyterhub /etc/docker /etc/systemd/system -printf '%p %M %U %T@\\n'",
        }.items()
    }


def owners(host: Host) -> list[str]:
    """Return those that belong to the owner."""
    now = seen(host)
    rules = now.pop("rules").splitlines()
    return rules + [line for table in now.values() for line in table.splitlines() if "other" in line]


@pytest.fixture(scope="module", autouse=True)
def foreign(host: Host) -> Iterator[None]:
    """A machine that its owner uses for something else as well."""
    for command in OWNERS:
        host.check_output(command.replace("SLEEPER", sleeper(host)))
    before = owners(host)
    assert len(before) > 8
    yield
    after = owners(host)
    host.check_output("docker rm --force other && docker network rm other && docker volume rm other")
    host.check_output(
        f"nft delete table inet other; iptables --flush OTHER; iptables --delete-chain OTHER; rm -r {FOLDER}"
    )
    assert after == before


@contextmanager
def in_the_way(host: Host, made: list[str], removed: list[str]) -> Iterator[None]:
    """Make things, and remove them afterwards."""
    try:
        for command in made:
            host.check_output(command)
        yield
    finally:
        for command in removed:
            host.run(command)


def refused(host: Host, site: Site, **settings: str) -> Run:
    """Return a run that is refused and changes nothing."""
    before = seen(host)
    run = site.run(**settings)
    assert run.code
    assert "nothing was changed" in run.said
    assert run.changes == []
    assert seen(host) == before
    return run


def test_run_refuses_names_and_addresses_that_are_taken(host: Host, site: Site) -> None:
    # First remove ours, including a server that an earlier test left.
    ours = "docker ps --all --quiet --filter label=jupyterhub-ansible.project=jupyterhub | xargs docker rm --force"
    made = [
        ours,
        f"docker network rm {USERS}",
        f"docker network create {USERS}",
        f"docker run --detach --name {HUB} {sleeper(host)}",
        f"docker run --detach --name web --publish 8000:80 --network {CONTROL} {sleeper(host)}",
    ]
    with in_the_way(host, made, [f"docker rm --force {HUB} web", f"docker network rm {USERS}"]):
        run = refused(host, site, jupyterhub_root=FOLDER, network_users_subnet="10.77.0.0/20")

    for problem in (
        "6 problems were found",
        f"the container {HUB} has one of this Hub's names but not its label",
        f"the network {USERS} has one of this Hub's names but not its label",
        "remove or rename it, or set another jupyterhub_name",
        "port 8000 is taken by the container web",
        f"the container web is not part of this Hub, but is on its network {CONTROL}",
        f"docker network disconnect {CONTROL} web",
        "10.77.0.0/20 overlaps 10.77.1.0/24, which the machine reaches by the Docker network other",
        f"{FOLDER} belongs to something else: it contains jupyterhub.sqlite",
    ):
        assert problem in run.said, problem


def test_run_refuses_a_port_and_a_bridge_that_are_taken(host: Host, site: Site) -> None:
    made = [
        "ip link add br-jupyterhub type bridge",
        "systemd-run --collect --unit other-web python3 -m http.server --bind 127.0.0.1 8000",
    ]
    with in_the_way(host, made, ["systemctl stop other-web", "ip link delete br-jupyterhub"]):
        run = refused(host, site)

    assert "2 problems were found" in run.said
    assert "port 8000 is taken by python3" in run.said
    assert "jupyterhub_port: 8001" in run.said
    assert "needs the bridge br-jupyterhub, but that name is taken by a network interface outside Docker" in run.said


def test_run_leaves_foreign_things_alone(site: Site) -> None:
    """The fixture compares them."""
    assert any("Run the Hub" in change for change in site.run().succeeded().changes)
