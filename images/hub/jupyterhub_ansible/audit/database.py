"""Events from what changes in the Hub's database, whichever page, API call or task changes it.

They are made while SQLAlchemy writes the changes, when it still knows what was before, and are recorded once the
transaction is committed; those of one that is rolled back are dropped.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from sqlalchemy import event, inspect, select
from sqlalchemy.orm import ORMExecuteState, Session
from sqlalchemy.orm.attributes import instance_state

from ..workspaces.accounts import is_account
from . import context, events, visits

_WAITING = "jupyterhub_ansible.audit"
"""Key of the events of a transaction in `Session.info`."""
_HUB_CLIENT = "jupyterhub"
_OWN_ROLES = ("user", "admin")
"""Roles that everybody has, and that follow from being an administrator."""
_MOST = 1_000

Made = Iterator[dict[str, Any]]


class Changes:
    """Listens to one session."""

    def __init__(self, session: Session, log: logging.Logger) -> None:
        self._log = log
        self._browsers: OrderedDict[tuple[str, str], str] = OrderedDict()
        """Addresses from which people asked for access to a client (a server), whose own request fetches the token."""
        self._roles_before: set[tuple[str, str]] | None = _roles(session)
        """Who has which roles, while the Hub starts: it takes all away, and gives them again."""
        event.listen(session, "after_flush", self._flushed)
        event.listen(session, "do_orm_execute", self._executed)
        event.listen(session, "after_commit", self._committed)
        event.listen(session, "after_rollback", self._rolled_back)

    def roles_are_loaded(self, session: Session) -> None:
        """Record how roles differ from those of the last Hub."""
        before, now = self._roles_before or set(), _roles(session)
        self._roles_before = None
        for kind, changed in (("role given", now - before), ("role taken", before - now)):
            for user, role in sorted(changed):
                events.record(kind, target=user, role=role, by="the settings")

    def _flushed(self, session: Session, _: Any) -> None:
        waiting = session.info.setdefault(_WAITING, [])
        with session.no_autoflush:
            for kind, things in (("new", session.new), ("changed", session.dirty), ("deleted", session.deleted)):
                for thing in list(things):
                    self._collect(waiting, session, thing, kind)

    def _executed(self, state: ORMExecuteState) -> None:
        """Look at what a statement deletes without loading it, as JupyterHub does with all shares of a server."""
        mapper = state.bind_mapper
        if not state.is_delete or mapper is None or mapper.class_ not in (orm.Share, orm.ShareCode):
            return
        statement: Any = state.statement
        found = state.session.scalars(select(mapper.class_).where(*statement._where_criteria)).all()
        waiting = state.session.info.setdefault(_WAITING, [])
        for thing in found:
            self._collect(waiting, state.session, thing, "deleted")

    def _collect(self, waiting: list[dict[str, Any]], session: Session, thing: Any, kind: str) -> None:
        try:
            waiting.extend(self._of(session, thing, kind))
        except Exception:
            # The change itself must not fail because of this.
            self._log.exception("A change could not be described for the audit trail")

    def _committed(self, session: Session) -> None:
        for each in session.info.pop(_WAITING, ()):
            events.deliver(each)

    def _rolled_back(self, session: Session) -> None:
        session.info.pop(_WAITING, None)

    def _of(self, session: Session, thing: Any, kind: str) -> Made:
        # JupyterHub also deletes its own wrapper of a user, which the session takes for the user.
        thing = instance_state(thing).obj()
        if isinstance(thing, orm.User):
            yield from _of_user(thing, kind)
            if kind != "deleted" and self._roles_before is None:
                yield from _of_roles(thing)
        elif isinstance(thing, orm.Group):
            yield from _of_group(thing, kind)
        elif isinstance(thing, orm.Share):
            yield from _of_share(thing, kind)
        elif isinstance(thing, orm.ShareCode):
            yield from _of_share_code(thing, kind)
        elif isinstance(thing, orm.OAuthCode) and kind == "new":
            self._note_browser(thing)
        elif isinstance(thing, orm.APIToken):
            yield from self._of_token(session, thing, kind)

    def _note_browser(self, code: orm.OAuthCode) -> None:
        if code.user is not None and code.client is not None:
            self._browsers[code.user.name, code.client.identifier] = context.current().address
            while len(self._browsers) > _MOST:
                self._browsers.popitem(last=False)

    def _of_token(self, session: Session, token: orm.APIToken, kind: str) -> Made:
        user = token.user or (session.get(orm.User, token.user_id) if token.user_id else None)
        if user is None or kind == "changed":
            return
        if token.client_id == _HUB_CLIENT:
            if not _is_of_server(token) and not _has_expired(token):
                verb = "made" if kind == "new" else "revoked"
                about = {"token": token.api_id} if token.id else {}
                yield events.event(
                    f"token {verb}", target=user.name, **about, note=token.note, expires=token.expires_at
                )
        elif kind == "new":
            client = session.scalar(select(orm.OAuthClient).where(orm.OAuthClient.identifier == token.client_id))
            spawner = client.spawner if client else None
            if spawner is not None and spawner.user is not user:
                address = self._browsers.get((user.name, token.client_id), "")
                owner = spawner.user.name
                opened = "workspace opened" if is_account(owner) else visits.OPENED
                yield events.event(opened, actor=user.name, target=f"{owner}/{spawner.name}", address=address)


def _is_of_server(token: orm.APIToken) -> bool:
    """Whether it is the token of a server. Users can give one of theirs such a note, but not without the API for it."""
    made_by_user = context.current().handlers & {"UserTokenListAPIHandler", "UserTokenAPIHandler"}
    return str(token.note or "").startswith("Server at /") and not made_by_user


def _has_expired(thing: Any) -> bool:
    # Naive UTC, as JupyterHub stores times.
    return bool(thing.expires_at and thing.expires_at < datetime.now(UTC).replace(tzinfo=None))


def _roles(session: Session) -> set[tuple[str, str]]:
    """Return the roles of all users, but for those that follow from being one."""
    found = select(orm.User.name, orm.Role.name).join(orm.User.roles).where(orm.Role.name.not_in(_OWN_ROLES))
    return {(user, role) for user, role in session.execute(found)}


def _history(thing: Any, name: str) -> Any:
    return inspect(thing).attrs[name].history


def _of_user(user: orm.User, kind: str) -> Made:
    if kind == "new":
        yield events.event("user created", target=user.name)
    if kind == "deleted":
        yield events.event("user deleted", target=user.name)
        return
    name, admin = _history(user, "name"), _history(user, "admin")
    if kind == "changed" and name.deleted and name.added:
        yield events.event("user renamed", target=name.deleted[0], to=user.name)
    if admin.added and bool(admin.added[0]) != bool(admin.deleted[0] if admin.deleted else False):
        yield events.event("admin given" if admin.added[0] else "admin taken", target=user.name)
    groups = _history(user, "groups")
    for verb, changed in (("joined", groups.added), ("left", groups.deleted)):
        for group in changed or ():
            yield events.event(f"group {verb}", target=user.name, group=group.name)


def _of_roles(user: orm.User) -> Made:
    roles = _history(user, "roles")
    for verb, changed in (("given", roles.added), ("taken", roles.deleted)):
        for role in changed or ():
            if role is not None and role.name not in _OWN_ROLES:
                yield events.event(f"role {verb}", target=user.name, role=role.name)


def _of_group(group: orm.Group, kind: str) -> Made:
    if kind != "changed":
        yield events.event("group made" if kind == "new" else "group deleted", target=group.name)


ACCEPTING = {"AcceptShareHandler", "AcceptInvitation"}
"""Handlers by which somebody accepts a link: JupyterHub's, and ours (sharing.handlers)."""


