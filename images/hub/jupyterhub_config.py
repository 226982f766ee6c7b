"""The Hub's configuration: hub.json and the secret files, as JupyterHub's traits.

Each trait is set on the class that defines it, so that `hub_traits`, merged last, win on any subclass.
"""

import os
import sys
from typing import TYPE_CHECKING

from jupyterhub_ansible.auth.github import GitHubMemberAuthenticator
from jupyterhub_ansible.culling import plan as culling
from jupyterhub_ansible.engine.calls import CONNECTIONS
from jupyterhub_ansible.proxy import sync_routes
from jupyterhub_ansible.proxy.routes import UserProxy
from jupyterhub_ansible.rules.trait_table import ROWS
from jupyterhub_ansible.settings import own_files
from jupyterhub_ansible.settings.model import DATABASE_URL, SettingsError, load, secrets_folder
from jupyterhub_ansible.shared_folders import access
from jupyterhub_ansible.sharing import cards as shared_cards
from jupyterhub_ansible.spawner import server_cards, start_page, versions
from jupyterhub_ansible.spawner.containers import PULL_TIMEOUT_S
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from jupyterhub_ansible.web import outgoing
from jupyterhub_ansible.workspaces import accounts, cards

if TYPE_CHECKING:
    from traitlets.config import get_config

# The engine is that of the mounted socket.  DockerSpawner would follow these variables of a Compose application.
for name in ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
    os.environ.pop(name, None)

try:
    settings, secrets = load()
    outgoing.use(secrets_folder())
except (SettingsError, outgoing.ProxyError) as error:
    # Without a traceback: the message is for the operator.
    sys.exit(str(error))

c = get_config()

# --- traits from settings; rows with a login apply only to that authenticator
for row in ROWS:
    if row.login in ("", settings.hub_authenticator):
        c[row.cls][row.trait] = row.convert(getattr(settings, row.setting))

# --- the Hub, and the proxy that runs in a container of its own
address = settings.jupyterhub_address
c.JupyterHub.bind_url = f"http://{f'[{address}]' if ':' in address else address}:{settings.jupyterhub_port}"
# All addresses of its own container: the networks limit who can reach it.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = settings.deployment.hub_connect_url
c.JupyterHub.proxy_class = UserProxy
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = settings.deployment.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = secrets.proxy_token
# Replacing the Hub leaves users' servers running.
c.JupyterHub.cleanup_servers = False
c.JupyterHub.cleanup_proxy = False
# Seconds; short, because a server whose start the last Hub did not finish waits for this Hub, and this Hub for it.
c.JupyterHub.init_spawners_timeout = 3
# Seconds; the Hub restores missing routes of a restarted proxy this often.
c.JupyterHub.last_activity_interval = 30
c.JupyterHub.db_url = DATABASE_URL
c.JupyterHub.cookie_secret = secrets.cookie_secret
c.CryptKeeper.keys = list(secrets.crypt_keys)
# Our templates, which extend JupyterHub's.
c.JupyterHub.template_paths = [str(start_page.TEMPLATES)]

# --- who may log in
# Otherwise a list of users also allows every user in the database, even those removed from the list.
c.Authenticator.allow_existing_users = False
# Settings with which nobody could log in are refused (rules.tables.access).  Where only administrators can, JupyterHub
# would log the advice to let everybody in.
c.Authenticator.any_allow_config = True
if settings.hub_authenticator == "shared-password":
    c.Authenticator.allow_all = True
    c.Authenticator.admin_users = {"admin"}
    c.SharedPasswordAuthenticator.user_password = secrets.user_password
    c.SharedPasswordAuthenticator.admin_password = secrets.admin_password
else:
    # The provider's tokens are stored, encrypted, for later checks.
    c.Authenticator.enable_auth_state = True
    c.OAuthenticator.oauth_callback_url = f"{settings.jupyterhub_url}/hub/oauth_callback"
if settings.hub_authenticator == "github":
    c.JupyterHub.authenticator_class = GitHubMemberAuthenticator
    # A user who fails the check loses access, API tokens included.  Not for other providers, whose tokens may just have
    # expired after an hour.
    c.Authenticator.auth_refresh_strict = True
    c.OAuthenticator.client_secret = secrets.github_client_secret
    c.GitHubMemberAuthenticator.groups_with_access = set(settings.groups_with_access)

# --- services: each has only the scopes of the role with its name
c.JupyterHub.services = [{"name": sync_routes.SERVICE, "api_token": sync_routes.token(secrets.cookie_secret)}]
c.JupyterHub.load_roles = [{"name": sync_routes.SERVICE, "services": [sync_routes.SERVICE], "scopes": ["proxy"]}]
if culler := culling.service(settings, sync_routes.token(secrets.cookie_secret, culling.SERVICE)):
    c.JupyterHub.services.append(culler)
    c.JupyterHub.load_roles.append(
        {"name": culling.SERVICE, "services": [culling.SERVICE], "scopes": list(culling.SCOPES)}
    )
# --- the user's own servers, workspaces and shared folders on pages; the roles that let members into those
c.JupyterHub.load_roles += accounts.load_roles(settings.hub_workspaces)
c.JupyterHub.template_vars = {
    "own_servers": server_cards.of(settings),
    "shared_with_me": shared_cards.of,
    "workspaces": cards.of(settings.hub_workspaces),
    "has_workspaces": bool(settings.hub_workspaces),
    "shared_folders": access.shown(settings.hub_shared_folders),
}
c.UserProxy.tells_activity = {each.slug: each.tells_activity for each in settings.images_environments}
c.UserProxy.default_profile = settings.hub_default_environment

# --- users' servers
c.JupyterHub.spawner_class = UserServerSpawner
# The spawner has its own limits for the image, for free memory and for the server's answer, with better messages; the
# rest is for Docker on a busy machine.
c.Spawner.start_timeout = (
    settings.hub_start_timeout_s + 30 + UserServerSpawner.full_wait_s.default_value + PULL_TIMEOUT_S
)
# No limit: starts that wait for memory would count, and further ones would be refused.
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.environment |= {**culling.environment(settings), **versions.environment(settings)}
c.DockerSpawner.network_name = settings.deployment.users_network
# Images are built or pulled by the deployment.
c.DockerSpawner.pull_policy = "never"
c.DockerSpawner.remove = True
c.DockerSpawner.client_kwargs = {"max_pool_size": CONNECTIONS}
# --- hub_traits: dictionaries are merged into ours, lists are put before ours, anything else replaces ours
for class_name, values in settings.hub_traits.items():
    for trait, value in values.items():
        ours = c[class_name].get(trait)
        if isinstance(ours, dict) and isinstance(value, dict):
            c[class_name][trait] = {**ours, **value}
        elif isinstance(ours, list) and isinstance(value, list):
            # First, because template folders, for example, are searched in order.
            c[class_name][trait] = [*value, *ours]
        else:
            c[class_name][trait] = value
# --- the operator's own jupyterhub_config.py
try:
    own_files.run(c, settings)
except SettingsError as error:
    sys.exit(str(error))
