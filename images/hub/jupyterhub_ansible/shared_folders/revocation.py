"""Stop the servers of users who lost a folder that is declared with `at_once`.

Otherwise a server has what was allowed at its start.  Looked at whenever a user's groups may have changed: at a login
or check of membership, and at the Hub's start, as settings may have changed.
"""

import asyncio
from typing import Any

from jupyterhub.handlers.base import BaseHandler

from ..audit import context
from ..auth.stopping import stop_server
from .spawner import SharedFolderSpawner

FIRST_PAUSE_S, LONGEST_PAUSE_S = 5, 300
"""While the engine does not answer at the Hub's start, it is asked again after so long; each pause is twice as long."""


async def revoke(app: Any, user: Any) -> bool:
    """Stop the servers of a user that have a folder which the user may not use any more; return whether none failed."""
    return all([await _revoke_in(app, user, name) for name in list(user.spawners)])


async def _revoke_in(app: Any, user: Any, name: str) -> bool:
    spawner = user.spawners[name]
    # An operator's own spawner has no such folders.
    if not isinstance(spawner, SharedFolderSpawner):
        return True
    try:
        if spawner.active and (lost := await spawner.lost_folders()):
            app.log.warning("Stopping %s, which has shared folders that its user lost: %s", spawner._log_name, lost)
            with context.because("its user lost a shared folder"):
                await stop_server(app, user, name, f"It was stopped, because {lost}. Your own files are kept.")
    except Exception:
        # The next check tries again.
        app.log.exception("%s: its shared folders cannot be checked", spawner._log_name)
        return False
    return True


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
    tasks: set[asyncio.Task[bool]] = set()

    async def checked(handler: Any, authenticated: Any, user: Any = None) -> Any:
        """Store a login or a check of membership (BaseHandler.auth_to_user)."""
        found = await auth_to_user(handler, authenticated, user)
        # The page does not wait for servers to stop; a reference, because the event loop holds only weak ones.
        tasks.add(task := asyncio.create_task(revoke(app, found)))
        task.add_done_callback(tasks.discard)
        return found

    BaseHandler.auth_to_user = checked
