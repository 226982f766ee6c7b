"""Who may come in: nobody by mistake, and not everybody by mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..access import also_blocked, everybody_and_some, named_twice
from ..problems import Finding, shown
from ..providers import lets_in
from ..registry import Check, Findings, Rules
from ..traits import refused
from .folders import NOT_TO_BE_MOUNTED, not_to_be_mounted

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


@rule("hub_authenticator", "hub_traits", "hub_allow_all", *ALLOWED, *ADMINS)
def somebody(value: str, traits: Mapping[str, Any], everybody: bool, *lists: list[str]) -> Findings:
    """Without a word on who may, nobody may: not even who deployed it."""
    if value == "shared-password" or everybody or any(lists) or lets_in(traits, value, "allow", "admin"):
        return
    ways = "hub_github_allowed_organizations, hub_github_allowed_teams, " if value == "github" else ""
    yield Finding(
        "nobody could: no setting lets anybody in",
        f"set hub_admin_users to who looks after the Hub; others come in by any of {ways}hub_allowed_users, "
        "or hub_allow_all: true for everybody with an account",
        "who may log in",
    )


@rule("hub_authenticator", "hub_traits", "compose??", "hub_allow_all", *ADMINS, *ALLOWED)
def somebody_is_administrator(
    value: str,
    traits: Mapping[str, Any],
    compose: Any,
    everybody: bool,
    users: list[str],
    teams: list[str],
    *allowed: list[str],
) -> Findings:
    """A Hub without an administrator: nobody sees the admin page, stops a server, or helps a user.

    A Compose application asks for one of administrators and organizations.
    """
    if compose is not None or value == "shared-password" or users or teams or lets_in(traits, value, "admin"):
        return
    if everybody or any(allowed) or lets_in(traits, value, "allow"):
        teams_too = " or hub_github_admin_teams" if value == "github" else ""
        yield Finding("there is none", f"set hub_admin_users{teams_too}", "administrators")


@rule("hub_allow_all", *ALLOWED)
def not_all_and_some(everybody: bool, *lists: list[str]) -> Findings:
    """With both, nobody can tell which was meant; in doubt it is not everybody."""
    for _, what, fix in everybody_and_some("hub_allow_all", everybody, dict(zip(ALLOWED, lists, strict=True))):
        yield Finding(what, fix)


@rule("hub_traits", "hub_authenticator??", *NOT_TO_BE_MOUNTED)
def past_the_settings(classes: Mapping[str, Any], authenticator: str | None, *of_machine: Any) -> Findings:
    """What is a setting is said where it is checked; and what gives servers the machine is said nowhere."""
    for path, what, fix in refused(classes, authenticator, not_to_be_mounted(*of_machine)):
        yield Finding(what, fix, ".".join(("hub_traits", *path)))


def _register_tables() -> None:
    """Rules of one form for many settings."""

    def once(setting: str) -> Check:
        def check(values: list[str]) -> Findings:
            for _, what, fix in named_twice({setting: values}):
                yield Finding(what, fix)

        return check

    def no_blanks(setting: str) -> Check:
        def check(values: list[str], authenticator: str) -> Findings:
            for index, value in enumerate(values):
                # What else a name may be, the authenticator knows; GitHub's have rules of their own.
                if authenticator != "github" and value != value.strip():
                    yield Finding(
                        f"has a space around it: {shown(value)}", f"write {shown(value.strip())}", f"{setting}[{index}]"
                    )

        return check

    def not_blocked(setting: str, what: str) -> Check:
        def check(values: list[str], blocked: list[str]) -> Findings:
            for _, found, fix in also_blocked({setting: (what, values)}, "hub_blocked_users", blocked):
                yield Finding(found, fix)

        return check

    def only_with(way: str, unset: Any) -> Check:
        def check(value: Any, authenticator: str, compose: Any) -> Findings:
            # A Compose application has variables for GitHub that must be set.
            if compose is None and authenticator != way and value != unset:
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
        rule(setting)(once(setting))
    for setting in USERS:
        rule(setting, "hub_authenticator")(no_blanks(setting))
    rule("hub_admin_users", "hub_blocked_users")(not_blocked("hub_admin_users", "an administrator"))
    rule("hub_allowed_users", "hub_blocked_users")(not_blocked("hub_allowed_users", "allowed"))
    for way, settings in ONLY_WITH.items():
        for setting, unset in settings.items():
            rule(setting, "hub_authenticator", "compose??")(only_with(way, unset))
    for setting, unset in NOT_WITH_SHARED_PASSWORD.items():
        rule(setting, "hub_authenticator")(not_with_shared_password(unset))


_register_tables()
