"""Challenge by which a server proves that it is the one that was started: it knows the token that the Hub gave it.

The other half is in our images of users' servers (jupyterhub_challenge).  The Hub sends only a random number and no
secret, because it does not know yet who listens at the address.
"""

import hashlib
import hmac
import secrets
from typing import Any

PATH = "api/jupyterhub-challenge"
"""Relative to the server's base URL."""
LABEL = "jupyterhub-ansible.challenge"
"""Label of images whose servers answer the challenge."""


def nonce() -> str:
    """Return a new random number as 64 hexadecimal digits."""
    return secrets.token_hex(32)


def is_answer(token: str, asked: str, answer: Any) -> bool:
    """Whether an answer (decoded JSON) is that of the server with this token."""
    right = hmac.new(token.encode(), asked.encode(), hashlib.sha256).hexdigest()
    found = answer.get("hmac") if isinstance(answer, dict) else None
    return isinstance(found, str) and hmac.compare_digest(found.encode(), right.encode())
