"""Links the shared folders into the home, where JupyterLab and marimo show them as `shared`.

The Hub mounts them outside of it (jupyterhub_ansible.rules.mounts.SHARED).  What has that name otherwise is the user's.
"""

import os
from pathlib import Path

FOLDERS = Path("/srv/shared")
LINK = "shared"


def link(home: Path, folders: Path = FOLDERS) -> str:
    """Make the link, or remove it if there are no folders any more; return what the user should know, or ""."""
    mine = home / LINK
    try:
        if mine.is_symlink() and mine.readlink() == folders:
            if not folders.is_dir():
                mine.unlink()
        elif folders.is_dir():
            if os.path.lexists(mine):
                return (
                    f"The folders that you share with others are in {folders}, and not in your home, since something of"
                    f" yours is called {LINK} there. Rename that, and restart the server."
                )
            mine.symlink_to(folders)
    except OSError as error:
        return f"The link {LINK} to the folders that you share with others, {folders}, cannot be made: {error.strerror}"
    return ""
