"""Stop a server that its user did not stop."""

import asyncio
from typing import Any

PENDING_S = 1


async def stop_server(app: Any, user: Any, name: str, why: str = "") -> None:
    """Stop a server after its start, if that is under way; the files stay.

    Args:
        app: JupyterHub.
        user: whose server it is.
        name: of the server.
        why: for the page and the card of the stopped server.
    """
    spawner = user.spawners[name]
    while spawner.pending:
        await asyncio.sleep(PENDING_S)
    if spawner.active:
        if why:
            spawner.ended = why
        await app.proxy.delete_user(user, name)
        await user.stop(name)
