"""Keeps versions of the files that a user saves, lists and compares them, and brings them back."""

import os
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_versions"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from .limits import limits

    root = getattr(server.contents_manager, "root_dir", None)
    limit = limits(os.environ)
    if not limit or not root:
        return
    from .handlers import PATH, VersionsHandler
    from .ring import Ring
    from .watch import Watch

    app, base_url = server.web_app, server.base_url
    ring = Ring(root, limit)
    watch = Watch(ring, base_url, server.log)
    server.contents_manager.register_post_save_hook(watch.file_saved)
    log_request = app.settings["log_function"]

    def log_and_watch(handler: Any) -> None:
        log_request(handler)
        watch.request_done(handler)

    app.settings["log_function"] = log_and_watch
    app.add_handlers(".*$", [(f"{base_url}{PATH}/(.*)", VersionsHandler, {"ring": ring})])
    # For the Lab extension, which would otherwise offer what there is not.
    app.settings.setdefault("page_config_data", {})["jupyterhubVersions"] = "true"
