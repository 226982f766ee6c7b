"""Live collaboration in a workspace: what jupyter-collaboration lacks for people to rely on it."""

from datetime import UTC, datetime
from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyterhub_collaboration"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from jupyter_server.base.websocket import WebSocketMixin
    from jupyter_server_ydoc.app import YDocExtension
    from jupyter_server_ydoc.handlers import YDocWebSocketHandler
    from jupyter_server_ydoc.rooms import YDOCS, YFILE, DocumentRoom, YDocNotFound
    from pycrdt import merge_updates

    from . import colors, recovery, saving

    times = server.web_app.settings["last_activity_times"]

    def note() -> None:
        """Record activity: what people type comes by a websocket, not by requests (jupyterhub_idle.activity)."""
        times["jupyterhub_collaboration"] = datetime.now(UTC)

    def new_document(file_type: str) -> Any:
        return YDOCS.get(file_type, YFILE)()

    # As for kernels and terminals.  Upstream accepts connections from pages of every origin, such as HTML in a sandbox,
    # and browsers may send the cookies along.
    YDocWebSocketHandler.check_origin = WebSocketMixin.check_origin
    server.identity_provider.identity_model = colors.colored(server.identity_provider.identity_model)
    # Before the first document is opened.
    DocumentRoom._maybe_save_document = saving.steadily(DocumentRoom._maybe_save_document, note)
    DocumentRoom.initialize = recovery.from_store(DocumentRoom.initialize, new_document, YDocNotFound, merge_updates)
    YDocExtension.stop_extension = saving.saving_first(YDocExtension.stop_extension)
