"""Names of named servers: what is allowed, in words.  JupyterHub says only "Invalid server_name".

Its home page makes a name of anything (jupyterhub/static/js/utils.js); links, the REST API and other programs do not.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from jupyterhub.apihandlers.users import UserServerAPIHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.slugs import is_valid_safe_slug, safe_slug

from .. import clean
from .errors import PageError


def problem(name: str) -> str:
    """Return why a new server cannot have this name, with one that it can have; "" if it can."""
    if is_valid_safe_slug(name):
        return ""
    return (
        f"A server cannot be named {clean.one_line(name, 60)!r}: a name has up to 30 small letters, digits and single"
        f" hyphens, and begins with a letter. Try {safe_slug(name, avoid_collisions=False)!r}."
    )


class _Named:
    async def _check_named_server_request(self, user: Any, server_name: str, *args: Any, **options: Any) -> None:
        if server_name not in user.orm_spawners and (why := problem(server_name)):
            raise PageError(HTTPStatus.BAD_REQUEST, why)
        await super()._check_named_server_request(user, server_name, *args, **options)  # type: ignore[misc]


def explained(rules: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the Hub's rules (pattern, handler, arguments), with our words where a named server is made."""
    made_by = (UserServerAPIHandler, SpawnHandler)
    return [
        (pattern, type(handler.__name__, (_Named, handler), {}) if issubclass(handler, made_by) else handler, *rest)
        for pattern, handler, *rest in rules
    ]
