"""Settings of a user's server.  The Hub's own file is never read here."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import patient_hub_auth
from tornado import websocket

if TYPE_CHECKING:
    from traitlets.config import get_config

c = get_config()

# What a notebook or marimo shows may be larger than tornado's 10 MiB for one
# message: it would hang.  jupyter-server-proxy (marimo) reads tornado's default.
LARGEST_MESSAGE = 256 * 1024 * 1024
c.ServerApp.tornado_settings = {"websocket_max_message_size": LARGEST_MESSAGE}
websocket._default_max_message_size = LARGEST_MESSAGE

# The Hub gives no answer while it is being replaced.
patient_hub_auth.install()

# Which extensions a server has is said in jupyter_server_config.d/zz-jupyterhub.json: it is the last file there, since
# packages' own say the opposite of some, and users' own lists add to it, where a setting of this file would give way.

# What is idle in a server that is not goes as the server would (jupyterhub_idle.plan.Plan, set by the Hub): kernels
# that no page shows, and terminals.  jupyterhub_idle keeps terminals whose jobs run.
plan = json.loads(os.environ.get("JUPYTERHUB_IDLE_CULLING", "{}"))
if plan.get("timeout_s"):
    c.MappingKernelManager.cull_idle_timeout = c.TerminalManager.cull_inactive_timeout = plan["timeout_s"]
    c.MappingKernelManager.cull_interval = c.TerminalManager.cull_interval = plan["look_s"]
# An open page asks kernels for their memory; nobody does anything by that.
c.MappingKernelManager.untracked_message_types.extend(["usage_request", "usage_reply"])

# The image is what is installed: nobody is asked for news or newer releases.
c.LabApp.extension_manager = "readonly"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"

# The front ends of widgets that users install for themselves.
c.LabApp.extra_labextensions_path = [str(Path(os.environ["VIRTUAL_ENV"]) / "share/jupyter/labextensions")]

# marimo runs in the user's environment, as notebooks do, not in one that uv makes.
c.MarimoProxyConfig.marimo_path = "/opt/jupyter/libexec/marimo"
c.MarimoProxyConfig.sandbox = None
c.MarimoProxyConfig.skip_update_check = True
