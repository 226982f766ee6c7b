"""Names that must never change: each golden name below is a user's home."""

import itertools
import re

import pytest
from jupyterhub_ansible.spawner.naming import home_name, server_name, shared_name

LOGIN_39 = "a-github-login-of-thirty-nine-character"
SERVER_30 = "a-named-server-of-30-character"

GOLDEN = {
    # Logins that equal names of our containers, or look like user and server.
    ("proxy", ""): "jupyterhub-user-proxy",
    ("hub", ""): "jupyterhub-user-hub",
    ("data", ""): "jupyterhub-user-data",
    ("0", ""): "jupyterhub-user-0",
    ("a", ""): "jupyterhub-user-a",
    ("a-b", "c"): "jupyterhub-user-a-b--c",
    ("a", "b-c"): "jupyterhub-user-a--b-c",
    # Long ones.
    (LOGIN_39, ""): "jupyterhub-user-a-github-login-of-thirty-nine-character",
    (LOGIN_39, SERVER_30): "jupyterhub-user-a-github-login-of-thirty-ni----cb1d09a04323eb0e",
    ("bob", SERVER_30): "jupyterhub-user-bob--a-named-server-of-30-character",
    (f"{LOGIN_39}@example.org", ""): "jupyterhub-user-a-github-login-of-thirty-ni----7161c1d89b4cc30f",
    # Hyphens where a plain part may not have any.
    ("a--b", ""): "jupyterhub-user-a-b---90827a2e56361a8f",
    ("a", "b--c"): "jupyterhub-user-a--b-c---8eb88ee43a691914",
    ("ab-", ""): "jupyterhub-user-ab---2fd1864b51858fa6",
    ("a", "b-"): "jupyterhub-user-a--b---ac24adad7d1ea2e9",
    ("x---1234567890abcdef", ""): "jupyterhub-user-x-1234567890abcdef---89e9931f66bc0217",
    # Other characters.
    ("Alice", ""): "jupyterhub-user-alice---3bc51062973c458d",
    ("workspace.genomics", ""): "jupyterhub-user-workspace-genomics---4a8a88ec84d4108e",
    ("workspace-genomics", ""): "jupyterhub-user-workspace-genomics",
    ("first.last", ""): "jupyterhub-user-first-last---23e1b5a081236be8",
    ("first.last@example.org", ""): "jupyterhub-user-first-last-example-org---d0e3df07eba20cdd",
    ("first.last@example.org", "lab"): "jupyterhub-user-first-last-example-org---d0e3df07eba20cdd--lab",
    ("žofie", ""): "jupyterhub-user-ofie---54124671a269dd7a",
    ("李雷", ""): "jupyterhub-user-x---3a47328a607f3e0a",
    ("a b", ""): "jupyterhub-user-a-b---c8687a08aa5d6ed2",
    ("a{b}", ""): "jupyterhub-user-a-b---b8a4b706093b9c71",
    # Nothing left after sanitizing, or empty.
    ("-", ""): "jupyterhub-user-x---3973e022e93220f9",
    (".", ""): "jupyterhub-user-x---cdb4ee2aea69cc6a",
    ("", ""): "jupyterhub-user-x---e3b0c44298fc1c14",
}


def test_the_long_examples_are_as_long_as_their_names_say() -> None:
    assert (len(LOGIN_39), len(SERVER_30)) == (39, 30)


@pytest.mark.parametrize(("who", "name"), GOLDEN.items())
def test_golden(who: tuple[str, str], name: str) -> None:
    assert server_name("jupyterhub", *who) == name
    assert home_name("jupyterhub", *who) == name


def test_golden_names_of_shared_folders() -> None:
    assert shared_name("jupyterhub", "genomics") == "jupyterhub--shared-genomics"
    assert shared_name("a-b", "x-1") == "a-b--shared-x-1"
    # Of the longest project and slug.
    assert len(shared_name("p" * 12, "s" * 30)) <= 63


def test_no_other_name_is_that_of_a_shared_folder() -> None:
    """Whatever users, servers and other Hubs are called."""
    words, projects = ("a", "shared", "user", "a-shared", "-shared-a", "--shared-a"), ("a", "a-b", "a-shared")
    users = {server_name(each, user, server) for each in projects for user in words for server in ("", *words)}
    shared = {shared_name(each, slug) for each in projects for slug in ("a", "user-a", "shared-a")}
    assert users.isdisjoint(shared)
    assert len(shared) == 9, "nor of two Hubs"


def test_a_shared_home_has_no_server_in_its_name() -> None:
    assert home_name("jupyterhub", "alice", "lab", shared=True) == "jupyterhub-user-alice"


def test_no_two_servers_share_a_name() -> None:
    # All short strings of the characters that separate parts, and of those that are sanitised.
    words = ["".join(letters) for n in range(1, 5) for letters in itertools.product("a-.", repeat=n)]
    long = [word * 12 for word in words[-60:]]
    servers = ["", *words]
    pairs = [*itertools.product(words, servers), *itertools.product(long, servers)]
    # Also with the longest project name, which causes much shortening.
    for project in ("p", "twelve-chars"):
        names = {server_name(project, *pair) for pair in pairs}
        assert len(names) == len(set(pairs))
        ours = {project, f"{project}-hub", f"{project}-proxy", f"{project}-audit"}
        assert not names & ours
        assert all(len(name) <= 63 and re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", name) for name in names)


def test_name_differs_from_other_users_escaped_names() -> None:
    # A user cannot choose a login that equals a sanitised or shortened name.
    for victim in (("first.last", ""), (LOGIN_39, SERVER_30)):
        name = server_name("jupyterhub", *victim)
        user = name.removeprefix("jupyterhub-user-")
        assert server_name("jupyterhub", user) != name
