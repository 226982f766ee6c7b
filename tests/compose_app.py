"""The Compose application on a throwaway machine, and people who log in to it with GitHub's stand-in."""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from e2e.browser import browser, do_the_main_job
from e2e.people import CLIENT_ID, CLIENT_SECRET, INTERVAL_S, NO_CA, Person
from github import GitHub
from testinfra.host import Host

CLONE = "/srv/clone"
FOLDER = f"{CLONE}/compose"
URL = "http://127.0.0.1:18240"
"""On this host, which leads to port 8000 of the machine (molecule/inventory/hosts.yml)."""


def variables(github_url: str, **others: str) -> dict[str, str]:
    """Return what an operator enters."""
    settings = {
        "hub_github_url": github_url,
        "hub_traits": {"Authenticator": {"auth_refresh_age": INTERVAL_S}, "OAuthenticator": NO_CA},
    }
    return {
        "GITHUB_CLIENT_ID": CLIENT_ID,
        "GITHUB_CLIENT_SECRET": CLIENT_SECRET,
        "OAUTH_CALLBACK_URL": f"{URL}/hub/oauth_callback",
        "ALLOWED_GITHUB_ORGS": "acme",
        "JUPYTERHUB_SETTINGS": json.dumps(settings),
        **others,
    }


def write(host: Host, path: str, text: str) -> None:
    """Write a file of the machine."""
    host.check_output("mkdir -p %s && printf %%s %s > %s", str(Path(path).parent), text, path)


def env_file(values: dict[str, str]) -> str:
    """Return variables as Compose reads them from a file."""
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


class Member(Person):
    """Somebody who logs in to it."""

    def answers(self) -> bool:
        """Whether their server answers, through a proxy that may just be coming."""
        try:
            return self.request("GET", f"{self.server().path}api/status").ok
        except requests.ConnectionError:
            return False


@dataclass
class App:
    """A Compose application: how its commands begin, and who can log in to it."""

    host: Host
    github: GitHub
    github_url: str
    certificate: Path
    command: str = f"cd {FOLDER} && docker compose"
    people: dict[str, Member] = field(default_factory=dict)

    def compose(self, *arguments: str) -> str:
        """Run Compose, and return what it prints."""
        return str(self.host.check_output(f"{self.command} {shlex.join(arguments)} 2>&1"))

    def service(self, name: str) -> dict[str, Any]:
        """Return the container of a service, as Docker describes it."""
        [described] = json.loads(self.host.check_output(f"docker inspect $({self.command} ps --all --quiet {name})"))
        container: dict[str, Any] = described
        return container

    def wait_until_healthy(self, seconds: int = 120) -> None:
        """Wait for Hub and proxy.

        Raises:
            AssertionError: they were not healthy in time.
        """
        deadline = time.monotonic() + seconds
        states: list[str] = []
        # After a reboot, the engine comes first.
        while self.host.run("docker version").rc and time.monotonic() < deadline:
            time.sleep(1)
        while time.monotonic() < deadline:
            states = [self.service(name)["State"]["Health"]["Status"] for name in ("hub", "proxy")]
            if states == ["healthy", "healthy"]:
                return
            time.sleep(1)
        raise AssertionError(f"Hub and proxy are {states}:\n{self.compose('logs', '--tail', '30')}")

    def do_the_main_job(self, login: str, shots: str) -> None:
        """Do what users do, in a browser, and look for the notebook afterwards."""
        self.github.add_user(login)
        self.github.set_member("acme", login)
        with browser(urlsplit(self.github_url).hostname or "") as context:
            do_the_main_job(context, URL, login, shots)
        assert "Untitled.ipynb" in self.host.check_output(f"docker exec jupyterhub-user-{login.lower()} ls")
        self.host.check_output(f"docker rm --force jupyterhub-user-{login.lower()}")

    def member(self, login: str) -> Member:
        """Return a member of the organization, logged in."""
        if login not in self.people:
            # The other module's applications may have had them.
            if login.lower() not in {user.login.lower() for user in self.github.users.values()}:
                self.github.add_user(login)
                self.github.set_member("acme", login)
            self.people[login] = Member(URL, login, self.certificate)
            page = self.people[login].login()
            assert page.ok, page.text
        return self.people[login]
