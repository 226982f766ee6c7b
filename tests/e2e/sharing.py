"""Sharing a server by a link, as the Hub's pages do it."""

from __future__ import annotations

import re

import requests
from e2e.client import Server
from e2e.people import Person


def ask(person: Person, action: str, /, **fields: object) -> requests.Response:
    """Send a request of these pages."""
    return person.request("POST", f"/hub/sharing/{action}", json=fields)


def link(owner: Person, server: str = "", lasts_s: int = 3600, *, start: bool = False) -> str:
    """Make a link; return its code."""
    made = ask(owner, "links", server=server, lasts_s=lasts_s, start=start)
    made.raise_for_status()
    return str(made.json()["path"].partition("#")[2])


def open_as_guest(guest: Person, owner: str, server: str = "") -> requests.Response:
    """Open the server; the Hub asks guests whether it may know their name."""
    page = Server(guest, server, owner=owner).open()
    if 'id="oauth' in page.text or "oauth2/authorize" in page.url:
        fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        page = guest.session.post(page.url, data=fields, headers={"Referer": page.url}, timeout=60)
    return page
