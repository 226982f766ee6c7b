"""Names that look like settings of this project but are not: old ones, other projects' or misspelt ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches

from .problems import Finding, did_you_mean

OURS = re.compile(r"(jupyterhub|preflight|docker|images|network|proxy|hub|ingress)_")
# How similar a name without one of our prefixes must be to count as a typo.
ALIKE = 0.9


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


def unknown(
    names: Collection[str], settings: Collection[str], computed: Collection[str], is_given: Callable[[str], bool]
) -> Iterator[Finding]:
    """Yield the variables that no role reads; their values are never shown.

    `is_given` returns whether the operator set a setting, as opposed to a role's default.
    """
    for name in sorted(set(names) - set(settings) - set(computed)):
        small = name.lower()
        here = RENAMED.get(small)
        ours = OURS.match(small)
        if here and not ours and is_given(here):
            continue  # The operator's own variable, which the setting's value may come from.
        if here:
            yield Finding(f"is called {here} here", f"write {here}", name)
        elif small in MOVED:
            yield Finding("is not a setting here", MOVED[small], name)
        elif ours:
            advice = did_you_mean(name, settings, "remove it (docs/reference/settings.md lists all)")
            yield Finding("there is no such setting", advice, name)
        elif not name.startswith(("ansible_", "__")) and get_close_matches(small, settings, 1, ALIKE):
            yield Finding("there is no such setting", did_you_mean(name, settings, ""), name)
