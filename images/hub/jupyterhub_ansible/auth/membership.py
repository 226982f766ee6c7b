"""Whether somebody may still use the Hub, whatever the authenticator."""

from typing import Any


def is_blocked(authenticator: Any, username: str) -> bool:
    """Return whether a user of this name may not use the Hub."""
    # One whose logins can change knows more.
    knows = getattr(authenticator, "is_blocked", None)
    return bool(knows(username) if knows else username in authenticator.blocked_users)


async def may_stay(authenticator: Any, user: Any) -> bool:
    """Return whether a user may still use the Hub, and update the user's groups; in doubt, they may.

    Authenticators other than ours can be asked at a login only.
    """
    ask = getattr(authenticator, "may_stay", None)
    return bool(await ask(user)) if ask else not is_blocked(authenticator, user.name)
