"""What members see of their workspaces on the Hub's pages (templates/workspaces.html)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyterhub import orm, roles

from ..settings.model import Workspace
from ..spawner.server_cards import state_of
from .accounts import account, member_role, start_role

PRESENT_S = 120
"""A user whose page was used or checked within so many seconds is in the workspace."""


@dataclass(frozen=True)
class Card:
    """A workspace as one member sees it."""

    account: str
    title: str
    description: str
    state: str
    """running, starting, stopping or stopped"""
    people: tuple[str, ...]
    may_start: bool


def of(workspaces: Iterable[Workspace]) -> Callable[[Any], Callable[[], dict[str, Card]]]:
    """Return the value for JupyterHub.template_vars.

    JupyterHub calls it with the user of each page; what it returns is called only by the pages that show cards.
    """
    declared = tuple(workspaces)

    def of_user(user: Any) -> Callable[[], dict[str, Card]]:
        return lambda: cards(declared, user)

    return of_user


def cards(workspaces: Iterable[Workspace], user: Any) -> dict[str, Card]:
    """Return the cards of a user's workspaces, by account; {} for services, and if nobody is logged in."""
    if not isinstance(orm_user := getattr(user, "orm_user", None), orm.User):
        return {}
    rights = {role.name for role in roles.get_roles_for(orm_user)}
    return {
        account(each.slug): _card(each, user, start_role(each.slug) in rights)
        for each in workspaces
        if member_role(each.slug) in rights
    }


def _card(workspace: Workspace, user: Any, may_start: bool) -> Card:
    name = account(workspace.slug)
    owner = user.settings["users"].get(name)
    spawner = owner.spawner if owner else None
    state = state_of(spawner)
    people = _people(user.db, spawner.oauth_client_id) if spawner and state == "running" else ()
    return Card(name, workspace.name, workspace.description, state, people, may_start)


def _people(db: Any, client: str) -> tuple[str, ...]:
    """Return the users whose pages asked the server for something lately: it then asks the Hub about their tokens."""
    # Naive UTC, as JupyterHub stores times.
    since = (datetime.now(UTC) - timedelta(seconds=PRESENT_S)).replace(tzinfo=None)
    used = db.query(orm.APIToken).filter(orm.APIToken.client_id == client, orm.APIToken.last_activity > since)
    return tuple(sorted({token.user.name for token in used if token.user}))
