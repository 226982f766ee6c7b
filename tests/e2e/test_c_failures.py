"""Servers that fail to start or vanish: what their user reads, what the log says, and what is left of them."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from html import unescape
from typing import Any

import pytest
import requests
from e2e.answers import Watch, burst, ending
from e2e.client import NewUser, Server, StartError, User, eventually
from e2e.deployment import CATALOGUE, LABEL, Deployment, docker, inspect
from e2e.odd_environments import odd_environments

TELL = "Please tell the administrator."
# A server that a new Hub takes over needed 17 s on a busy machine.
START_TIMEOUT_S = 30


@pytest.fixture(scope="module", autouse=True)
def odd(deployment: Deployment) -> None:
    """Deploy the settings for all but the last tests of this file."""
    settings = {
        "images_environments": [*CATALOGUE, *odd_environments()],
        "hub_start_timeout_s": START_TIMEOUT_S,
        "hub_running_servers_limit": 1,
        "hub_deleted_homes": "archive",
        # Servers ask the Hub about a session every second.
        "hub_traits": {"Spawner": {"args": ["--HubOAuth.cache_max_age=1"]}},
    }
    deployment.run(settings=settings).succeeded()


def assert_fails(server: Server, profile: str, *words: str) -> None:
    """The start fails with these words, both in its progress and on the page that is requested afterwards."""
    with pytest.raises(StartError) as failure:
        server.start(profile)
    assert [text for text in words if text not in str(failure.value)] == [], str(failure.value)
    # Names of containers, addresses and paths belong into the log.
    assert "jupyterhub-ansible" not in str(failure.value)
    page = server.user.request("GET", f"/hub/spawn-pending/{server.user.name}")
    assert page.status_code == 503
    assert words[0] in unescape(page.text)


def assert_logged(deployment: Deployment, *words: str) -> None:
    """The Hub's log has these words, or will have them in a moment."""

    def missing() -> list[str]:
        log = docker("logs", deployment.hub)
        return [text for text in words if text not in log]

    with suppress(TimeoutError):
        eventually("the Hub's log", lambda: not missing(), 20)
    assert missing() == []


def assert_gone(deployment: Deployment, user: str) -> None:
    """Wait until no container of the user is left."""
    label = f"label=jupyterhub-ansible.user={user}"
    eventually("the container's end", lambda: not deployment.containers(label))


