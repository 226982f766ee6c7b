"""Names: servers never share a container or a home, and foreign containers and volumes are left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.client import NewUser, StartError
from e2e.deployment import LABEL, TEST_LABEL, Deployment, docker, inspect

LOGINS = [
    ("proxy", ""),
    ("hub", ""),
    ("data", ""),
    ("a-b", "c"),
    ("a", "b-c"),
    ("thirty-nine-characters-is-githubs-limit", ""),
]


def test_servers_with_awkward_names_do_not_collide(deployment: Deployment, new_user: NewUser) -> None:
    assert len(LOGINS[-1][0]) == 39
    own = {name: deployment.start_times()[name] for name in (deployment.hub, deployment.proxy)}
    servers = [new_user(user).server(name) for user, name in LOGINS]
    for server in servers:
        server.start("base")
        server.write("owner.txt", server.path)
    found = {(user, name): deployment.server(user, name) for user, name in LOGINS}
    homes = {mount["Name"] for container in found.values() for mount in container["Mounts"]}
    assert len({container["Name"] for container in found.values()}) == len(homes) == len(LOGINS)
    assert max(len(container["Name"].removeprefix("/")) for container in found.values()) <= 63
    for server in servers:
        # Each still has its own container and home after all the others have started.
        assert server.read("owner.txt") == server.path
        server.stop()
        server.start()
        assert server.read("owner.txt") == server.path
    assert {name: deployment.start_times()[name] for name in own} == own


@pytest.fixture
def foreign_container(deployment: Deployment) -> Iterator[str]:
    """A running container that has the name of a user's server but none of our labels."""
    name = f"{deployment.name}-user-stranger"
    image = deployment.containers()[deployment.proxy]["Image"]
    docker("run", "--detach", "--label", TEST_LABEL, "--name", name, "--entrypoint", "sleep", image, "600")
    yield name
    docker("rm", "--force", name)


@pytest.fixture
def foreign_volume(deployment: Deployment) -> Iterator[str]:
    """A volume that has the name of a user's home but the label of another deployment."""
    name = f"{deployment.name}-user-lodger"
    docker("volume", "create", "--label", TEST_LABEL, "--label", f"{LABEL}=another", name)
    yield name
    docker("volume", "rm", name)


def test_foreign_container_is_left_alone(foreign_container: str, new_user: NewUser) -> None:
    [before] = inspect(foreign_container)
    with pytest.raises(StartError, match="Another container of this machine has the name of your server"):
        new_user("stranger").server().start("base")
    [after] = inspect(foreign_container)
    assert (after["Id"], after["State"]["StartedAt"], after["State"]["Running"]) == (
        before["Id"],
        before["State"]["StartedAt"],
        True,
    )


def test_foreign_volume_is_not_mounted_as_home(deployment: Deployment, foreign_volume: str, new_user: NewUser) -> None:
    with pytest.raises(StartError, match="Another volume of this machine has the name of your home"):
        new_user("lodger").server().start("base")
    assert docker("volume", "ls", "--quiet", "--filter", f"name=^{foreign_volume}$") == foreign_volume
    assert not deployment.containers("label=jupyterhub-ansible.user=lodger")
