"""What users of JupyterLab expect of a user's server beyond Jupyter's own.

Links of the classic notebook lead to the Lab (classic), HTML files can be shown in a frame (framing), error pages lead
back (templates), a kernel that ran out of memory is reported (memory), and users see what fills their home (disk).
"""

import os
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).with_name("templates")


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from . import classic, framing
    from .disk_handler import PATH, DiskHandler
    from .memory import Watch

    classic.install(server.web_app, server.base_url)
    framing.install()
    server.web_app.add_handlers(".*$", [(f"{server.base_url}{PATH}", DiskHandler)])
    # Before jupyter_server's own, whose other templates stay.
    server.web_app.settings["jinja2_env"].loader.searchpath.insert(0, str(TEMPLATES))
    Watch(server.kernel_manager, server.event_logger, os.environ).install()
