"""Who is an administrator of the whole Hub."""

from typing import Any

from jupyterhub.scopes import Scope


def is_administrator(handler: Any) -> bool:
    """Return whether a request may change all users.

    `admin-ui` alone is not enough: an operator's role may let a teacher see the page for some users.  Nor is
    `user.admin`, since a token of an administrator may have fewer rights.
    """
    return bool(handler.parsed_scopes.get("admin:users") == Scope.ALL)
