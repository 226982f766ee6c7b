"""The Compose application on a throwaway machine, and users who log in through the GitHub stand-in."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from e2e.browser import browser, do_the_main_job
from e2e.client import eventually
from e2e.people import CLIENT_ID, CLIENT_SECRET, INTERVAL_S, NO_CA, Person
from github import GitHub
from testinfra.host import Host

CLONE = "/srv/clone"
FOLDER = f"{CLONE}/compose"
HEALTHY_S = 300
"""For Hub and proxy to become healthy, on a machine that runs other scenarios meanwhile."""
URL = "http://127.0.0.1:18240"
"""A port of this host, published to port 8000 of the machine (molecule/inventory/hosts.yml)."""


def variables(github_url: str, **others: str) -> dict[str, str]:
    """Return the variables that an operator sets."""
    settings = {
        "hub_github_url": github_url,
        # Twice the default: other scenarios keep this machine busy.
        "hub_start_timeout_s": 120,
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
    """Write a file on the machine."""
    host.check_output("mkdir -p %s && printf %%s %s > %s", str(Path(path).parent), text, path)


def env_file(values: dict[str, str]) -> str:
    """Return variables in the format of an env file."""
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


class Member(Person):
    """A member of the organization."""

    def answers(self) -> bool:
        """Whether their server answers; the proxy in between may still be starting."""
        try:
            return self.request("GET", f"{self.server().path}api/status").ok
        except requests.RequestException:
            return False


@dataclass
class App:
    """A Compose application: how to call Compose for it, and its users."""

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
        """Return `docker inspect` of a service's container."""
        [described] = json.loads(self.host.check_output(f"docker inspect $({self.command} ps --all --quiet {name})"))
        container: dict[str, Any] = described
        return container

    def wait_until_healthy(self, seconds: int = HEALTHY_S) -> None:
        """Wait for Hub and proxy.

        Raises:
            AssertionError: they were not healthy in time.
        """
        states: list[str] = []

        def healthy() -> bool:
            found = [self.service(name)["State"] for name in ("hub", "proxy")]
            # After a reboot, a container that has not started yet still has its old health.
            states[:] = [f"{each['Status']} {each.get('Health', {}).get('Status')}" for each in found]
            return states == ["running healthy"] * 2

        # After a reboot, the engine has to start first.
        eventually("the engine", lambda: self.host.run("docker version").rc == 0, seconds)
        try:
            eventually("Hub and proxy", healthy, seconds, every_s=1)
        except TimeoutError as error:
            raise AssertionError(f"Hub and proxy are {states}:\n{self.compose('logs', '--tail', '30')}") from error

    def do_the_main_job(self, login: str, shots: str) -> None:
        """Work as a user does, in a browser; afterwards the notebook is in the home."""
        self.github.add_user(login)
        self.github.set_member("acme", login)
        with browser(urlsplit(self.github_url).hostname or "") as context:
            do_the_main_job(context, URL, login, shots)
        assert "Untitled.ipynb" in self.host.check_output(f"docker exec jupyterhub-user-{login.lower()} ls")
        self.host.check_output(f"docker rm --force jupyterhub-user-{login.lower()}")

    def member(self, login: str) -> Member:
        """Return a member of the organization who is logged in."""
        if login not in self.people:
            # GitHub is shared with the application of the other test module.
            if login.lower() not in {user.login.lower() for user in self.github.users.values()}:
                self.github.add_user(login)
                self.github.set_member("acme", login)
            self.people[login] = Member(URL, login, self.certificate)
            page = self.people[login].login()
            assert page.ok, page.text
        return self.people[login]
