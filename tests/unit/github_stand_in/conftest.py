"""The stand-in for GitHub, over real HTTP: it answers as GitHub documents it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from github import GitHub, running
from github_client import CALLBACK, SECRET


@pytest.fixture
def github() -> GitHub:
    """An organization of which alice and carol are members, and alice of its team; bob is not."""
    github = GitHub()
    github.register_app("client", SECRET, CALLBACK)
    for login in ("alice", "bob", "carol"):
        github.add_user(login)
    github.add_organization("acme")
    github.set_member("acme", "alice")
    github.set_member("acme", "carol", public=True)
    github.add_team("acme", "Data Science")
    github.add_team_member("acme", "data-science", "alice")
    return github


@pytest.fixture
def url(github: GitHub) -> Iterator[str]:
    with running(github, control_token="control") as url:
        yield url
