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


async def revoke(app: Any, user: Any) -> None:
    """Stop the servers of a user that have a folder which the user may not use any more; whatever fails."""
    for name, spawner in list(user.spawners.items()):
        try:
            # An operator's own spawner has no such folders.
            if not spawner.active or not isinstance(spawner, SharedFolderSpawner):
                continue
            if not (lost := await spawner.lost_folders()):
                continue
            app.log.warning("Stopping %s, which has shared folders that its user lost: %s", spawner._log_name, lost)
            with context.because("its user lost a shared folder"):
                await stop_server(app, user, name, f"It was stopped, because {lost}. Your own files are kept.")
        except Exception:
            # The next check tries again.
            app.log.exception("%s: its shared folders cannot be checked", spawner._log_name)


async def revoke_all(app: Any) -> None:
    """Do that for all users."""
    await asyncio.gather(*(revoke(app, user) for user in list(app.users.values()) if user.active))


def follow_logins(app: Any) -> None:
    """Do that after each login and check of membership; called once."""
    auth_to_user = BaseHandler.auth_to_user
    tasks: set[asyncio.Task[None]] = set()

    async def checked(handler: Any, authenticated: Any, user: Any = None) -> Any:
        """Store a login or a check of membership (BaseHandler.auth_to_user)."""
        found = await auth_to_user(handler, authenticated, user)
        # The page does not wait for servers to stop; a reference, because the event loop holds only weak ones.
        tasks.add(task := asyncio.create_task(revoke(app, found)))
        task.add_done_callback(tasks.discard)
        return found

    BaseHandler.auth_to_user = checked
