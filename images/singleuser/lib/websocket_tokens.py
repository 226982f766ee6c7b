"""Accepts a token in the address of a websocket (`?token=...`), where client libraries for Jupyter put it.

JupyterHub does so for browsers only, which it knows by a header that no other program sends.  A websocket's address is
never a page that a link could open, so that a stranger's token cannot end up in somebody's cookie.
"""

from typing import Any

from jupyterhub.services.auth import HubAuth


def install() -> None:
    """Patch HubAuth."""
    of_browsers = HubAuth._get_token_url

    def token_in_the_address(auth: HubAuth, handler: Any) -> str:
        if handler.request.headers.get("Upgrade", "").lower() == "websocket":
            return str(handler.get_argument("token", ""))
        return str(of_browsers(auth, handler))

    HubAuth._get_token_url = token_in_the_address
