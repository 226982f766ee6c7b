"""Who may log in: neither nobody nor everyone by mistake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..problems import Finding, shown
from ..providers import allows_anyone
from ..registry import Check, Findings, Rules
from ..traits import refused
from .folders import READ_FOR_MOUNTS, protected_by_settings

rule = Rules()

ALLOWED = ("hub_allowed_users", "hub_github_allowed_organizations", "hub_github_allowed_teams")
ADMINS = ("hub_admin_users", "hub_github_admin_teams")
LISTS = (*ALLOWED, *ADMINS, "hub_blocked_users")
USERS = ("hub_admin_users", "hub_allowed_users", "hub_blocked_users")
# Settings that only one authenticator reads, with the value that counts as unset.
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


@rule("hub_authenticator", "hub_traits", "hub_allow_all", *ALLOWED, *ADMINS)
def someone_may_log_in(value: str, traits: Mapping[str, Any], allow_all: bool, *lists: list[str]) -> Findings:
    """By default nobody may, not even the operator."""
    if value == "shared-password" or allow_all or any(lists) or allows_anyone(traits, value, "allow", "admin"):
        return
    lists_of_github = "hub_github_allowed_organizations, hub_github_allowed_teams, " if value == "github" else ""
    yield Finding(
        "nobody could log in: no setting allows anyone",
        f"set hub_admin_users to the Hub's administrators; allow others by {lists_of_github}hub_allowed_users, "
        "or hub_allow_all: true for everyone with an account",
        "access",
    )


@rule("hub_authenticator", "hub_traits", "compose??", "hub_allow_all", *ADMINS, *ALLOWED)
def someone_is_administrator(
    value: str,
    traits: Mapping[str, Any],
    compose: Any,
    allow_all: bool,
    users: list[str],
    teams: list[str],
    *allowed: list[str],
) -> Findings:
    """Without an administrator nobody could use the admin page, stop a server or help a user.

    A Compose application requires only that administrators or organisations are set.
    """
    if compose is not None or value == "shared-password" or users or teams or allows_anyone(traits, value, "admin"):
        return
    if allow_all or any(allowed) or allows_anyone(traits, value, "allow"):
        teams_too = " or hub_github_admin_teams" if value == "github" else ""
        yield Finding("the Hub would have none", f"set hub_admin_users{teams_too}", "administrators")


@rule("hub_allow_all", *ALLOWED)
def allow_all_excludes_lists(allow_all: bool, *lists: list[str]) -> Findings:
    """With both it is unclear which was meant, and a wrong guess could let everyone in."""
    named = [name for name, names in zip(ALLOWED, lists, strict=True) if names]
    if allow_all and named:
        yield Finding(
            f"lets everyone in, so {', '.join(named)} would have no effect",
            f"remove hub_allow_all, or {' and '.join(named)}",
        )


@rule(
    "hub_sharing",
    "hub_authenticator",
    "hub_github_allowed_organizations",
    "hub_github_allowed_teams",
    "hub_github_admin_teams",
    "hub_free_images",
    "images_environments",
    "hub_workspaces",
    "hub_shared_folders",
)
def groups_to_share_within(value: str, authenticator: str, *naming_teams: Any) -> Findings:
    """Users' teams are asked for only if a setting needs them."""
    *lists, environments, workspaces, folders = naming_teams
    entries = (*environments, *workspaces, *folders)
    named = any(each.get(key) for each in entries for key in ("groups", "start_groups", "read_groups"))
    if value == "groups" and authenticator == "github" and not (any(lists) or named):
        yield Finding(
            "nobody would have a group: no setting names an organisation or team, so the Hub does not ask for teams",
            "name the teams or the organisation in hub_github_allowed_teams or hub_github_allowed_organizations,"
            " or set hub_sharing: everybody",
        )


@rule("hub_traits", "hub_authenticator??", *READ_FOR_MOUNTS)
def no_bypass_by_traits(classes: Mapping[str, Any], authenticator: str | None, *of_machine: Any) -> Findings:
    """Settings are set where they are checked, and nothing may give servers control of the machine."""
    for path, what, fix in refused(classes, authenticator, protected_by_settings(*of_machine)):
        yield Finding(what, fix, ".".join(("hub_traits", *path)))


def _register_tables() -> None:
    """Register rules that are the same for many settings."""

    def no_duplicates(values: list[str]) -> Findings:
        for name, count in Counter(each.strip().casefold() for each in values).items():
            if count > 1:
                yield Finding(f"lists {shown(name)} {count} times", "keep one of them")

    def no_blanks(setting: str) -> Check:
        def check(values: list[str], authenticator: str) -> Findings:
            for index, value in enumerate(values):
                # Anything else only the authenticator can check; GitHub's names have rules of their own.
                if authenticator != "github" and value != value.strip():
                    yield Finding(
                        f"has leading or trailing spaces: {shown(value)}",
                        f"write {shown(value.strip())}",
                        f"{setting}[{index}]",
                    )

        return check

    def not_blocked(role: str) -> Check:
        def check(values: list[str], blocked: list[str]) -> Findings:
            for name in sorted({each.casefold() for each in values} & {each.casefold() for each in blocked}):
                yield Finding(
                    f"{shown(name)} is {role} but also in hub_blocked_users", "remove the name from one of the two"
                )

        return check

    def only_with(login: str, unset: Any) -> Check:
        def check(value: Any, authenticator: str, compose: Any) -> Findings:
            # A Compose application has variables for GitHub that must be set.
            if compose is None and authenticator != login and value != unset:
                yield Finding(
                    f"only applies with hub_authenticator: {login}, but hub_authenticator is {shown(authenticator)}",
                    f"remove it, or set hub_authenticator: {login}",
                )

        return check

    def not_with_shared_password(unset: Any) -> Check:
        def check(value: Any, authenticator: str) -> Findings:
            if authenticator == "shared-password" and value != unset:
                yield Finding(
                    "has no effect with hub_authenticator: shared-password, which lets in anyone who has the password",
                    "remove it, or set hub_authenticator: github",
                )

        return check

    for setting in LISTS:
        rule(setting)(no_duplicates)
    for setting in USERS:
        rule(setting, "hub_authenticator")(no_blanks(setting))
    rule("hub_admin_users", "hub_blocked_users")(not_blocked("an administrator"))
    rule("hub_allowed_users", "hub_blocked_users")(not_blocked("allowed"))
    for login, settings in ONLY_WITH.items():
        for setting, unset in settings.items():
            rule(setting, "hub_authenticator", "compose??")(only_with(login, unset))
    for setting, unset in NOT_WITH_SHARED_PASSWORD.items():
        rule(setting, "hub_authenticator")(not_with_shared_password(unset))


_register_tables()
