"""One deployment for all end-to-end tests, and users who log in to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest
from e2e.browser import steady_network
from e2e.client import NewUser, User
from e2e.deployment import Deployment, deployed, other_hubs

_DEPLOYMENT = pytest.StashKey[Deployment]()


@pytest.fixture(scope="session", autouse=True)
def no_ipv6_for_new_interfaces() -> Iterator[None]:
    """Keep Chromium from aborting page loads."""
    with steady_network():
        yield


@pytest.fixture(scope="session")
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The Hub under test; other Hubs on this machine must stay untouched."""
    others = other_hubs()
    with ExitStack() as stack:
        try:
            hub = stack.enter_context(deployed(keep=bool(os.environ.get("KEEP"))))
        except AssertionError:
            # Stop here: every other test would fail in the same way.
            request.session.shouldfail = "the Hub could not be deployed"
            raise
        request.config.stash[_DEPLOYMENT] = hub
        yield hub
    assert {name: other_hubs().get(name) for name in others} == others, "another Hub of this machine was touched"


def _log_in(deployment: Deployment, name: str) -> User:
    user = User(deployment.url, name, deployment.secret("user_password"))
    user.login().raise_for_status()
    return user


@pytest.fixture
def new_user(deployment: Deployment) -> Iterator[NewUser]:
    """Log in users for this test; their servers are stopped after it."""
    users: list[User] = []

    def log_in(name: str) -> User:
        user = _log_in(deployment, name)
        users.append(user)
        # A kept deployment may still have servers of an interrupted run.
        for server in user.servers():
            server.stop()
        return user

    yield log_in
    for server in [server for user in users for server in user.servers()]:
        server.stop()


def _running(profile: str) -> Callable[[Deployment, str], User]:
    def log_in(deployment: Deployment, name: str) -> User:
        user = _log_in(deployment, name)
        if not user.servers():
            user.server().start(profile)
        else:
            user.server().open().raise_for_status()
        return user

    return log_in


# For each file again: one that changes who may log in ends all sessions.
@pytest.fixture(scope="module")
def alice(deployment: Deployment) -> User:
    """A user whose default server (environment base) is running; tests do not stop it."""
    return _running("base")(deployment, "alice")


@pytest.fixture(scope="module")
def bob(deployment: Deployment) -> User:
    """Another such user, with the environment datascience."""
    return _running("datascience")(deployment, "bob")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of all containers to a failure."""
    report = yield
    if report.failed and (hub := item.config.stash.get(_DEPLOYMENT, None)):
        report.sections += [(f"docker logs {name}", text) for name, text in hub.logs()]
    return report
