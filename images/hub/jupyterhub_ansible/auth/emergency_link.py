"""Emergency access for the administrator if no login works: a link, created on the host, that works once for minutes.

    docker exec jupyterhub-hub python -m jupyterhub_ansible emergency-link

The link logs in a special user, whose name no account can have, as an administrator for an hour. It grants no new
rights: anyone who can run this controls the host anyway. The Hub's log records each link and each use.
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

from ..audit import context, events, outbox, refusals
from ..settings.model import SettingsError, load
from ..web.errors import PageError
from . import throttle

USER = "break.glass"
"""Not a possible GitHub login: those have letters, digits and hyphens (and underscores in managed enterprises)."""
LINK_S = 600
SESSION_S = 3600
TICKET = Path("/srv/jupyterhub/break-glass.json")
PATH = "/break-glass"
LOG = Path("/proc/1/fd/2")
"""The container's own log, so that `docker logs` shows that a link was made, but not the link."""


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def make(ticket: Path, now: float) -> str:
    """Return the key of a new link, which replaces an earlier one.

    Only its digest is stored, in a file that only the Hub can read.
    """
    key = secrets.token_urlsafe(32)
    new = ticket.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps({"digest": _digest(key), "until": now + LINK_S}))
    new.replace(ticket)
    return key


def problem(ticket: Path, key: str, now: float) -> str:
    """Return why a key is invalid; "" if it is valid."""
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
    """Return whether the emergency session has not expired."""
    return bool(auth_state and time.time() < auth_state["until"])


class EmergencyLinkHandler(BaseHandler):
    """The link's page, with a button, so that a link preview does not use up the link."""

    ticket = TICKET

    def _checked(self) -> None:
        why = problem(self.ticket, self.get_argument("key", ""), time.time())
        if why:
            # Only failures are throttled: a valid key cannot be guessed.
            throttle.SHARED.begin(self.request.remote_ip, USER).failed()
            self.log.warning("Break-glass link refused for %s: it %s", self.request.remote_ip, why)
            refusals.SHARED.record(
                str(self.request.remote_ip or ""), target=USER, result="refused", why=f"the emergency link {why}"
            )
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
        # First, so that the link is used up even if something fails.
        self.ticket.unlink()
        context.act_as(USER)
        # None leaves groups unchanged; required if the authenticator manages groups.
        session = {"name": USER, "admin": True, "groups": None, "auth_state": {"until": time.time() + SESSION_S}}
        user = await self.auth_to_user(session)
        user._auth_refreshed = time.monotonic()
        self.set_login_cookie(user)
        events.record("emergency link used")
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
        sys.exit(f"The link needs hub_authenticator: github; this Hub has {settings.hub_authenticator}.")
    key = make(TICKET, time.time())
    # One write per line: print to an unbuffered stream writes the newline separately, and `docker exec` could show the
    # other stream's text in between.
    sys.stdout.write(f"{settings.jupyterhub_url}/hub{PATH}?key={key}\n")
    sys.stderr.write(f"Valid once, for {LINK_S // 60} minutes; the session lasts {SESSION_S // 60} minutes.\n")
    with LOG.open("a") as log:
        print("break-glass: a link was made on the host", file=log)
    try:
        outbox.deliver_once(events.event("emergency link made", actor=context.HOST, target=USER), context.HOST)
    except OSError as error:
        sys.stderr.write(f"The audit trail does not have this: its recorder does not answer ({error}).\n")
