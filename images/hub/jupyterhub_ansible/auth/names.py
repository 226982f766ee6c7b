"""The names by which settings may refer to a user."""

from typing import Any


def names_of(authenticator: Any, username: str) -> set[str]:
    """Return these names: the user's, and more if the authenticator's logins can change."""
    names = getattr(authenticator, "names", None)
    return set(names(username)) if names else {username}
