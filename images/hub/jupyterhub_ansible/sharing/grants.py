"""Links to servers and what they grant, as JupyterHub's share codes and shares (orm.ShareCode, orm.Share).

JupyterHub's own shares never end.  Ours end with the link, or with what the operator allows: `sweep` ends them.  They
carry a custom scope, so that shares which others made (an operator's own roles, the REST API) are left alone.
"""

from collections.abc import Callable

from jupyterhub import orm
from sqlalchemy.orm import Session

from ..audit import context

NOBODY, GROUPS, EVERYBODY = "nobody", "groups", "everybody"
"""With whom users may share (`hub_sharing`)."""
GUEST = "custom:sharing:guest"
START = "custom:sharing:start"
CUSTOM_SCOPES = {
    GUEST: {"description": "Use a server that its owner shared by a link."},
    START: {"description": "Start it with what its owner chose last."},
}
"""For JupyterHub.custom_scopes.  JupyterHub's own `start:servers` would also rename a server and change its options."""
_HOUR, _DAY = 3600, 86400
LENGTHS = {_HOUR: "an hour", 8 * _HOUR: "eight hours", _DAY: "a day", 7 * _DAY: "a week", 30 * _DAY: "30 days"}
"""For how many seconds a link can be made, in words."""
SHORTEST_S = 60
LINKS_AT_MOST = 20
"""Links of a server that have not ended."""


class SharingError(ValueError):
    """What was asked for is not possible; the message is for the user."""


def _has(grant: orm.Share | orm.ShareCode, scope: str) -> bool:
    return any(each.partition("!")[0] == scope for each in grant.scopes)


def is_ours(grant: orm.Share | orm.ShareCode) -> bool:
    """Return whether a share or share code was made here."""
    return _has(grant, GUEST)


def may_start(grant: orm.Share | orm.ShareCode) -> bool:
    """Return whether its holder may start the server."""
    return _has(grant, START)


def refusal(policy: str, owner: orm.User, guest: orm.User) -> str:
    """Return why the operator does not let this owner share with this guest; "" if they may."""
    if policy == EVERYBODY:
        return ""
    if policy == GROUPS:
        groups = {each.name for each in owner.groups}
        if any(each.name in groups for each in guest.groups):
            return ""
        return f"Servers can be shared within a group only, and you have none in common with {owner.name}."
    return "Servers cannot be shared on this Hub."


def links(spawner: orm.Spawner) -> list[orm.ShareCode]:
    """Return a server's links that have not ended, oldest first."""
    return sorted((each for each in spawner.share_codes if is_ours(each) and not each.expired), key=lambda one: one.id)


def guests(spawner: orm.Spawner) -> list[orm.Share]:
    """Return the shares of a server with people, oldest first; not only ours, for the owner wants to know."""
    return sorted((each for each in spawner.shares if each.user and not each.expired), key=lambda one: one.id)


def make_link(db: Session, spawner: orm.Spawner, lasts_s: int, *, start: bool) -> tuple[orm.ShareCode, str]:
    """Return a new link and its code, a secret that is not stored.

    Raises:
        SharingError: the server has too many.
    """
    if len(links(spawner)) >= LINKS_AT_MOST:
        raise SharingError(f"This server has {LINKS_AT_MOST} links, the most that it may have: delete one first.")
    server = f"{spawner.user.name}/{spawner.name}"
    scopes = ["access:servers", "read:servers", GUEST, *([START] if start else [])]
    made: tuple[orm.ShareCode, str] = orm.ShareCode.new(
        db, spawner, scopes=[f"{each}!server={server}" for each in scopes], expires_in=lasts_s
    )
    return made


def find_link(db: Session, code: str) -> orm.ShareCode | None:
    """Return the link with this code; None if there is none, or it has ended."""
    found = orm.ShareCode.find(db, code)
    return found if found and is_ours(found) else None


def obstacle(link: orm.ShareCode, guest: orm.User, policy: str, is_blocked: Callable[[str], bool]) -> str:
    """Return why a guest cannot accept a link; "" if they can. The arguments are those of `accept`."""
    if link.owner is guest:
        return "This is your own server: send the link to somebody else."
    if is_blocked(link.owner.name):
        return f"{link.owner.name} may not use this Hub any more, so this server is not shared any more."
    return refusal(policy, link.owner, guest)


def accept(
    db: Session, link: orm.ShareCode, guest: orm.User, policy: str, is_blocked: Callable[[str], bool]
) -> orm.Share:
    """Let a guest in until the link ends; the link that a guest accepted last counts.

    Args:
        db: the Hub's database.
        link: what the guest was sent.
        guest: who asks.
        policy: `hub_sharing`.
        is_blocked: whether a user of this name may not use the Hub.

    Raises:
        SharingError: the guest owns the server, or the operator does not allow it.
    """
    if why := obstacle(link, guest, policy, is_blocked):
        raise SharingError(why)
    share = orm.Share.find(db, link.spawner, guest)
    if share is None:
        share = orm.Share(created_at=orm.Share.now(), owner=link.owner, spawner=link.spawner, user=guest)
        db.add(share)
    elif not is_ours(share):
        # Somebody with more rights gave access for good.
        return share
    share.scopes, share.expires_at = sorted(link.scopes), link.expires_at
    link.exchange_count = (link.exchange_count or 0) + 1
    link.last_exchanged_at = link.now()
    db.commit()
    return share


def end(db: Session, share: orm.Share) -> None:
    """End a guest's access, with the tokens by which their browsers open the server; the caller commits."""
    client = share.spawner.oauth_client
    if share.user and client:
        # One by one, as upstream does, so that a token's scopes are deleted with it.
        for token in db.query(orm.APIToken).filter_by(client_id=client.identifier, user_id=share.user_id):
            db.delete(token)
    db.delete(share)


def remove_guest(db: Session, share: orm.Share) -> None:
    """End a guest's access and all links of the server, by one of which the guest could come back."""
    for link in links(share.spawner):
        db.delete(link)
    end(db, share)
    db.commit()


def stop_sharing(db: Session, spawner: orm.Spawner) -> None:
    """End all links and guests of a server."""
    for link in links(spawner):
        db.delete(link)
    for share in guests(spawner):
        end(db, share)
    db.commit()


def sweep(db: Session, policy: str, is_blocked: Callable[[str], bool]) -> list[str]:
    """End what is over; return one line for each, for the log.

    Args:
        db: the Hub's database.
        policy: `hub_sharing`.
        is_blocked: whether a user of this name may not use the Hub.
    """
    ended = []
    for share in db.query(orm.Share).all():
        if is_ours(share) and (why := _over(share, policy, is_blocked)):
            ended.append(f"{share.user.name} may not use {share.owner.name}/{share.spawner.name} any more: {why}")
            with context.because(why):
                end(db, share)
                db.flush()
    over = [each for each in db.query(orm.ShareCode).all() if is_ours(each) and (policy == NOBODY or each.expired)]
    for link in over:
        db.delete(link)
    # Otherwise nothing: the session is that of the whole Hub, where a request may be half done.
    if ended or over:
        db.commit()
    return ended


def _over(share: orm.Share, policy: str, is_blocked: Callable[[str], bool]) -> str:
    # Ours have an end: one without was changed by somebody else, and is not to last for ever.
    if share.expires_at is None or share.expired:
        return "the time is over"
    if refusal(policy, share.owner, share.user):
        return "hub_sharing" if policy == NOBODY else "they have no group in common"
    if blocked := [each.name for each in (share.owner, share.user) if is_blocked(each.name)]:
        return f"{blocked[0]} is blocked"
    return ""
