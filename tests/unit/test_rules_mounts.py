"""Mounts with {username}, and mounts inside others."""

import pytest
from jupyterhub_ansible.rules.mounts import Mounted, may_be_below, may_be_equal, protected, same_for_all, wrong_mount

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
        ("/srv/data/{safe_username}/x", "/srv/data/{username}", True),
        ("/srv/data", "/srv/data", False),
        ("/srv/data", "/srv/data/sub", False),
        ("/srv/data2/sub", "/srv/data", False),
        ("shared", "shared", False),
    ],
)
def test_a_mount_inside_another(source: str, writable: str, below: bool) -> None:
    assert may_be_below(source, writable) == below


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        # The user of-x has what x has.
        ("d-{username}", "d-of-{username}", True),
        ("d-{username}", "d-{username}-old", True),
        ("/srv/d/{username}", "/srv/d/of-{username}/work", True),
        # No user is called x_old, or of.x.
        ("d-{username}", "d-{username}_old", False),
        ("d-{username}", "d-{username}", False),
        ("/srv/d/{username}", "/srv/d/{username}/work", False),
        ("/srv/d/{username}", "/srv/e/{username}", False),
        ("cache-{username}", "data-{username}", False),
        # What all have may be in one folder with what each has.
        ("/srv/d/{username}", "/srv/d/shared", False),
    ],
)
def test_what_two_users_may_both_get(one: str, other: str, equal: bool) -> None:
    first, second = Mounted("", one, writable=False), Mounted("", other, writable=False)
    assert may_be_equal(first, second) == may_be_equal(second, first) == equal


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        # a-b is a-b by ours, and a-2db by the spawner's.
        ("d-{username}", "d-{username}", True),
        ("d-{username}", "e-{username}", False),
        ("d", "d", False),
    ],
)
def test_names_by_the_spawner_are_others(one: str, other: str, equal: bool) -> None:
    assert may_be_equal(Mounted("", one, False, by_traits=True), Mounted("", other, False)) == equal


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        # Users choose the names of their servers.
        ("d-{username}", "d-{servername}", True),
        ("d-{username}", "d-{username}-{servername}", True),
        ("d-{username}", "all-{servername}", False),
    ],
)
def test_names_of_servers_count(one: str, other: str, equal: bool) -> None:
    assert may_be_equal(Mounted("", one, False, by_traits=True), Mounted("", other, False, by_traits=True)) == equal


def test_what_must_exist_for_everybody() -> None:
    assert same_for_all("/srv/data") == "/srv/data"
    assert same_for_all("/srv/data/of-{username}/x") == "/srv/data"
