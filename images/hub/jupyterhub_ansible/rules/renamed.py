"""Former names of settings, and names in other projects, with what to write instead."""

from __future__ import annotations

# Other projects' and former names, with the name here.
RENAMED = {
    "github_client_id": "hub_github_client_id",
    "github_client_secret": "hub_github_client_secret",
    "oauth_client_id": "hub_github_client_id",
    "oauth_client_secret": "hub_github_client_secret",
    "oauth_callback_url": "hub_github_callback_url",
    "allowed_github_orgs": "hub_github_allowed_organizations",
    "hub_github_organizations": "hub_github_allowed_organizations",
    "hub_github_allowed_orgs": "hub_github_allowed_organizations",
    "hub_github_teams": "hub_github_allowed_teams",
    "admin_github_users": "hub_admin_users",
    "hub_admins": "hub_admin_users",
    "hub_github_admin_users": "hub_admin_users",
    "jupyterhub_admin_users": "hub_admin_users",
    "hub_github_allowed_users": "hub_allowed_users",
    "jupyterhub_allowed_users": "hub_allowed_users",
    "jupyterhub_authenticator": "hub_authenticator",
    "jupyterhub_domain": "jupyterhub_url",
    "hub_url": "jupyterhub_url",
    "jupyterhub_cookie_secret": "hub_cookie_secret",
    "jupyterhub_crypt_key": "hub_crypt_key",
    "configproxy_auth_token": "proxy_token",
    "proxy_users_subnet": "network_users_subnet",
}
# Names whose purpose is served in another way here.
MOVED = {
    "docker_log_max_files": 'write docker_daemon_settings: {log-opts: {max-file: "3"}}',
    "docker_log_max_size_mb": "write docker_daemon_settings: {log-opts: {max-size: 10m}}",
    "docker_notebook_image": 'give images_environments an entry with "image"',
    "docker_notebook_image_base": 'give images_environments an entry with "image"',
    "docker_notebook_image_datascience": 'give images_environments an entry with "image"',
    "hub_image": "remove it: the Hub's image is built, from images/hub",
    "hub_server_image": 'give images_environments an entry with "image"',
    "jupyterhub_config": "write traits into hub_traits, as {Class: {trait: value}}",
}
