"""Stock JupyterHub and DockerSpawner, with only the options that a Hub in a container needs.

The limits are the same as those of our servers, so that both start under the same conditions.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traitlets.config import get_config

c = get_config()

name = os.environ["BENCH_NAME"]

c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = f"{name}-hub"
# A login must not start a server, as starts are what is measured.
c.JupyterHub.default_url = "/hub/home"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = f"http://{name}-proxy:8001"

c.JupyterHub.authenticator_class = "shared-password"
c.Authenticator.allow_all = True
c.SharedPasswordAuthenticator.user_password = os.environ["BENCH_PASSWORD"]

c.JupyterHub.spawner_class = "dockerspawner.DockerSpawner"
c.DockerSpawner.image = os.environ["BENCH_IMAGE"]
# One image is pulled while another user's server starts.
c.DockerSpawner.allowed_images = "*"
c.DockerSpawner.prefix = name
c.DockerSpawner.network_name = name
c.DockerSpawner.remove = True
c.DockerSpawner.notebook_dir = "/home/jovyan"
c.DockerSpawner.volumes = {f"{name}-{{username}}": "/home/jovyan"}
c.Spawner.mem_limit = os.environ["BENCH_MEMORY"]
c.Spawner.cpu_limit = float(os.environ["BENCH_CPUS"])
# Starts must not time out on a busy machine.
c.Spawner.http_timeout = 120
c.Spawner.start_timeout = 120