def settings(deployment: Deployment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((deployment.root / "hub/hub.json").read_text())
    return found


def test_start_fails_without_the_image(deployment: Deployment, new_user: NewUser) -> None:
    [image] = [each["image"] for each in settings(deployment)["images_environments"] if each["slug"] == "base"]
    # A second name keeps the image itself.
    docker("tag", image, f"{image}-kept")
    try:
        docker("rmi", image)
        assert_fails(new_user("ida").server(), "base", "This environment is not installed on the machine.", TELL)
        assert_logged(deployment, f"image {image} is missing; deploy again")
    finally:
        docker("tag", f"{image}-kept", image)
        docker("rmi", f"{image}-kept")
    assert_gone(deployment, "ida")
    new_user("ida").server().start("base")


def test_start_fails_with_a_full_home(deployment: Deployment, new_user: NewUser) -> None:
    # A file system of one page.
    options = ["type=tmpfs", "device=tmpfs", "o=size=4k,uid=1000,gid=1000"]
    labels = {LABEL: deployment.name, "jupyterhub-ansible.kind": "home", "jupyterhub-ansible.user": "otto"}
    arguments = [f"--opt={option}" for option in options] + [f"--label={key}={text}" for key, text in labels.items()]
    volume = docker("volume", "create", *arguments, f"{deployment.name}-user-otto")
    try:
        assert_fails(new_user("otto").server(), "base", "your home, or the machine's disk, is full", TELL)
        assert_logged(deployment, "no space left on device")
        assert_gone(deployment, "otto")
    finally:
        docker("volume", "rm", volume)


def test_start_fails_out_of_memory(deployment: Deployment, new_user: NewUser) -> None:
    assert_fails(
        new_user("olga").server(), "hungry", "ran out of memory while it was starting: its limit of 256 MB", TELL
    )
    assert_logged(deployment, "ended while starting: ExitCode=")
    assert_gone(deployment, "olga")


def test_start_fails_if_the_port_is_never_opened(deployment: Deployment, new_user: NewUser) -> None:
    reason = f"never opened its port: it was given up after {START_TIMEOUT_S} seconds"
    assert_fails(new_user("nina").server(), "silent", reason)
    assert_logged(deployment, "never opened its port (http://", "mind the gap")
    assert_gone(deployment, "nina")


def test_start_fails_if_the_server_exits(deployment: Deployment, new_user: NewUser) -> None:
    assert_fails(new_user("emma").server(), "ends", "Your server ended while it was starting.", TELL)
    assert_logged(deployment, "ended while starting: ExitCode=1", "No module named 'encodings'")
    assert_gone(deployment, "emma")


def test_user_cannot_run_too_many_servers(deployment: Deployment, new_user: NewUser) -> None:
    user = new_user("mona")
    user.server().start("base")
    with pytest.raises(StartError, match="You have 1 server running, and 1 may run at once"):
        user.server("second").start("base")
    user.server().stop()
    user.server("second").start("base")


def test_progress_shows_the_phases_of_a_start(new_user: NewUser) -> None:
    server = new_user("paula").server()
    events: list[dict[str, Any]] = []

    def follow() -> None:
        eventually("a start", lambda: bool(server.user.servers()), 30)
        events.extend(server.progress())

    following = threading.Thread(target=follow)
    following.start()
    server.user.request("POST", "/hub/api/users/paula/server", json={"user_options": {"profile": "base"}})
    following.join(60)
    messages = [event["message"] for event in events]
    assert messages[:-1] == [
        "Server requested",
        "Creating the container of your server",
        "Starting your server",
        "Waiting until your server answers",
    ]
    assert events[-1]["ready"]
    assert [event["progress"] for event in events] == sorted(event["progress"] for event in events)


# --- addresses are not reused while anybody may still use them


def address(deployment: Deployment, user: str) -> str:
    """Return the address of a user's server."""
    found = deployment.server(user)["NetworkSettings"]["Networks"][deployment.users_network]
    return str(found["IPAddress"])


def test_address_of_a_server_just_shut_down_is_not_reused(deployment: Deployment, new_user: NewUser) -> None:
    first, others = new_user("adam").server(), [new_user(name).server() for name in ("berta", "carla")]
    first.start("marked")
    former = address(deployment, "adam")
    with Watch(first.user) as watch:
        eventually("an answer of its own", lambda: bool(watch.answers["adam"]))
        with ending(deployment, first, "shutdown"):
            for other in others:
                other.start("marked")
    assert watch.foreign == []
    assert watch.answers["adam"]
    page = first.user.request("GET", f"{first.path}lab")
    assert page.status_code == 424
    assert "It was shut down, as File > Shut Down in JupyterLab does." in unescape(page.text)
    assert former not in [address(deployment, other.user.name) for other in others]


def test_burst_of_starts_never_mixes_up_servers(deployment: Deployment, new_user: NewUser) -> None:
    """For more starts and users: BURST_STARTS=50 BURST_USERS=10 tests/e2e/run -k burst."""
    starts, users = (int(os.environ.get(name, default)) for name, default in (("BURST_STARTS", 12), ("BURST_USERS", 4)))
    watches = burst(deployment, [new_user(f"burst{number}") for number in range(users)], starts, "marked", seed=12)
    assert [watch.foreign for watch in watches] == [[]] * users
    # Every server was watched, and answered.
    assert all(watch.answers[watch.user.name] for watch in watches)


# --- containers that vanished or were left behind


def test_hub_notices_a_vanished_container(deployment: Deployment, new_user: NewUser) -> None:
    server = new_user("vera").server()
    server.start("base")
    docker("rm", "--force", f"{deployment.name}-user-vera")
    # By an event of Docker's; JupyterHub itself polls every half minute.
    eventually("the Hub's notice", lambda: not server.user.servers(), 10)
    assert_logged(deployment, "was removed by somebody else")
    assert "Its container was removed." in server.open().text
    server.start("base")
    assert server.run("1 + 1").result == "2"


def test_hub_removes_orphaned_containers(deployment: Deployment, alice: User) -> None:
    image = inspect(deployment.hub)[0]["Image"]
    labels = {LABEL: deployment.name, "jupyterhub-ansible.kind": "user-server", "jupyterhub-ansible.user": "ghost"}
    asleep = ["--entrypoint=sleep", image, "600"]
    left = docker("run", "--detach", "--init", *[f"--label={key}={text}" for key, text in labels.items()], *asleep)
    foreign = docker("run", "--detach", "--init", "--label=jupyterhub-ansible.test=e2e", *asleep)
    started = deployment.server("alice")["State"]["StartedAt"]
    try:
        docker("restart", deployment.hub)
        eventually("the removal", lambda: not inspect(left))
        assert_logged(deployment, "which no server of the Hub has")
        assert inspect(foreign)[0]["State"]["Running"], "a foreign container is left alone"
        assert deployment.server("alice")["State"]["StartedAt"] == started
    finally:
        docker("rm", "--force", left, check=False)
        docker("rm", "--force", foreign)
    eventually("the Hub", lambda: alice.request("GET", "/hub/health").ok)
    assert alice.server().run("1 + 1").result == "2"


def test_server_that_was_starting_survives_the_death_of_the_hub(deployment: Deployment, new_user: NewUser) -> None:
    user = new_user("karl")
    starting = threading.Thread(target=lambda: user.api("POST", "users/karl/server", timeout=30), daemon=True)
    starting.start()

    def runs() -> bool:
        return any(each["State"]["Running"] for each in inspect(f"{deployment.name}-user-karl"))

    eventually("the container", runs)
    docker("kill", "--signal=KILL", deployment.hub)
    docker("start", deployment.hub)
    eventually("the Hub", lambda: user.request("GET", "/hub/health").ok)
    starting.join(60)
    [started] = [each["State"]["StartedAt"] for each in inspect(f"{deployment.name}-user-karl")]

    def ready() -> bool:
        servers = user.api("GET", "users/karl").json()["servers"]
        return bool(servers) and servers[""]["ready"]

    eventually("the server", ready)
    user.server().open().raise_for_status()
    assert user.server().run("1 + 1").result == "2"
    assert deployment.server("karl")["State"]["StartedAt"] == started, "it was taken over, not started again"
    assert_logged(deployment, "was starting when the Hub ended: taking it over")


def test_server_stays_usable_while_the_hub_is_down(deployment: Deployment, new_user: NewUser) -> None:
    user = new_user("piet")
    user.server().start("base")
    user.server().request("GET", "api/contents")
    docker("stop", deployment.hub)
    try:
        for _ in range(3):
            time.sleep(2)
            user.server().request("GET", "api/contents")
        # A new session is refused.
        assert User(deployment.url, "piet", "").request("GET", "/user/piet/api/contents").status_code == 403
    finally:
        docker("start", deployment.hub)
    eventually("the Hub", lambda: user.request("GET", "/hub/health").ok)
    # The Hub's answers count again.
    token = user.token()
    path, header = f"{deployment.url}/user/piet/api/contents", {"Authorization": f"token {token}"}
    assert requests.get(path, headers=header, timeout=30).status_code == 200
    [made] = [t["id"] for t in user.api("GET", "users/piet/tokens").json()["api_tokens"] if "end-to" in t["note"]]
    assert user.api("DELETE", f"users/piet/tokens/{made}").status_code == 204
    eventually("the token's end", lambda: requests.get(path, headers=header, timeout=30).status_code == 403, 10)


def test_copied_cookies_end_with_the_session(deployment: Deployment, new_user: NewUser) -> None:
    user, elsewhere = new_user("cora"), new_user("cora")
    user.server().start("base")
    for browser in (user, elsewhere):
        browser.server().open().raise_for_status()
    copy, hub_only = User(deployment.url, "cora", ""), User(deployment.url, "cora", "")
    copy.session.cookies.update(user.session.cookies)
    for cookie in user.session.cookies:
        if cookie.name == "jupyterhub-hub-login":
            hub_only.session.cookies.set_cookie(cookie)
    # With the Hub's cookie alone, the server's session gets another id.
    hub_only.server().open().raise_for_status()

    def access(user: User) -> tuple[bool, bool]:
        home = user.request("GET", "/hub/home", allow_redirects=False)
        return home.status_code == 200, user.request("GET", "/user/cora/api/contents").status_code == 200

    assert {access(each) for each in (user, elsewhere, copy, hub_only)} == {(True, True)}
    user.request("GET", "/hub/logout").raise_for_status()
    eventually("the end of both copies", lambda: access(copy) == access(hub_only) == (False, False), 10)
    assert access(elsewhere) == (True, True), "another browser stays logged in"
    user.login().raise_for_status()
    user.server().open().raise_for_status()
    assert access(user) == (True, True)


# --- homes of deleted users and servers


@pytest.fixture
def admin(deployment: Deployment) -> User:
    """The Hub's administrator."""
    found = User(deployment.url, "admin", deployment.secret("admin_password"))
    found.login().raise_for_status()
    return found


def volumes(deployment: Deployment) -> set[str]:
    return set(docker("volume", "ls", "--quiet", "--filter", f"label={LABEL}={deployment.name}").split())


def archives(deployment: Deployment, *arguments: str) -> str:
    return docker("exec", deployment.hub, "python", "-m", "jupyterhub_ansible", "homes", *arguments)


@pytest.fixture
def doomed(deployment: Deployment) -> NewUser:
    """Log in a user who will be deleted: their servers need not be stopped afterwards."""

    def log_in(name: str) -> User:
        user = User(deployment.url, name, deployment.secret("user_password"))
        user.login().raise_for_status()
        return user

    return log_in


def with_a_file(server: Server, text: str) -> None:
    """Create a file in the home that only its owner may read."""
    server.start("base")
    # It exists already in a kept deployment.
    server.run("import os; os.path.exists('mine.txt') and os.remove('mine.txt')")
    server.run(f"import os; open('mine.txt', 'w').write({text!r}); os.chmod('mine.txt', 0o400)")
    server.stop()


def delete(admin: User, user: str) -> None:
    assert admin.api("DELETE", f"users/{user}", timeout=120).status_code == 204


def test_home_of_a_deleted_user_is_archived_and_restored(deployment: Deployment, doomed: NewUser, admin: User) -> None:
    home = f"{deployment.name}-user-arch"
    user = doomed("arch")
    with_a_file(user.server(), "archived")
    with_a_file(user.server("second"), "of another server")
    assert user.api("DELETE", "users/arch/servers/second", json={"remove": True}).status_code == 204
    assert volumes(deployment) & {home, f"{home}--second"} == {home}
    delete(admin, "arch")
    assert volumes(deployment) & {home, f"{home}--second"} == set()
    # A kept deployment has older archives.
    first, second = [line for line in archives(deployment, "list").splitlines() if line.startswith(home)][-2:]
    assert (first.startswith(f"{home}--second-"), second.startswith(f"{home}-2")) == (True, True)
    assert archives(deployment, "restore", second, "arch") == f"Restored: {home}"
    server = doomed("arch").server()
    server.start("base")
    assert server.read("mine.txt") == "archived"
    assert server.run("import os; oct(os.stat('mine.txt').st_mode & 0o777)").result == "'0o400'"
    server.stop()
    # An existing home is not overwritten.
    with pytest.raises(AssertionError, match="There is a home already"):
        archives(deployment, "restore", second, "arch")


# --- with other settings


def test_start_fails_if_docker_does_not_answer(deployment: Deployment, new_user: NewUser, alice: User) -> None:
    # For this Hub only: nothing listens at that path in its container.
    dead = {"DockerSpawner": {"client_kwargs": {"base_url": "unix:///run/nobody.sock"}}}
    started = deployment.server("alice")["State"]["StartedAt"]
    deployment.run(settings={"hub_traits": dead}).succeeded()
    assert_fails(
        new_user("dirk").server(), "base", "Docker, which runs all servers of this machine, does not answer.", TELL
    )
    # A running server is not taken for dead.
    assert alice.server().run("1 + 1").result == "2"
    deployment.settle()
    assert [server.name for server in alice.servers()] == [""]
    assert deployment.server("alice")["State"]["StartedAt"] == started


def test_home_of_a_deleted_user_is_kept_by_default(deployment: Deployment, doomed: NewUser, admin: User) -> None:
    with_a_file(doomed("kept").server(), "kept")
    delete(admin, "kept")
    assert f"{deployment.name}-user-kept" in volumes(deployment)
    server = doomed("kept").server()
    server.start("base")
    assert server.read("mine.txt") == "kept"
    server.stop()


def test_home_of_a_deleted_user_is_removed_if_set(deployment: Deployment, doomed: NewUser, admin: User) -> None:
    deployment.run(settings={"hub_deleted_homes": "remove"}).succeeded()
    with_a_file(doomed("remo").server(), "removed")
    before = volumes(deployment)
    delete(admin, "remo")
    assert before - volumes(deployment) == {f"{deployment.name}-user-remo"}
    assert_logged(deployment, "its home was removed")
