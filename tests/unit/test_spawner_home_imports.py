"""Homes of other Hubs: what they are called there, and what is refused.  Copies are made in tests/e2e/test_n_import."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import NotFound
from jupyterhub_ansible.spawner import home_imports
from jupyterhub_ansible.spawner.home_archives import HomesError
from jupyterhub_ansible.spawner.home_imports import (
    Home,
    Importer,
    Person,
    of_dockerspawner,
    of_old_dockerspawner,
    of_tljh,
)

LONG = "first.middle.last-of-a-long-name"
TLJH, VOLUMES = "/home/jupyter-{username}", "jhub-user-{username}-{servername}"
DATABASE = "jupyterhub-data:jupyterhub.sqlite"


@pytest.mark.parametrize(
    ("name_of", "pattern", "user", "server", "name"),
    [
        (of_tljh, TLJH, "ann", "", "/home/jupyter-ann"),
        # As tljh/normalize.py, run by hand.
        (of_tljh, TLJH, LONG, "", "/home/jupyter-first.middle.last--2b3a5"),
        (of_dockerspawner, VOLUMES, "a-b", "", "jhub-user-a-2db-"),
        (of_dockerspawner, VOLUMES, "A.b", "x-y", "jhub-user--41-2eb-x-2dy"),
        (of_dockerspawner, "/data/{username}", LONG, "", "/data/first-2emiddle-2elast-2dof-2da-2dlong-2dname"),
        (of_old_dockerspawner, VOLUMES, "A.b", "x-y", "jhub-user-A_2Eb-x-y"),
    ],
)
def test_names(name_of: Callable[[str, str, str], str], pattern: str, user: str, server: str, name: str) -> None:
    assert name_of(pattern, user, server) == name


@pytest.mark.parametrize(
    ("scheme", "homes", "database", "template", "says"),
    [
        ("tljh", "/home/jupyter", "/x", "", "has no {username}"),
        ("compose", "/srv/{username}/home", "/x", "", "has no {username} in its last part"),
        ("compose", "/{servername}/{username}", "/x", "", "or a placeholder before it"),
        ("compose", "x-{username}-{image}", "/x", "", "{image} is not known here"),
        ("tljh", "/x-{username}-{servername}", "/x", "", "{servername} is not known here: use username"),
        ("tljh", "x-{username}", "/x", "", "are folders: give a path"),
        ("compose", "x-{username}", "x.sqlite", "", "--database x.sqlite: is neither"),
        ("compose", "x-{username}", "/x", "x-{username}", "hub_volume_name_template is set"),
    ],
)
def test_refused(scheme: str, homes: str, database: str, template: str, says: str) -> None:
    settings: Any = SimpleNamespace(hub_volume_name_template=template)
    with pytest.raises(HomesError, match=says):
        home_imports._check(settings, homes, database, scheme)


def test_places_of_the_schemes_are_accepted() -> None:
    settings: Any = SimpleNamespace(hub_volume_name_template=None)
    for name, each in home_imports.SCHEMES.items():
        home_imports._check(settings, each.homes, each.database, name)


def test_other_names() -> None:
    assert home_imports._renamed(["ada=Ada-L", "b=c"]) == {"ada": "Ada-L", "b": "c"}
    with pytest.raises(HomesError, match="--rename ada: write the name"):
        home_imports._renamed(["ada"])


def importer(*volumes: str, shared: bool = False, renamed: dict[str, str] | None = None) -> Importer:
    found = [SimpleNamespace(name=each, attrs={"Labels": None}) for each in volumes]
    by_name = {each.name: each for each in found}

    def get(name: str) -> Any:
        if name not in by_name:
            raise NotFound(name)
        return by_name[name]

    client: Any = SimpleNamespace(volumes=SimpleNamespace(list=lambda: found, get=get))
    settings: Any = SimpleNamespace(jupyterhub_name="jupyterhub", hub_named_servers_share_home=shared)
    made = Importer(client, settings, VOLUMES, DATABASE, of_dockerspawner, renamed or {})
    made._measure = lambda path, mounts: 1000  # type: ignore[method-assign]
    return made


def test_a_volume_of_compose_is_found() -> None:
    assert importer("a_jupyterhub-data", "other")._volume("jupyterhub-data") == "a_jupyterhub-data"
    assert importer("a_jupyterhub-data", "jupyterhub-data")._volume("jupyterhub-data") == "jupyterhub-data"
    with pytest.raises(HomesError, match="There are several: a_jupyterhub-data, b_jupyterhub-data"):
        importer("a_jupyterhub-data", "b_jupyterhub-data")._volume("jupyterhub-data")
    with pytest.raises(HomesError, match="There are none"):
        importer("other").people()


def shown(homes: list[Home]) -> list[tuple[str, str, str, str]]:
    return [(each.user, each.server, each.target, each.obstacle) for each in homes]


def test_nobody_gets_another_one_s_home() -> None:
    # The second name is what the first one was escaped to.
    people = [Person("jane-doe", False, ("",)), Person("jane-2ddoe", False, ("",))]
    found = importer("jhub-user-jane-2ddoe-").homes(people)
    assert shown(found) == [("jane-doe", "", "jupyterhub-user-jane-doe", "")]
    two = importer("jhub-user-ada-", "jhub-user--41da-").homes(
        [Person("ada", False, ("",)), Person("Ada", False, ("",))]
    )
    assert [each.target for each in two] == ["jupyterhub-user-ada"] * 2
    assert all("would be the home of this one and of jhub-user-" in each.obstacle for each in two)
    # Unless one has another name here.
    two = importer("jhub-user-ada-", "jhub-user--41da-", renamed={"Ada": "ada-l"}).homes(
        [Person("ada", False, ("",)), Person("Ada", False, ("",))]
    )
    assert [(each.target, each.obstacle) for each in two] == [
        ("jupyterhub-user-ada", ""),
        ("jupyterhub-user-ada-l", ""),
    ]


def test_servers_that_share_a_home_here_are_not_mixed() -> None:
    found = importer("jhub-user-ann-", "jhub-user-ann-gpu", shared=True).homes([Person("ann", False, ("", "gpu"))])
    assert [(each.server, bool(each.obstacle)) for each in found] == [("", False), ("gpu", True)]


def test_server_gets_the_name_that_it_can_have_here() -> None:
    found = importer("jhub-user-ann-gpu").homes([Person("ann", False, ("", "GPU"))])
    assert shown(found) == [("ann", "gpu", "jupyterhub-user-ann--gpu", "")]


@pytest.mark.parametrize("name", [".", "..", "a/b", "a:b"])
def test_impossible_names(name: str) -> None:
    [home] = importer().homes([Person(name, False, ("",))])
    assert home.obstacle == "this name is not possible here"


def test_obstacles() -> None:
    name = "jupyterhub-user-ann"
    assert "set hub_volume_name_template to 'jhub-user-" in importer(name)._obstacle(name, name, "ann")
    assert "is not a home of this Hub" in importer(name)._obstacle("other", name, "ann")
    assert "name of a workspace" in importer()._obstacle("other", name, "workspace.lab")
    assert importer()._obstacle("other", name, "ann") == ""
