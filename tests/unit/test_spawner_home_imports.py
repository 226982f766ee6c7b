"""Homes of other Hubs: what they are called there, and what is refused.  Copies are made in tests/e2e/test_n_import."""

from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub_ansible.spawner import home_imports
from jupyterhub_ansible.spawner.home_archives import HomesError
from jupyterhub_ansible.spawner.home_imports import Importer, names_of

LONG = "first.middle.last-of-a-long-name"


@pytest.mark.parametrize(
    ("pattern", "user", "server", "names"),
    [
        ("/home/jupyter-{username}", "ann", "", ["/home/jupyter-ann"]),
        # As tljh/normalize.py, run by hand.
        ("/home/jupyter-{username}", LONG, "", ["/home/jupyter-first.middle.last--2b3a5"]),
        ("jupyterhub-user-{username}", "ann", "", ["jupyterhub-user-ann"]),
        ("jupyterhub-user-{username}", "a-b", "", ["jupyterhub-user-a-2db", "jupyterhub-user-a-b"]),
        ("jhub-user-{username}-{servername}", "ann", "", ["jhub-user-ann-"]),
        ("jhub-user-{username}-{servername}", "A.b", "x-y", ["jhub-user--41-2eb-x-2dy", "jhub-user-A_2Eb-x-y"]),
    ],
)
def test_names(pattern: str, user: str, server: str, names: list[str]) -> None:
    assert names_of(pattern, user, server) == names


@pytest.mark.parametrize(
    ("homes", "template", "says"),
    [
        ("/home/jupyter", "", "has no {username}"),
        ("x-{username}-{image}", "", "{image} is not known"),
        ("x-{username}", "x-{username}", "hub_volume_name_template is set"),
    ],
)
def test_refused(homes: str, template: str, says: str) -> None:
    with pytest.raises(HomesError, match=says):
        home_imports._check(SimpleNamespace(hub_volume_name_template=template), homes)  # type: ignore[arg-type]


def importer(*volumes: str) -> Importer:
    found = [SimpleNamespace(name=each, attrs={"Labels": None}) for each in volumes]
    client: Any = SimpleNamespace(volumes=SimpleNamespace(list=lambda: found))
    settings: Any = SimpleNamespace(jupyterhub_name="jupyterhub")
    return Importer(client, settings, "jupyterhub-user-{username}", "jupyterhub-data:jupyterhub.sqlite")


def test_a_volume_of_compose_is_found() -> None:
    assert importer("a_jupyterhub-data", "other")._volume("jupyterhub-data") == "a_jupyterhub-data"
    assert importer("a_jupyterhub-data", "jupyterhub-data")._volume("jupyterhub-data") == "jupyterhub-data"
    with pytest.raises(HomesError, match="There are several: a_jupyterhub-data, b_jupyterhub-data"):
        importer("a_jupyterhub-data", "b_jupyterhub-data")._volume("jupyterhub-data")
    with pytest.raises(HomesError, match="There are none"):
        importer("other").people()


def test_a_volume_that_has_our_name_is_adopted_instead() -> None:
    name = "jupyterhub-user-ann"
    assert "set hub_volume_name_template to 'jupyterhub-user-{username}'" in importer(name)._obstacle(name, name, "ann")
