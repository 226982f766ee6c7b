"""Shared by the tests of the ways in: the machine, its names, GitHub, and users."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.client import eventually
from e2e.people import Person
from github import GitHub
from sites import Run, Site
from testinfra.host import Host

MACHINE = "jhtest-ingress"
NAME = "hub.acme.test"
URL = f"https://{NAME}"
# Of molecule/ingress/files/pebble/pebble.json.
ACME, ACME_ROOT = "https://192.0.2.1:14000/dir", "https://192.0.2.1:15000/roots/0"
FETCH = """
import ssl, sys, urllib.request
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
print(urllib.request.urlopen(sys.argv[1], context=context).read().decode())
"""


@dataclass
class Place:
    """The machine, the Hub on it, and GitHub."""

    host: Host
    site: Site
    address: str
    github: GitHub
    settings: dict[str, Any]
    folder: Path

    def deploy(self, **settings: Any) -> Run:
        """Run the site's playbook, with GitHub."""
        return self.site.run(**{**self.settings, **settings})

    def check(self, **settings: Any) -> Run:
        """Run it dry."""
        return self.site.check(**{**self.settings, **settings})

    def person(self, login: str, url: str = URL) -> Person:
        """Return a member of the organization, logged in with a browser session of their own."""
        if login not in {user.login for user in self.github.users.values()}:
            self.github.add_user(login)
            self.github.set_member("acme", login)
        person = Person(url, login, self.trusted())
        page = person.login()
        assert page.ok, page.text
        return person

    def working(self, login: str, url: str = URL) -> Person:
        """Return a member whose server runs; with a single environment, logging in starts it."""
        person = self.person(login, url)
        if person.servers():
            person.server().wait_until_ready()
        else:
            person.server().start()
        return person

    def trusted(self) -> Path:
        """Return a CA bundle for the GitHub stand-in and the current ACME server."""
        bundle = self.folder / "trusted.pem"
        root = self.host.check_output("python3 -c %s %s", FETCH, ACME_ROOT)
        own = self.host.check_output("cat /etc/pebble/ca.pem")
        bundle.write_text("\n".join([(self.folder / "authority/authority.crt").read_text(), root, own]))
        return bundle

    def listeners(self) -> set[str]:
        """Return where the Hub or what is in front of it listens, leaving out SSH, the engine and the tests."""
        table = self.host.check_output("ss --listening --tcp --udp --numeric --no-header")
        found = {line.split()[4] for line in table.splitlines()}
        inside = {where for where in found if where.startswith(("127.", "[::1]")) and not where.endswith(":8000")}
        return {where for where in found - inside if not where.startswith("192.0.2.1:") and not where.endswith(":22")}

    def forget_the_certificate(self) -> None:
        """Remove Caddy with all of its state."""
        self.host.check_output("docker rm --force jupyterhub-ingress && rm -r /srv/jupyterhub/ingress/data")

    def log(self, container: str) -> str:
        """Return a container's log."""
        written: str = self.host.check_output(f"docker logs jupyterhub-{container} 2>&1")
        return written

    def line_of_the_hub(self, mark: str) -> str:
        """Return the line of the Hub's log with this mark; a request is logged after it was answered."""
        eventually(f"{mark} in the Hub's log", lambda: mark in self.log("hub"))
        [line] = [line for line in self.log("hub").splitlines() if mark in line]
        return line


@contextmanager
def named(name: str, address: str) -> Iterator[None]:
    """Make this process resolve a name to an address."""
    original = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        return original(address if host == name else host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield
