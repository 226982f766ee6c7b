"""The former names of settings in hub.json, before they got the playbook's names."""

from collections.abc import Iterator, Mapping
from typing import Any

RENAMED_IN_HUB_JSON: dict[str, str | dict[str, str]] = {
    "name": "jupyterhub_name",
    "public": {"url": "jupyterhub_url", "address": "jupyterhub_address", "port": "jupyterhub_port"},
    "hub": {"connect_url": "deployment.hub_connect_url"},
    "proxy": {"api_url": "deployment.proxy_api_url", "address": "deployment.proxy_address"},
    "users_network": "deployment.users_network",
    "authenticator": "hub_authenticator",
    "access": {
        "allow_all": "hub_allow_all",
        "allowed_users": "hub_allowed_users",
        "admin_users": "hub_admin_users",
        "blocked_users": "hub_blocked_users",
    },
    "github": {
        "client_id": "hub_github_client_id",
        "url": "hub_github_url",
        "allowed_organizations": "hub_github_allowed_organizations",
        "allowed_teams": "hub_github_allowed_teams",
        "admin_teams": "hub_github_admin_teams",
        "membership_interval_s": "hub_membership_interval_s",
    },
    "environments": "images_environments",
    "default_environment": "hub_default_environment",
    "free_images": "hub_free_images",
    "server": {
        "memory_mb": "hub_server_memory_mb",
        "cpus": "hub_server_cpus",
        "pids": "hub_server_pids",
        "tmp_mb": "hub_server_tmp_mb",
        "environment": "hub_server_environment",
        "start_timeout_s": "hub_start_timeout_s",
        "running_limit": "hub_running_servers_limit",
    },
    "reserve_memory_mb": "hub_reserve_memory_mb",
    "deleted_homes": "hub_deleted_homes",
    "named_servers": {"limit": "hub_named_servers_limit", "share_home": "hub_named_servers_share_home"},
    "culling": {"idle_timeout_s": "hub_idle_timeout_s", "max_age_s": "hub_max_age_s"},
    "tokens": {"max_age_days": "hub_token_max_age_days"},
    "volume_name_template": "hub_volume_name_template",
    "traits": "hub_traits",
}


def old_names(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the old names in use, each with its new name."""
    for name, new in RENAMED_IN_HUB_JSON.items():
        if name not in given:
            continue
        if isinstance(new, str):
            yield name, new
        elif isinstance(given[name], Mapping):
            known = [each for each in given[name] if each in new]
            yield from ((f"{name}.{each}", new[each]) for each in known or new)
        else:
            yield name, ", ".join(new.values())
