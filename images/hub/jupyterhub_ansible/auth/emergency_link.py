"""A way in for the administrator when no other works: a link, made on the host, that is good once and for minutes.

    docker exec jupyterhub-hub python -m jupyterhub_ansible emergency-link

The link logs in as a user of its own, whose name no account can have, as an administrator for an hour. Whoever may run
this on the host may do anything there, so nothing is given away; each link and each use is in the Hub's log.
"""
# JupyterHub has no types.
# mypy: allow-subclassing-any

import argparse
import hashlib
import hmac
import json
import secrets
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyterhub.handlers import BaseHandler

from ..settings.model import SettingsError, load
from ..web.errors import PageError
from . import throttle

USER = "break.glass"
"""GitHub's logins hold letters, digits and hyphens (underscores, too, where an enterprise manages them)."""
LINK_S = 600
SESSION_S = 3600
TICKET = Path("/srv/jupyterhub/break-glass.json")
PATH = "/break-glass"
LOG = Path("/proc/1/fd/2")
"""What the container itself says: `docker logs` shows that a link was made, and not the link."""


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def make(ticket: Path, now: float) -> str:
    """Return the key of a new link, which takes the place of one that was made before.

    Only its digest is kept, in a file of the Hub's own.
    """
    key = secrets.token_urlsafe(32)
    new = ticket.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps({"digest": _digest(key), "until": now + LINK_S}))
    new.replace(ticket)
    return key


def problem(ticket: Path, key: str, now: float) -> str:
    """Return why a key does not open; nothing if it does."""
    try:
        kept = json.loads(ticket.read_text())
    except FileNotFoundError:
        return "has been used already, or was never made"
    if not hmac.compare_digest(kept["digest"], _digest(key)):
        return "has been used already, or was never made"
    if now > kept["until"]:
        return "has expired"
    return ""


def lasts(auth_state: dict[str, Any] | None) -> bool:
    """Return whether this user's session still lasts."""
    return bool(auth_state and time.time() < auth_state["until"])


class BreakGlassHandler(BaseHandler):
    """The page of the link: a button, so that whatever only looks at links does not use it up."""

    ticket = TICKET

    def _checked(self) -> None:
        why = problem(self.ticket, self.get_argument("key", ""), time.time())
        if why:
            # A right key is never kept waiting: it cannot be guessed.
            throttle.SHARED.begin(self.request.remote_ip, USER).failed()
            self.log.warning("Break-glass link refused for %s: it %s", self.request.remote_ip, why)
            raise PageError(HTTPStatus.FORBIDDEN, f"This link {why}. Make a new one on the host.")

    def get(self) -> None:
        """Show the button."""
        self._checked()
        self.set_header("Referrer-Policy", "no-referrer")
        self.finish(
            "<!DOCTYPE html><html lang=en><title>JupyterHub: emergency access</title>"
            "<meta name=viewport content='width=device-width'><body style='font-family: sans-serif; margin: 3em'>"
            f"<h1>Emergency access</h1><p>Log in as the administrator {USER} for an hour. This is logged.</p>"
            f"<form method=post>{self.xsrf_form_html()}<button>Log in</button></form>"
        )

    async def post(self) -> None:
        """Log in, once."""
        self._checked()
        # Before anything that may fail: a link that was tried is used.
        self.ticket.unlink()
        # None: whatever groups it has; asked for only where the authenticator manages them.
        session = {"name": USER, "admin": True, "groups": None, "auth_state": {"until": time.time() + SESSION_S}}
        user = await self.auth_to_user(session)
        user._auth_refreshed = time.monotonic()
        self.set_login_cookie(user)
        self.log.warning("Break-glass link used by %s: logged in as the administrator %s", self.request.remote_ip, USER)
        self.redirect(f"{self.hub.base_url}admin")


def main() -> None:
    """Print a link."""
    argparse.ArgumentParser(prog="python -m jupyterhub_ansible emergency-link", description=__doc__).parse_args()
    try:
        settings = load().settings
    except SettingsError as error:
        sys.exit(str(error))
    if settings.hub_authenticator != "github":
        sys.exit(f"The link is for a Hub with GitHub's login; this one has {settings.hub_authenticator}.")
    key = make(TICKET, time.time())
    # Each line in one write: the image's Python keeps nothing back, so that print would send the end of the line apart,
    # and `docker exec`, which shows two streams as they come, could put the other's words behind the link.
    sys.stdout.write(f"{settings.jupyterhub_url}/hub{PATH}?key={key}\n")
    sys.stderr.write(f"Good once, for {LINK_S // 60} minutes; the session lasts {SESSION_S // 60} minutes.\n")
    with LOG.open("a") as log:
        print("break-glass: a link was made on the host", file=log)
