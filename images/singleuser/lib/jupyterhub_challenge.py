"""A user's server proves to the Hub that it is the one that was started, before it gets a route.

The Hub requests `api/jupyterhub-challenge?nonce=...`, without any secret; the server answers with the HMAC-SHA256 of
the nonce, keyed with the token that the Hub gave it, without revealing the token.
"""

import hashlib
import hmac
import os
import re
from typing import Any

PATH = "api/jupyterhub-challenge"
_NONCE = re.compile("[0-9a-f]{64}")
"""Only this form is signed, so that the answer cannot serve any other purpose."""


def answer(token: str, nonce: str) -> str:
    """Return the proof for a nonce.

    Raises:
        ValueError: the nonce is malformed.
    """
    if not _NONCE.fullmatch(nonce):
        raise ValueError("nonce: must be 64 hexadecimal digits")
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_challenge"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from jupyterhub_challenge_handler import ChallengeHandler

    # Without a Hub, a server has no token.
    if token := os.environ.get("JUPYTERHUB_API_TOKEN"):
        server.web_app.add_handlers(".*$", [(f"{server.base_url}{PATH}", ChallengeHandler, {"token": token})])
