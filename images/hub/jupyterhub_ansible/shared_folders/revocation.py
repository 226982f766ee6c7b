"""Stop the servers of users who lost a folder that is declared with `at_once`, after a notice.

Otherwise a server has what was allowed at its start.  Looked at whenever a user's groups may have changed: at a login
or check of membership, and at the Hub's start, as settings may have changed.
"""

import asyncio
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler
from sqlalchemy.exc import SQLAlchemyError

from ..audit import context
from ..auth.stopping import stop_server
from ..messages.handlers import Inbox
from ..sharing import grants
from ..workspaces.accounts import is_account, member_role, slug_of
from .spawner import SharedFolderSpawner

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5, 300
"""While the engine does not answer at the Hub's start, it is asked again after so long; each pause is twice as long."""
NOTICE_S = 15
"""Between the message in open pages and the end of a server."""
_SHOWN_S = 60

_looking: set[asyncio.Task[bool]] = set()
_ending: WeakSet[SharedFolderSpawner] = WeakSet()


def look(app: Any, user: Any) -> None:
    """Stop the servers of a user that have a folder which the user may not use any more; return before that."""
    # A reference, because the event loop holds only weak ones.
    _looking.add(task := asyncio.create_task(revoke(app, user)))
    task.add_done_callback(_looking.discard)


async def revoke(app: Any, user: Any) -> bool:
    """Do that; return whether none failed."""
    # An operator's own spawner has no such folders.
    found = [name for name, each in user.spawners.items() if each.active and isinstance(each, SharedFolderSpawner)]
    return all(await asyncio.gather(*(_revoke_in(app, user, name) for name in found)))


async def _revoke_in(app: Any, user: Any, name: str) -> bool:
    spawner = user.spawners[name]
    if spawner in _ending:
        return True
    _ending.add(spawner)
    try:
        if not (lost := await spawner.lost_folders()):
            return True
        server = f"{user.name}'s server {name}".rstrip()
        notice = f"{server} stops in {NOTICE_S} seconds, because {lost}. Save your work."
        await _give_notice(app, spawner, notice)
        # It may have been started anew without the folder, or its user has it again.
        if not spawner.active or not (lost := await spawner.lost_folders()):
            return True
        app.log.warning("Stopping %s, which has shared folders that its user lost: %s", spawner._log_name, lost)
        with context.because("its user lost a shared folder"):
            await stop_server(app, user, name, f"It was stopped, because {lost}. Your own files are kept.")
    except Exception:
        # The next check tries again.
        app.log.exception("%s: its shared folders cannot be checked", spawner._log_name)
        return False
    finally:
        _ending.discard(spawner)
    return True


async def _give_notice(app: Any, spawner: Any, notice: str) -> None:
    """Show a notice for its time; whoever may not use the folder does not keep it because nothing can be stored."""
    try:
        shown = Inbox.messages.notify(users_of(app.db, spawner), notice, _SHOWN_S)
    except SQLAlchemyError:
        app.log.exception("%s: its users cannot be told that it stops", spawner._log_name)
        return
    await asyncio.sleep(NOTICE_S)
    # What they see next is a stopped server, or one without the folder; if it stays, it ends by itself.
    with suppress(SQLAlchemyError):
        Inbox.messages.remove(*shown)


def users_of(db: Any, spawner: Any) -> set[str]:
    """Return the names of all who may use a server: its owner, guests, and the members of a workspace."""
    owner = spawner.user.name
    names = {owner, *(each.user.name for each in grants.guests(spawner.orm_spawner))}
    if is_account(owner) and (role := orm.Role.find(db, member_role(slug_of(owner)))):
        names |= {each.name for each in role.users}
        names |= {each.name for group in role.groups for each in group.users}
    return names


async def revoke_all(app: Any) -> None:
    """Do that for all users, at the Hub's start; again as long as it fails for some, who may not log in for days."""
    pause_s = FIRST_PAUSE_S
    while users := [user for user in list(app.users.values()) if user.active]:
        checked = await asyncio.gather(*(revoke(app, user) for user in users))
        if all(checked):
            return
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def follow_logins(app: Any) -> None:
    """Do that after each login and check of membership; called once."""
    auth_to_user = BaseHandler.auth_to_user

    async def checked(handler: Any, authenticated: Any, user: Any = None) -> Any:
        """Store a login or a check of membership (BaseHandler.auth_to_user)."""
        found = await auth_to_user(handler, authenticated, user)
        look(app, found)
        return found

    BaseHandler.auth_to_user = checked
