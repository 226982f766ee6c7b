"""Leaving means leaving: users who may not be in any more lose their running servers.

JupyterHub asks an authenticator only when a user's request comes (`Authenticator.auth_refresh_age`), and a notebook
that computes needs no requests.
"""

import asyncio
from typing import Any

FIRST_LOOK_S = 10
"""After the Hub's start, when servers that ran before are found again: settings may have changed."""
AT_ONCE = 4
"""Users that are asked for at the same time."""


async def watch(app: Any, interval: float) -> None:
    """Look after all users whose servers run, every `interval` seconds, for as long as the Hub runs."""
    await asyncio.sleep(min(FIRST_LOOK_S, interval))
    while True:
        await look(app)
        await asyncio.sleep(interval)


async def look(app: Any) -> None:
    """Look after all users whose servers run, once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(user: Any) -> None:
        async with room:
            try:
                if not await may_stay(app, user):
                    await end(app, user)
            except Exception:
                # Of one user; the others must be looked after all the same.
                app.log.exception("Membership of %s cannot be looked at", user.name)

    await asyncio.gather(*(one(user) for user in list(app.users.values()) if user.active))


async def may_stay(app: Any, user: Any) -> bool:
    """Return whether a user's servers may run on; they may as long as nothing is known against it.

    Without auth state (the key that encrypts it was lost), or if the account did not give what the settings need to
    know, nothing can be asked: such a user must log in again to reach the Hub, but no server is ended for that.
    """
    authenticator = app.authenticator
    if authenticator.is_blocked(user.name):
        return False
    auth_state = await user.get_auth_state()
    if auth_state is None or not authenticator.can_ask(auth_state):
        return True
    return await authenticator.refresh_user(user) is not False


async def end(app: Any, user: Any) -> None:
    """Stop all servers of a user, whose files stay; the next request meets a login page."""
    user._auth_refreshed = None
    for name, spawner in list(user.spawners.items()):
        if not spawner.active:
            continue
        app.log.warning("Stopping %s: its user may not be in any more. The files stay.", spawner._log_name)
        while spawner.pending:
            await asyncio.sleep(1)
        await app.proxy.delete_user(user, name)
        await user.stop(name)
