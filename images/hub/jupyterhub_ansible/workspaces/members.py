"""Who is a member: roles follow the settings at the Hub's start and at each login and check of membership.

Members by group follow by themselves, as the roles belong to the groups.  A server checks every few seconds whether the
users of its open pages may still use it (the package jupyterhub_guests in its image).
"""

import asyncio
from http import HTTPStatus
from typing import Any

from jupyterhub import orm
from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler
from jupyterhub.apihandlers.users import UserAPIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.scopes import needs_scope

from ..audit import context
from ..auth import tokens
from ..auth.names import names_of
from ..settings.model import Workspace
from ..web.errors import PageError
from .accounts import PREFIX, account, is_account, roles_of, slug_of

PENDING_S = 1
RETRY_S = 60

_auth_to_user = BaseHandler.auth_to_user
_refresh_auth = BaseHandler.refresh_auth
_needs_oauth_confirm = OAuthAuthorizeHandler.needs_oauth_confirm
_delete = UserAPIHandler.delete
_patch = UserAPIHandler.patch


def prepare(app: Any, workspaces: tuple[Workspace, ...]) -> None:
    """Create and keep the accounts, assign the roles of users, follow logins; called once, when roles are loaded."""
    # First, because the authenticator may write to the database itself, which SQLite refuses during other changes.
    users = [(user, names_of(app.authenticator, user.name)) for user in app.db.query(orm.User)] if workspaces else []
    for name in (account(each.slug) for each in workspaces):
        if (user := orm.User.find(app.db, name)) is None:
            app.log.info("Creating the account %s of a workspace", name)
            app.db.add(user := orm.User(name=name))
        _disown(app.db, user)
    for user, names in users:
        assign(app.db, user, names, workspaces)
    app.db.commit()

    async def auth_to_user(handler: Any, authenticated: Any, user: Any = None) -> Any:
        """Store a login or a check of membership (BaseHandler.auth_to_user)."""
        name = authenticated if isinstance(authenticated, str) else authenticated["name"]
        if user is None and is_account(name):
            handler.log.warning("Login refused: %s is the name of a workspace", name)
            raise PageError(HTTPStatus.FORBIDDEN, f"Nobody can log in as {name}: such names belong to workspaces.")
        found = await _auth_to_user(handler, authenticated, user)
        if workspaces:
            assign(handler.db, found.orm_user, names_of(handler.authenticator, found.name), workspaces)
            handler.db.commit()
        return found

    async def refresh_auth(handler: Any, user: Any, force: bool = False) -> Any:
        """Check a user's membership (BaseHandler.refresh_auth); a workspace's account has none."""
        return user if is_account(user.name) else await _refresh_auth(handler, user, force)

    def needs_oauth_confirm(handler: Any, user: Any, oauth_client: Any, requested_scopes: Any) -> bool:
        """Whether a user must allow a server to know them: not a member, whose token opens only the workspace."""
        if oauth_client.spawner and is_account(oauth_client.spawner.user.name):
            return False
        return bool(_needs_oauth_confirm(handler, user, oauth_client, requested_scopes))

    declared = {account(each.slug) for each in workspaces}

    def check_not_declared(name: str) -> None:
        if name in declared:
            raise PageError(
                HTTPStatus.FORBIDDEN,
                f"{name} is the account of a workspace, and can be neither changed nor deleted here. Remove the"
                " workspace from hub_workspaces and deploy first; that keeps its files.",
            )

    async def delete(handler: Any, user_name: str) -> None:
        """Delete a user (UserAPIHandler.delete), not a workspace: its files would be disposed of."""
        check_not_declared(user_name)
        await _delete(handler, user_name)

    async def patch(handler: Any, user_name: str) -> None:
        """Change a user's name or rights (UserAPIHandler.patch), not a workspace's: nobody could start it any more."""
        check_not_declared(user_name)
        await _patch(handler, user_name)

    # As upstream, so that only who may do it to users is told that the account exists.
    UserAPIHandler.delete = needs_scope("delete:users")(delete)
    UserAPIHandler.patch = needs_scope("admin:users")(patch)
    BaseHandler.auth_to_user = auth_to_user
    OAuthAuthorizeHandler.needs_oauth_confirm = needs_oauth_confirm
    BaseHandler.refresh_auth = refresh_auth


def _disown(db: Any, user: orm.User) -> None:
    """End what a person may have had under an account's name, before it was reserved; the caller commits."""
    tokens.disown(db, user)
    user.admin, user.groups, user.roles = False, [], [orm.Role.find(db, "user")]


def assign(db: Any, user: orm.User, names: set[str], workspaces: tuple[Workspace, ...]) -> None:
    """Give a user exactly the roles that settings give by name; the caller commits."""
    wanted = set() if is_account(user.name) else roles_of(names, workspaces)
    has = {role.name for role in user.roles if role.name.startswith(PREFIX)}
    for name in wanted - has:
        user.roles.append(orm.Role.find(db, name))
    for name in has - wanted:
        user.roles.remove(orm.Role.find(db, name))


async def retire(app: Any, workspaces: tuple[Workspace, ...]) -> None:
    """Stop the servers of workspaces that are not declared any more, and revoke their tokens; files stay."""
    declared = {"", *(each.slug for each in workspaces)}
    accounts = app.db.query(orm.User).filter(orm.User.name.startswith(PREFIX)).all()
    former = [each for each in accounts if slug_of(each.name) not in declared]
    # First, since a stop may take long.
    for each in former:
        _disown(app.db, each)
    app.db.commit()
    await asyncio.gather(*(_close(app, each) for each in former))


async def _close(app: Any, orm_user: orm.User) -> None:
    """Stop the servers of an account, and revoke their tokens as well."""
    user = app.users[orm_user]
    await asyncio.gather(*(_stop(app, user, name) for name in [*user.spawners]))
    _disown(app.db, orm_user)
    app.db.commit()


async def _stop(app: Any, user: Any, name: str) -> None:
    """Stop a server of an account that has no workspace any more, whatever fails at first."""
    spawner = user.spawners[name]
    while spawner.pending or spawner.active:
        if spawner.pending:
            await asyncio.sleep(PENDING_S)
            continue
        app.log.warning(
            "Stopping %s: the workspace is not in hub_workspaces any more. Its files stay, in the volume %s.",
            user.name,
            spawner.home_volume,
        )
        try:
            with context.because("the workspace is not in hub_workspaces any more"):
                await app.proxy.delete_user(user, name)
                await user.stop(name)
        except Exception:
            app.log.exception("%s could not be stopped; retrying in %d s if it still runs", user.name, RETRY_S)
            await asyncio.sleep(RETRY_S)
