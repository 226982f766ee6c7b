"""Which trait of JupyterHub's classes each setting sets."""

from collections.abc import Callable
from typing import Any, NamedTuple

DAY_S = 86400


class Row(NamedTuple):
    """`convert` turns the setting's value into the trait's; `login` is the only authenticator with that trait."""

    setting: str
    cls: str
    trait: str
    convert: Callable[[Any], Any] = lambda value: value
    login: str = ""


ROWS = (
    Row("jupyterhub_name", "UserServerSpawner", "project"),
    Row("hub_authenticator", "JupyterHub", "authenticator_class"),
    Row("hub_allow_all", "Authenticator", "allow_all"),
    Row("hub_allowed_users", "Authenticator", "allowed_users", set),
    Row("hub_admin_users", "Authenticator", "admin_users", set),
    Row("hub_blocked_users", "Authenticator", "blocked_users", set),
    Row("hub_membership_interval_s", "Authenticator", "auth_refresh_age", login="github"),
    Row("hub_github_client_id", "OAuthenticator", "client_id", login="github"),
    Row("hub_github_url", "GitHubOAuthenticator", "github_url", login="github"),
    Row("hub_github_allowed_organizations", "GitHubOAuthenticator", "allowed_organizations", set, "github"),
    # Set on our class, which decides whether groups are managed, as these traits require.
    Row("hub_github_allowed_teams", "GitHubMemberAuthenticator", "allowed_groups", set, "github"),
    Row("hub_github_admin_teams", "GitHubMemberAuthenticator", "admin_groups", set, "github"),
    # In seconds, 0 for no limit; tokens of servers, services and OAuth have their own.
    Row("hub_token_max_age_days", "JupyterHub", "token_expires_in_max_seconds", lambda days: days * DAY_S),
    # JupyterHub takes a limit of 0 as "no limit".
    Row("hub_named_servers_limit", "JupyterHub", "allow_named_servers", lambda limit: limit > 0),
    Row("hub_named_servers_limit", "JupyterHub", "named_server_limit_per_user"),
    Row("hub_start_timeout_s", "Spawner", "http_timeout"),
    Row("hub_server_memory_mb", "Spawner", "mem_limit", lambda megabytes: f"{megabytes}M"),
    Row("hub_server_cpus", "Spawner", "cpu_limit"),
    Row("hub_server_environment", "Spawner", "environment", dict),
    Row("hub_server_pids", "UserServerSpawner", "pids_limit"),
    Row("hub_server_tmp_mb", "UserServerSpawner", "tmp_mb"),
    Row("hub_running_servers_limit", "UserServerSpawner", "running_limit"),
    Row("hub_reserve_memory_mb", "UserServerSpawner", "reserve_memory_mb"),
    Row("hub_reserve_disk_mb", "UserServerSpawner", "reserve_disk_mb"),
    Row("hub_deleted_homes", "UserServerSpawner", "deleted_homes"),
    Row("hub_named_servers_share_home", "UserServerSpawner", "share_home"),
    Row("hub_volume_name_template", "UserServerSpawner", "volume_name_template"),
    Row("images_environments", "UserServerSpawner", "profiles", lambda entries: {each.slug: each for each in entries}),
    Row("hub_default_environment", "UserServerSpawner", "default_profile"),
    Row("hub_sharing", "UserServerSpawner", "sharing"),
    Row("hub_workspaces", "UserServerSpawner", "workspaces", lambda entries: {each.slug: each for each in entries}),
    Row("hub_shared_folders", "UserServerSpawner", "shared_folders", list),
    Row(
        "hub_free_images", "UserServerSpawner", "free_images", lambda images: {name: [*images[name]] for name in images}
    ),
)
"""Used by the Hub's configuration, and by the rule against traits that have a setting."""
