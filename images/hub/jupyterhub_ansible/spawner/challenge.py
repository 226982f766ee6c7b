"""Proof that it is a user's own server which answers: it knows the token that the Hub gave it, and says neither's.

The other half is in our images of users' servers (jupyterhub_challenge).  The Hub sends a random number that means
nothing, and no secret: nobody knows yet who listens at the address.
"""

import hashlib
import hmac
import secrets
from typing import Any

PATH = "api/jupyterhub-challenge"
"""Below the server's own path."""
LABEL = "jupyterhub-ansible.challenge"
"""On images whose servers answer."""


def nonce() -> str:
    """Return what is asked, another one each time: 64 hexadecimal digits."""
    return secrets.token_hex(32)


def is_answer(token: str, asked: str, answer: Any) -> bool:
    """Whether an answer (the JSON that came back) is the one of the server that has the token."""
    right = hmac.new(token.encode(), asked.encode(), hashlib.sha256).hexdigest()
    found = answer.get("hmac") if isinstance(answer, dict) else None
    return isinstance(found, str) and hmac.compare_digest(found.encode(), right.encode())
