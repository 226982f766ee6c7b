"""The whole site over SSH: a user works in it while its parts are killed and restarted, and after a reboot."""

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
    """A notebook that was opened before everything else happens."""
    for server in ada.servers():
        server.stop()
    ada.server().start("base")
    return ada.server().kernel()


def kill(host: Host, name: str) -> None:
    """From outside of Docker, which would take its own command for a wish; it is back when this returns."""
    before = started(host, name)
    host.check_output("kill -9 %s", str(inspect(host, name)["State"]["Pid"]))
    # The engine calls it running, and healthy, until it has noticed.
    eventually(f"another process of {name}", lambda: started(host, name) != before)


def assert_works(host: Host, browser: Browser) -> None:
    assert browser.is_logged_in()
    eventually("the server through the proxy", lambda: browser.server().open().ok)
    assert browser.server().read("kept.txt") == "kept"
    assert_fence(host, "ada")


def test_nothing_but_ssh_listens_outside_the_machine(host: Host) -> None:
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


def test_the_hub_is_killed(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = started(host, SERVER)
    kill(host, HUB)
    # Nobody who is working notices.
    assert kernel.execute("answer").result == "42"
    wait_until_healthy(host)
    assert started(host, SERVER) == before
    assert_works(host, ada)


def test_the_proxy_is_killed(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = started(host, SERVER)
    kill(host, PROXY)
    wait_until_healthy(host)
    # It has forgotten the routes, and is told them.
    eventually("the route", lambda: ada.request("GET", f"{ada.server().path}api/status").ok)
    assert started(host, SERVER) == before
    with ada.server().kernel() as another:
        assert another.execute("1 + 1").result == "2"
    assert_works(host, ada)


def test_the_engine_is_restarted(host: Host, ada: Browser, kernel: Kernel) -> None:
    before = [started(host, name) for name in (HUB, PROXY, SERVER)]
    host.check_output("systemctl restart docker")
    wait_until_healthy(host)
    assert [started(host, name) for name in (HUB, PROXY, SERVER)] == before
    assert_works(host, ada)


def test_the_machine_is_rebooted(host: Host, ada: Browser, site: Site) -> None:
    subprocess.run(["docker", "restart", host.backend.name], check=True, capture_output=True, timeout=120)
    wait_until_healthy(host)
    ada.connect()
    # The login is still valid; the server has ended with the machine, and is started again as it was.
    assert ada.is_logged_in()
    ada.server().start()
    assert_works(host, ada)
    assert site.run().succeeded().changes == []
