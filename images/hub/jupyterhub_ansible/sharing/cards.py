"""What a guest sees of the servers that others share with them (templates/shared.html)."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm

from ..spawner.server_cards import lasting, state_of
from . import grants


@dataclass(frozen=True)
class Card:
    """Somebody else's server, as a guest sees it."""

    owner: str
    server: str
    """Its name; "" for the default server."""
    title: str
    url: str
    state: str
    """running, starting, stopping or stopped"""
    may_start: bool
    left: str
    """How long the guest may still use it; "" if for good."""


def left(grant: orm.Share | orm.ShareCode) -> str:
    """Return how long a share or link lasts from now; "" if for good."""
    if grant.expires_at is None:
        return ""
    # Naive UTC, as JupyterHub stores times.
    return lasting((grant.expires_at - datetime.now(UTC).replace(tzinfo=None)).total_seconds())


def of(user: Any) -> Any:
    """Return the value for JupyterHub.template_vars, which JupyterHub calls with the user of each page."""
    return lambda: cards(user)


def cards(user: Any) -> list[Card]:
    """Return the servers that others share with a user, by owner and name; [] if nobody is logged in."""
    if not isinstance(orm_user := getattr(user, "orm_user", None), orm.User):
        return []
    shares = sorted(orm_user.shared_with_me, key=lambda each: (each.owner.name, each.spawner.name))
    return [_card(share, user.settings["users"].get(share.owner.name)) for share in shares if not share.expired]


def _card(share: orm.Share, owner: Any) -> Card:
    stored = share.spawner
    title = (stored.display_name or stored.name) if stored.name else "Default server"
    return Card(
        owner=share.owner.name,
        server=stored.name,
        title=f"{title} of {share.owner.name}",
        url=owner.server_url(stored.name),
        state=state_of(owner.spawners.get(stored.name)),
        may_start=grants.may_start(share),
        left=left(share),
    )
