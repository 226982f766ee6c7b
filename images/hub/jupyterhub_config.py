"""The Hub's configuration: hub.json and the secret files, as JupyterHub's traits.

Each trait is set on the class that defines it, so that `hub_traits`, merged last, win on any subclass.
"""

import sys
from typing import TYPE_CHECKING

from jupyterhub_ansible.auth import tokens
from jupyterhub_ansible.auth.github import GitHubMemberAuthenticator
from jupyterhub_ansible.culling import plan as culling
from jupyterhub_ansible.engine.calls import CONNECTIONS
from jupyterhub_ansible.proxy import sync_routes
from jupyterhub_ansible.proxy.routes import UserProxy
from jupyterhub_ansible.rules.trait_table import ROWS
from jupyterhub_ansible.settings.model import DATABASE_URL, SettingsError, load
from jupyterhub_ansible.spawner import start_page
from jupyterhub_ansible.spawner.containers import PULL_TIMEOUT_S
from jupyterhub_ansible.spawner.spawner import UserServerSpawner

if TYPE_CHECKING:
    from traitlets.config import get_config

try:
    settings, secrets = load()
except SettingsError as error:
    # No traceback: the message is for the one who wrote the settings.
    sys.exit(str(error))

c = get_config()

# --- what the settings say; traits of the GitHub authenticator are none of another one's
for row in ROWS:
    if row.login in ("", settings.hub_authenticator):
        c[row.cls][row.trait] = row.convert(getattr(settings, row.setting))

# --- the Hub, and the proxy that runs in a container of its own
address = settings.jupyterhub_address
c.JupyterHub.bind_url = f"http://{f'[{address}]' if ':' in address else address}:{settings.jupyterhub_port}"
# All addresses, of its own container: the networks decide who reaches it.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = settings.deployment.hub_connect_url
c.JupyterHub.proxy_class = UserProxy
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = settings.deployment.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = secrets.proxy_token
# Replacing the Hub leaves users' servers running.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
# Seconds; a server that was just starting when the last Hub ended waits for this one, and this one for it.
c.JupyterHub.init_spawners_timeout = 3
# Seconds; the Hub gives a restarted proxy its routes back this often.
c.JupyterHub.last_activity_interval = 30
c.JupyterHub.db_url = DATABASE_URL
c.JupyterHub.cookie_secret = secrets.cookie_secret
c.CryptKeeper.keys = list(secrets.crypt_keys)
# Pages of ours, which extend JupyterHub's.
c.JupyterHub.template_paths = [str(start_page.TEMPLATES)]

# --- who may log in
# Else a list of users lets in everybody in the database, too, whoever was taken from it meanwhile.
c.Authenticator.allow_existing_users = False
if settings.hub_authenticator == "shared-password":
    c.Authenticator.allow_all = True
    c.Authenticator.admin_users = {"admin"}
    c.SharedPasswordAuthenticator.user_password = secrets.user_password
    c.SharedPasswordAuthenticator.admin_password = secrets.admin_password
else:
    # What a provider said is kept, encrypted, to ask it again.
    c.Authenticator.enable_auth_state = True
    c.OAuthenticator.oauth_callback_url = f"{settings.jupyterhub_url}/hub/oauth_callback"
if settings.hub_authenticator == "github":
    c.JupyterHub.authenticator_class = GitHubMemberAuthenticator
    # Without a good answer nobody stays, API tokens included; elsewhere a token may just have ended, after an hour.
    c.Authenticator.auth_refresh_strict = True
    c.OAuthenticator.client_secret = secrets.github_client_secret
    c.GitHubMemberAuthenticator.groups_of_environments = set(settings.groups_of_environments)

# --- services: each is in a role of its name, and may do only that
c.JupyterHub.services = [{"name": sync_routes.SERVICE, "api_token": sync_routes.token(secrets.cookie_secret)}]
c.JupyterHub.load_roles = [{"name": sync_routes.SERVICE, "services": [sync_routes.SERVICE], "scopes": ["proxy"]}]
if culler := culling.service(settings, sync_routes.token(secrets.cookie_secret, culling.SERVICE)):
    c.JupyterHub.services.append(culler)
    c.JupyterHub.load_roles.append(
        {"name": culling.SERVICE, "services": [culling.SERVICE], "scopes": list(culling.SCOPES)}
    )
c.UserProxy.tells_activity = {each.slug: each.tells_activity for each in settings.images_environments}
c.UserProxy.default_profile = settings.hub_default_environment

# --- users' servers
c.JupyterHub.spawner_class = UserServerSpawner
# The spawner bounds each of these itself, and says what took too long: the image, room on the machine, the server's
# answer; the rest is for Docker's own work on a busy machine.
c.Spawner.start_timeout = (
    settings.hub_start_timeout_s + 30 + UserServerSpawner.full_wait_s.default_value + PULL_TIMEOUT_S
)
# Those that wait for room would count, and the next one would be refused.
c.JupyterHub.concurrent_spawn_limit = 0
# Seconds; by default a server asks the Hub every five minutes whether a session, or who was let in, is still good.
c.Spawner.args = ["--HubAuth.cache_max_age=30"]
c.Spawner.post_stop_hook = tokens.server_stopped
c.Spawner.environment |= culling.environment(settings)
c.DockerSpawner.network_name = settings.deployment.users_network
# Images are built or pulled by the deployment.
c.DockerSpawner.pull_policy = "never"
c.DockerSpawner.remove = True
c.DockerSpawner.client_kwargs = {"max_pool_size": CONNECTIONS}
# --- pass-through: a dictionary is merged into ours key by key, a list is added to ours, anything else replaces it
for class_name, values in settings.hub_traits.items():
    for trait, value in values.items():
        ours = c[class_name].get(trait)
        if isinstance(ours, dict) and isinstance(value, dict):
            c[class_name][trait] = {**ours, **value}
        elif isinstance(ours, list) and isinstance(value, list):
            # Folders of templates, for one, are searched in this order.
            c[class_name][trait] = [*value, *ours]
        else:
            c[class_name][trait] = value
