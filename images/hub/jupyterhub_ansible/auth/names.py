"""What an authenticator knows of a user by the name: the names by which settings may refer to one, and blocks."""

from typing import Any


def names_of(authenticator: Any, username: str) -> set[str]:
    """Return these names: the user's, and more if the authenticator's logins can change."""
    names = getattr(authenticator, "names", None)
    return set(names(username)) if names else {username}


def is_blocked(authenticator: Any, username: str) -> bool:
    """Return whether a user of this name may not use the Hub."""
    # One whose logins can change knows more.
    knows = getattr(authenticator, "is_blocked", None)
    return bool(knows(username) if knows else username in authenticator.blocked_users)
