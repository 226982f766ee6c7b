"""People with GitHub accounts, and the stand-in through which they log in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urljoin

import requests
from certipy import Certipy
from e2e.client import User, hidden_fields
from e2e.deployment import Deployment, address_on
from github import GitHub, running

INTERVAL_S = 5
# The stand-in has a self-signed certificate.
NO_CA = {"validate_server_cert": False}
CLIENT_ID, CLIENT_SECRET = "Iv1.8a61f9b3a7aba766", token_hex(20)


class Person(User):
    """A browser session of a user who logs in with GitHub."""

    def __init__(self, hub_url: str, login: str, certificate: Path) -> None:
        super().__init__(hub_url, login.lower(), "")
        self.account = login
        self.session.verify = str(certificate)

    def login(self) -> requests.Response:
        """Follow "Sign in with GitHub", sign in there and authorize; return the page after that."""
        page = self.request("GET", "/hub/oauth_login")
        for answer in ({"login": self.account}, {"authorize": "1"}):
            # GitHub asks only for what it does not know yet.
            if form := re.search(r'<form method="post" action="(/[^"]*)"', page.text):
                if page.url.startswith(self.hub_url):
                    break
                fields = {**hidden_fields(page.text), **answer}
                page = self.session.post(urljoin(page.url, form[1]), data=fields, timeout=60)
        return page

    def is_logged_in(self) -> bool:
        """Whether a page of the Hub opens without logging in again."""
        return self.request("GET", "/hub/home", allow_redirects=False).status_code == 200


@contextmanager
def github(network: str, hub_url: str, folder: Path) -> Iterator[tuple[GitHub, dict[str, Any], Path]]:
    """Run the stand-in where containers of this network reach it, with its certificate in the folder.

    Yields GitHub's state, the settings to deploy with, and the CA of the certificate.
    """
    address = address_on(network)
    store = Certipy(store_dir=str(folder), remove_existing=True)
    store.create_ca("authority")
    made = store.create_signed_pair("github", "authority", alt_names=[f"IP:{address}"])["files"]
    account = GitHub()
    account.register_app(CLIENT_ID, CLIENT_SECRET, f"{hub_url}/hub/oauth_callback")
    with running(account, address, https=(Path(made["cert"]), Path(made["key"]))) as url:
        settings = {
            "hub_authenticator": "github",
            "hub_github_client_id": CLIENT_ID,
            "hub_github_client_secret": CLIENT_SECRET,
            "hub_github_url": url,
            "hub_github_allowed_organizations": ["acme"],
            "hub_github_admin_teams": ["acme:operators"],
            # Shorter than the setting allows.
            "hub_traits": {"Authenticator": {"auth_refresh_age": INTERVAL_S}, "OAuthenticator": NO_CA},
        }
        yield account, settings, Path(made["ca"])


@dataclass
class Place:
    """The Hub, GitHub, and the people who have an account there."""

    deployment: Deployment
    github: GitHub
    settings: dict[str, Any]
    certificate: Path

    def person(self, login: str) -> Person:
        """Return somebody with a browser session of their own."""
        return Person(self.deployment.url, login, self.certificate)

    def member(self, login: str, team: str = "") -> Person:
        """Return a member of the organization who is logged in."""
        if login.lower() not in {user.login.lower() for user in self.github.users.values()}:
            self.github.add_user(login)
            self.github.set_member("acme", login)
        if team:
            self.github.add_team_member("acme", team, login)
        person = self.person(login)
        page = person.login()
        assert page.ok, page.text
        return person

    def working(self, login: str) -> Person:
        """Return a member whose server runs."""
        person = self.member(login)
        if not self.runs(person.name):
            person.server().start("base")
        person.server().open().raise_for_status()
        return person

    def runs(self, user: str) -> bool:
        """Whether the user's server has a container."""
        return bool(self.deployment.containers(f"label=jupyterhub-ansible.user={user}"))


def all_the_time(condition: Callable[[], bool], intervals: int = 1) -> None:
    """Assert that a condition holds until membership has been checked again."""
    end = time.monotonic() + intervals * INTERVAL_S + 1
    while time.monotonic() < end:
        assert condition()
        time.sleep(1)
