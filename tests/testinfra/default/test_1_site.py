"""The whole site over SSH: a user keeps working while its parts are killed and restarted, and after a reboot."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from e2e.client import Kernel, User, eventually
from e2e.walls import assert_no_calls_with_a_history
from sites import Site
from testinfra.host import Host
from vps import assert_fence, inspect, started, wait_until_healthy

HUB, PROXY, SERVER = "jupyterhub-hub", "jupyterhub-proxy", "jupyterhub-user-ada"


class Browser(User):
    """A user's session at the near end of an SSH tunnel, which a reboot cuts."""

    def __init__(self, site: Site, password: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]
        super().__init__(f"http://127.0.0.1:{self.port}", "ada", password)
        self.site = site
        self.stack = ExitStack()

    def connect(self) -> None:
        self.stack.close()
        self.stack.enter_context(self.site.tunnel(self.port))

    def is_logged_in(self) -> bool:
        page = self.request("GET", "/hub/home")
        return page.ok and page.url.endswith("/hub/home")


@pytest.fixture(scope="module")
def ada(host: Host, pytestconfig: pytest.Config) -> Iterator[Browser]:
    site = Site(host.backend.name, pytestconfig.getoption("--ansible-inventory"))
    browser = Browser(site, host.file("/srv/jupyterhub/hub/secrets/user_password").content_string.strip())
    with browser.stack:
        browser.connect()
        browser.login().raise_for_status()
        yield browser


@pytest.fixture(scope="module")
def kernel(ada: Browser) -> Kernel:
    """A kernel that is started before anything else happens."""
    for server in ada.servers():
        server.stop()
    ada.server().start("base")
    return ada.server().kernel()


def kill(host: Host, name: str) -> None:
    """Kill a container's process and wait for its restart; `docker kill` would keep Docker from restarting it."""
    before = started(host, name)
    host.check_output("kill -9 %s", str(inspect(host, name)["State"]["Pid"]))
    # Until the engine notices, it calls the container running and healthy.
    eventually(f"another process of {name}", lambda: started(host, name) != before)


def assert_works(host: Host, browser: Browser) -> None:
    assert browser.is_logged_in()
    eventually("the server through the proxy", lambda: browser.server().open().ok)
    assert browser.server().read("kept.txt") == "kept"
    assert_fence(host, "ada")


def test_only_ssh_is_reachable_from_outside(host: Host) -> None:
    table = host.check_output("ss --no-header --listening --tcp --numeric")
    listeners = {line.split()[3] for line in table.splitlines()}
    outside = {where for where in listeners if not where.startswith(("127.", "[::1]"))}
    assert {where.rpartition(":")[2] for where in outside} == {"22"}
    assert "127.0.0.1:8000" in listeners


def test_a_user_works(host: Host, ada: Browser, kernel: Kernel) -> None:
    ada.server().write("kept.txt", "kept")
    assert kernel.execute("answer = 6 * 7; answer").result == "42"
    # With the engine of either Debian.
    assert_no_calls_with_a_history(kernel)
    assert_works(host, ada)


def test_server_and_kernel_survive_a_killed_hub(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = started(host, SERVER)
    kill(host, HUB)
    # The kernel goes on.
    assert kernel.execute("answer").result == "42"
    wait_until_healthy(host)
    assert started(host, SERVER) == before
    assert_works(host, ada)


def test_server_is_reachable_again_after_the_proxy_is_killed(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = started(host, SERVER)
    kill(host, PROXY)
    wait_until_healthy(host)
    # The proxy has lost its routes, and the Hub restores them.
    eventually("the route", lambda: ada.request("GET", f"{ada.server().path}api/status").ok)
    assert started(host, SERVER) == before
    with ada.server().kernel() as another:
        assert another.execute("1 + 1").result == "2"
    assert_works(host, ada)


def test_containers_survive_a_restart_of_the_engine(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = [started(host, name) for name in (HUB, PROXY, SERVER)]
    host.check_output("systemctl restart docker")
    wait_until_healthy(host)
    assert [started(host, name) for name in (HUB, PROXY, SERVER)] == before
    assert_works(host, ada)


def test_login_files_and_settings_survive_a_reboot(host: Host, ada: Browser, site: Site) -> None:
    subprocess.run(["docker", "restart", host.backend.name], check=True, capture_output=True, timeout=120)
    wait_until_healthy(host)
    ada.connect()
    # The login is still valid; the server ended with the machine, which the Hub may still be finding out.
    assert ada.is_logged_in()
    eventually("the Hub's notice", lambda: not ada.servers())
    ada.server().start()
    assert_works(host, ada)
    assert site.run().succeeded().changes == []
