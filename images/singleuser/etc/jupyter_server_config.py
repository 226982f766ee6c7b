"""Settings of a user's server (the Hub's are in images/hub/jupyterhub_config.py)."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import deletable_links
import patient_hub_auth
import read_only_folders
import request_bodies
import user_labextensions
import websocket_tokens
from jupyterhub_lab import exports
from tornado import websocket

if TYPE_CHECKING:
    from traitlets.config import get_config

c = get_config()

# Output of a notebook or marimo can exceed tornado's limit of 10 MiB for a message, and
# would hang.  jupyter-server-proxy (marimo) uses tornado's default.
LARGEST_MESSAGE = 256 * 1024 * 1024
c.ServerApp.tornado_settings = {"websocket_max_message_size": LARGEST_MESSAGE}
websocket._default_max_message_size = LARGEST_MESSAGE

# The Hub does not answer while it is being replaced.
patient_hub_auth.install()

# Client libraries put the token there.
websocket_tokens.install()

# A body beyond what the memory allows would kill the server and all kernels.
request_bodies.install()

# Extensions are enabled in jupyter_server_config.d/zz-jupyterhub.json: the last file there, because packages' own files
# contradict it, and not here, because users' lists are merged into files but would replace a setting of this file.

# Idle kernels without an open page, and terminals, are culled by the server's own timeout (jupyterhub_idle.plan.Plan,
# set by the Hub).  jupyterhub_idle keeps terminals with running jobs.
plan = json.loads(os.environ.get("JUPYTERHUB_IDLE_CULLING", "{}"))
if plan.get("timeout_s"):
    c.MappingKernelManager.cull_idle_timeout = c.TerminalManager.cull_inactive_timeout = plan["timeout_s"]
    c.MappingKernelManager.cull_interval = c.TerminalManager.cull_interval = plan["look_s"]
# Open pages poll kernels for their memory use, which is not activity.
c.MappingKernelManager.untracked_message_types.extend(["usage_request", "usage_reply"])

# Extensions come with the image; no checks for news or updates.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# Front ends of widgets that users install themselves, but not those that need a server extension.
c.LabApp.extra_labextensions_path = [str(Path(os.environ["VIRTUAL_ENV"]) / "share/jupyter/labextensions")]
user_labextensions.install()

# JupyterHub turns the trash off, as it fills the home unseen: what JupyterLab deletes, after its question, is gone.
# Without a trash, folders with files are refused by default.
c.FileContentsManager.always_delete_dir = True
deletable_links.install()
# Folders that others share for reading.
read_only_folders.install()

exports.offer_usable(c)

# marimo runs in the user's environment, as notebooks do, not in one that uv makes.
c.MarimoProxyConfig.marimo_path = "/opt/jupyter/libexec/marimo"
c.MarimoProxyConfig.sandbox = None
c.MarimoProxyConfig.skip_update_check = True
