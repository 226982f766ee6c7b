"""Who may come in: nobody by mistake, and not everybody by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..problems import Finding, shown
from ..registry import Check, Findings, Rules

rule = Rules()

ALLOWED = ("hub_allowed_users", "hub_github_allowed_organizations", "hub_github_allowed_teams")
ADMINS = ("hub_admin_users", "hub_github_admin_teams")
LISTS = (*ALLOWED, *ADMINS, "hub_blocked_users")
USERS = ("hub_admin_users", "hub_allowed_users", "hub_blocked_users")
# Settings that only one way in reads, with the value by which they are as good as unset.
ONLY_WITH: dict[str, dict[str, Any]] = {
    "github": {
        "hub_github_client_id": None,
        "hub_github_client_secret": None,
        "hub_github_callback_url": None,
        "hub_github_url": "https://github.com",
        "hub_github_allowed_organizations": [],
        "hub_github_allowed_teams": [],
        "hub_github_admin_teams": [],
        "hub_membership_interval_s": 300,
    },
    "shared-password": {"hub_user_password": None, "hub_admin_password": None},
}
NOT_WITH_SHARED_PASSWORD = {
    "hub_allowed_users": [],
    "hub_allow_all": False,
    "hub_admin_users": [],
    "hub_blocked_users": [],
}
# Traits of an authenticator that are settings here: in hub_traits no rule would see them.
TRAITS_OF_SETTINGS = {
    "allow_all": "hub_allow_all",
    "allowed_users": "hub_allowed_users",
    "admin_users": "hub_admin_users",
    "blocked_users": "hub_blocked_users",
    "allowed_organizations": "hub_github_allowed_organizations and hub_github_allowed_teams",
}
# The same of GitHub's alone; other providers are set up by them.
TRAITS_OF_GITHUB = {
    "client_id": "hub_github_client_id",
    "client_secret": "hub_github_client_secret",
    "allowed_groups": "hub_github_allowed_teams",
    "admin_groups": "hub_github_admin_teams",
    "github_url": "hub_github_url",
}
TRAITS_OF_OTHERS = {
    ("JupyterHub", "authenticator_class"): "hub_authenticator",
    ("JupyterHub", "cookie_secret"): "hub_cookie_secret",
    ("JupyterHub", "proxy_auth_token"): "proxy_token",
    ("ConfigurableHTTPProxy", "auth_token"): "proxy_token",
    ("CryptKeeper", "keys"): "hub_crypt_key",
    ("JupyterHub", "bind_url"): "jupyterhub_address and jupyterhub_port",
    ("JupyterHub", "ip"): "jupyterhub_address",
    ("JupyterHub", "port"): "jupyterhub_port",
    ("UserServerSpawner", "profiles"): "images_environments",
    ("UserServerSpawner", "default_profile"): "hub_default_environment",
    ("UserServerSpawner", "free_images"): "hub_free_images",
    ("UserServerSpawner", "pids_limit"): "hub_server_pids",
    ("UserServerSpawner", "tmp_mb"): "hub_server_tmp_mb",
    ("UserServerSpawner", "running_limit"): "hub_running_servers_limit",
    ("UserServerSpawner", "reserve_memory_mb"): "hub_reserve_memory_mb",
    ("UserServerSpawner", "deleted_homes"): "hub_deleted_homes",
    ("UserServerSpawner", "share_home"): "hub_named_servers_share_home",
    ("UserServerSpawner", "volume_name_template"): "hub_volume_name_template",
}
# Where Hub and proxy find each other.
DECIDED = {
    *(("JupyterHub", trait) for trait in ("hub_bind_url", "hub_connect_url", "hub_connect_ip", "hub_ip", "hub_port")),
    *(("ConfigurableHTTPProxy", trait) for trait in ("api_url", "should_start")),
}
# Without them nobody would be looked at again: leaving would not mean leaving.
LOOKS_AGAIN = ("enable_auth_state", "auth_refresh_age")


@rule("hub_authenticator", "hub_traits", "hub_allow_all", *ALLOWED, *ADMINS)
def somebody(value: str, traits: Mapping[str, Any], everybody: bool, *lists: list[str]) -> Findings:
    """Without a word on who may, nobody may: not even who deployed it."""
    if value == "shared-password" or everybody or any(lists) or _has_trait(traits, value, "allow", "admin"):
        return
    ways = "hub_github_allowed_organizations, hub_github_allowed_teams, " if value == "github" else ""
    yield Finding(
        "nobody could: no setting lets anybody in",
        f"set hub_admin_users to who looks after the Hub; others come in by any of {ways}hub_allowed_users, "
        "or hub_allow_all: true for everybody with an account",
        "who may log in",
    )


@rule("hub_authenticator", "hub_traits", "hub_allow_all", *ADMINS, *ALLOWED)
def somebody_is_administrator(
    value: str, traits: Mapping[str, Any], everybody: bool, users: list[str], teams: list[str], *allowed: list[str]
) -> Findings:
    """A Hub without an administrator: nobody sees the admin page, stops a server, or helps a user."""
    if value == "shared-password" or users or teams or _has_trait(traits, value, "admin"):
        return
    if everybody or any(allowed) or _has_trait(traits, value, "allow"):
        teams_too = " or hub_github_admin_teams" if value == "github" else ""
        yield Finding("there is none", f"set hub_admin_users{teams_too}", "administrators")


def _has_trait(classes: Mapping[str, Any], authenticator: str, *prefixes: str) -> bool:
    """Return whether an authenticator's own options let somebody in; GitHub's are all settings here."""
    if authenticator == "github":
        return False
    traits = [trait for each in classes.values() if isinstance(each, Mapping) for trait, value in each.items() if value]
    return any(str(trait).startswith(prefixes) for trait in traits)


@rule("hub_allow_all", *ALLOWED)
def not_all_and_some(everybody: bool, *lists: list[str]) -> Findings:
    """With both, nobody can tell which was meant; in doubt it is not everybody."""
    named = [name for name, value in zip(ALLOWED, lists, strict=True) if value]
    if everybody and named:
        yield Finding(
            f"lets everybody in, so that {', '.join(named)} would count for nothing",
            "remove hub_allow_all, or those",
        )


@rule("hub_traits", "hub_authenticator??")
def settings_in_disguise(classes: Mapping[str, Any], authenticator: str | None) -> Findings:
    """What is a setting is said where it is checked."""
    of_authenticators = TRAITS_OF_SETTINGS | (TRAITS_OF_GITHUB if authenticator == "github" else {})
    for name, traits in classes.items():
        for trait, value in traits.items() if isinstance(traits, Mapping) else ():
            about = f"hub_traits.{name}.{trait}"
            of_authenticator = name.endswith("Authenticator")
            setting = of_authenticators.get(trait) if of_authenticator else TRAITS_OF_OTHERS.get((name, trait))
            if setting:
                yield Finding("has a setting of its own", f"set {setting} instead", about)
            elif (name, trait) in DECIDED:
                yield Finding("is for the deployment to decide", "remove it", about)
            elif of_authenticator and trait == "allow_existing_users" and value:
                yield Finding("lets in who was in once, whoever left meanwhile", "remove it", about)
            elif of_authenticator and trait in LOOKS_AGAIN and not value and authenticator == "github":
                yield Finding("would keep in whoever left the organisation or team", "remove it", about)


def _register_tables() -> None:
    """Rules of one form for many settings."""

    def once(values: list[str]) -> Findings:
        for name, count in Counter(value.strip().casefold() for value in values).items():
            if count > 1:
                yield Finding(f"names {shown(name)} {count} times", "keep one of them")

    def no_blanks(setting: str) -> Check:
        def check(values: list[str], authenticator: str) -> Findings:
            for index, value in enumerate(values):
                # What else a name may be, the authenticator knows; GitHub's have rules of their own.
                if authenticator != "github" and value != value.strip():
                    yield Finding(
                        f"has a space around it: {shown(value)}", f"write {shown(value.strip())}", f"{setting}[{index}]"
                    )

        return check

    def not_blocked(what: str) -> Check:
        def check(values: list[str], blocked: list[str]) -> Findings:
            for name in sorted({each.casefold() for each in values} & {each.casefold() for each in blocked}):
                yield Finding(
                    f"{shown(name)} is {what}, and is in hub_blocked_users, too", "remove the name from one of the two"
                )

        return check

    def only_with(way: str, unset: Any) -> Check:
        def check(value: Any, authenticator: str) -> Findings:
            if authenticator != way and value != unset:
                yield Finding(
                    f"is read with hub_authenticator: {way} alone, and that is {shown(authenticator)}",
                    f"remove it, or set hub_authenticator: {way}",
                )

        return check

    def not_with_shared_password(unset: Any) -> Check:
        def check(value: Any, authenticator: str) -> Findings:
            if authenticator == "shared-password" and value != unset:
                yield Finding(
                    "is not read with hub_authenticator: shared-password, where everybody who knows it is in",
                    "remove it, or set hub_authenticator: github",
                )

        return check

    for setting in LISTS:
        rule(setting)(once)
    for setting in USERS:
        rule(setting, "hub_authenticator")(no_blanks(setting))
    rule("hub_admin_users", "hub_blocked_users")(not_blocked("an administrator"))
    rule("hub_allowed_users", "hub_blocked_users")(not_blocked("allowed"))
    for way, settings in ONLY_WITH.items():
        for setting, unset in settings.items():
            rule(setting, "hub_authenticator")(only_with(way, unset))
    for setting, unset in NOT_WITH_SHARED_PASSWORD.items():
        rule(setting, "hub_authenticator")(not_with_shared_password(unset))


_register_tables()
