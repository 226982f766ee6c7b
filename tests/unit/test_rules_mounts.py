"""Mounts with {username}, and mounts inside others."""

import pytest
from jupyterhub_ansible.rules.mounts import may_be_below, protected, same_for_all, wrong_mount

OURS = protected("hub", "homes-{username}", ("/srv/jupyterhub",))


@pytest.mark.parametrize(
    ("source", "taken"),
    [
        ("/srv/data/{username}", True),
        ("/srv/data/{username}/work", True),
        ("/srv/data/of-{username}", True),
        # The user bob-private would have the folder of bob.
        ("/srv/data/{username}-private", False),
        ("/srv/data/{username}-private/work", False),
        ("cache-{username}", True),
        ("cache-{username}-2", True),
        ("/srv/data", True),
        ("/srv/data/{username}/.ssh", False),
        ("/srv/data/{user}", False),
        ("/srv/{username}", False),
        ("/{username}", False),
        ("/home/{username}", False),
        ("{username}", False),
        ("hub-{username}", False),
        ("homes-{username}", False),
        ("ho{username}", False),
    ],
)
def test_the_user_s_name_in_a_source(source: str, taken: bool) -> None:
    assert (wrong_mount(source, OURS, read_only=False) is None) == taken


@pytest.mark.parametrize(
    ("source", "writable", "below"),
    [
        ("/srv/data/sub", "/srv/data", True),
        ("/srv/data/a/b/", "/srv/data/", True),
        ("/srv/data/{username}", "/srv/data", True),
        ("/srv/data/ann/x", "/srv/data/{username}", True),
        ("/srv/data/{username}/x", "/srv/data/ann", True),
        ("/srv/data", "/srv/data", False),
        ("/srv/data", "/srv/data/sub", False),
        ("/srv/data2/sub", "/srv/data", False),
        ("shared", "shared", False),
    ],
)
def test_a_mount_inside_another(source: str, writable: str, below: bool) -> None:
    assert may_be_below(source, writable) == below


def test_what_must_exist_for_everybody() -> None:
    assert same_for_all("/srv/data") == "/srv/data"
    assert same_for_all("/srv/data/of-{username}/x") == "/srv/data"
