"""Settings of a workspace's server with live collaboration, besides those of every server."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.paths import jupyter_data_dir

if TYPE_CHECKING:
    from traitlets.config import get_config

c = get_config()

# On the server's own volume, as a page that reconnects after a restart needs what the server knew; but hidden from
# JupyterLab, whose root is the home.
state = Path(jupyter_data_dir()) / "collaboration"
try:
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=state) as trial:
        # A full disk may have room for a byte.
        trial.write(bytes(100_000))
except OSError:
    # A full home must keep neither the server from starting nor files from being opened.
    state = Path(tempfile.mkdtemp())
c.SQLiteYStore.db_path = str(state / "documents.db")
c.YDocExtension.session_store_path = str(state / "sessions.json")
c.BaseFileIdManager.db_path = str(state / "files.db")

# The history of a document that nobody has changed for an hour becomes one entry.
c.SQLiteYStore.squash_after_inactivity_of = 3600

# A document stays in memory for a day after its last page was closed or fell asleep; after that, it is loaded from the
# store.  Not for ever: it takes three times the memory of its file, which is looked at every second.
c.YDocExtension.document_cleanup_delay = 86400
