"""Reports to the Hub when a user's server was really last in use, and warns the user before it is stopped."""

import asyncio
import os
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_idle"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from .activity import Activity
    from .handlers import PATH, IdleHandler
    from .marimo import Marimo
    from .plan import planned

    app, base_url = server.web_app, server.base_url
    plan = planned(os.environ)
    marimo = Marimo(app, base_url)
    activity = Activity(app, marimo, server.log)
    # JupyterHub's extension reports this to the Hub.
    app.last_activity = activity.last_activity
    log_request = app.settings["log_function"]

    def log_and_count(handler: Any) -> None:
        log_request(handler)
        activity.count_request(handler)

    app.settings["log_function"] = log_and_count
    app.add_handlers(".*$", [(f"{base_url}{PATH}", IdleHandler, {"activity": activity, "plan": plan})])

    async def keep_looking() -> None:
        # By now all extensions are loaded.
        marimo.discount_pages()
        marimo.show_errors()
        while True:
            await asyncio.sleep(plan.look_s)
            try:
                await activity.look()
            except Exception:
                server.log.exception("Checking for activity failed")

    server.io_loop.add_callback(keep_looking)