def _server(share: Any) -> str:
    return f"{share.owner.name}/{share.spawner.name}" if share.owner and share.spawner else ""


def _of_share(share: orm.Share, kind: str) -> Made:
    cause = context.current()
    given_to = f"group {share.group.name}" if share.group else share.user.name if share.user else ""
    about: dict[str, Any] = {
        "target": _server(share),
        "to": given_to,
        "scopes": [scope.partition("!")[0] for scope in share._scopes or ()],
    }
    if kind == "deleted":
        # Without a request, its time is over.
        yield events.event("share ended" if cause.actor == context.HUB else "share revoked", **about)
    elif kind == "new":
        # With a link, whoever accepts it makes the share: see _of_share_code.
        if not ACCEPTING & cause.handlers:
            yield events.event("share made", **about)
    elif _history(share, "_scopes").added and not ACCEPTING & cause.handlers:
        yield events.event("share changed", **about)


def _of_share_code(code: orm.ShareCode, kind: str) -> Made:
    about: dict[str, Any] = {"target": _server(code), "link": f"sc_{code.id}" if code.id else None}
    if kind == "new":
        scopes = [scope.partition("!")[0] for scope in code._scopes or ()]
        yield events.event("share link made", **about, scopes=scopes, expires=code.expires_at)
    elif kind == "deleted":
        over = context.current().actor == context.HUB or _has_expired(code)
        yield events.event("share link ended" if over else "share link revoked", **about)
    elif _history(code, "exchange_count").added:
        yield events.event("share accepted", **about)
