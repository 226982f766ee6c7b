"""Stop the servers of users who are no longer members.

JupyterHub refreshes a user only on a request (`Authenticator.auth_refresh_age`), but a computing notebook makes none.
"""

import asyncio
from functools import partial
from typing import Any

from ..audit import context
from ..background import repeat
from ..shared_folders import revocation
from .stopping import stop_server

FIRST_CHECK_S = 10
"""After the Hub's start, when running servers have been taken over: settings may have changed."""
CONCURRENCY = 4
"""Users that are checked at the same time."""


async def watch(app: Any, interval: float) -> None:
    """Check all users with running servers, every `interval` seconds."""
    await asyncio.sleep(min(FIRST_CHECK_S, interval))
    await repeat(partial(check_all, app), interval, app.log, "Memberships cannot be checked")


async def check_all(app: Any) -> None:
    """Check all users with running servers once."""
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(user: Any) -> None:
        async with room:
            try:
                if await may_stay(app, user):
                    # Not awaited: it gives notice, and the next user may have to be stopped.
                    revocation.look(app, user)
                else:
                    await stop_servers(app, user)
            except Exception:
                # The other users must be checked nevertheless.
                app.log.exception("Membership of %s cannot be checked", user.name)

    await asyncio.gather(*(one(user) for user in list(app.users.values()) if user.active))


async def may_stay(app: Any, user: Any) -> bool:
    """Return whether a user's servers may continue to run; in doubt, they may.  Update the user's groups.

    Without auth state (if its encryption key was lost), or without the scopes that settings need, membership cannot be
    checked: such users must log in again to reach the Hub, but their servers are not stopped.
    """
    authenticator = app.authenticator
    if authenticator.is_blocked(user.name):
        return False
    auth_state = await user.get_auth_state()
    if auth_state is None or not authenticator.has_required_scopes(auth_state):
        return True
    model = await authenticator.refresh_user(user)
    if isinstance(model, dict) and authenticator.manage_groups:
        user.sync_groups(model["groups"])
    return model is not False


async def stop_servers(app: Any, user: Any) -> None:
    """Stop all servers of a user, whose files stay; the next request leads to the login page."""
    user._auth_refreshed = None
    for name, spawner in list(user.spawners.items()):
        if spawner.active:
            app.log.warning("Stopping %s: its user may not be in any more. The files stay.", spawner._log_name)
            with context.because("the user may not be in any more"):
                await stop_server(app, user, name)
