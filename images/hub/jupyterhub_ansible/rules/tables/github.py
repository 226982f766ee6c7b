"""Login with GitHub: the OAuth app, the server, and names of users, teams and organisations."""

from __future__ import annotations

from collections.abc import Callable

from ..addresses import callback_url
from ..github import (
    wrong_client_id,
    wrong_login,
    wrong_organization,
    wrong_server,
    wrong_team,
)
from ..problems import Finding, shown
from ..registry import Check, Findings, Rules
from ..secrets import wrong_client_secret
from .addresses import public_url

rule = Rules()

LOGINS = ("hub_admin_users", "hub_allowed_users", "hub_blocked_users")
TEAMS = ("hub_github_allowed_teams", "hub_github_admin_teams")


@rule("hub_github_client_id", "hub_authenticator")
def client_id(value: str, authenticator: str) -> Findings:
    """It is part of the URL that browsers are redirected to."""
    if authenticator == "github" and (wrong := wrong_client_id(value)):
        yield Finding(*wrong)


@rule("hub_github_client_secret", "hub_authenticator", "hub_github_client_id??")
def client_secret(value: str, authenticator: str, app: str | None) -> Findings:
    """GitHub would refuse a wrong one only at the first login."""
    if authenticator == "github" and (wrong := wrong_client_secret(value, app)):
        yield Finding(*wrong)


@rule("hub_github_url")
def server(value: str) -> Findings:
    """API and login pages are below it, and the client secret is sent there."""
    if wrong := wrong_server(value):
        yield Finding(*wrong)


@rule("hub_github_callback_url", "jupyterhub_url?", "jupyterhub_address", "jupyterhub_port")
def callback(value: str, url: str | None, address: str, port: int) -> Findings:
    """GitHub redirects browsers only to the URL that is registered with the OAuth app."""
    wanted = callback_url(public_url(url, address, port))
    if value != wanted and not wanted.startswith("<"):
        yield Finding(
            f"does not match {'jupyterhub_url' if url else 'jupyterhub_address'}: {shown(value)}",
            f"write {wanted} here and at GitHub, or correct jupyterhub_url",
        )


def _register_tables() -> None:
    """Register rules that are the same for many settings."""

    def names(setting: str, kind: str, advice: Callable[[str], str | None]) -> Check:
        def check(values: list[str], authenticator: str) -> Findings:
            for index, value in enumerate(values):
                if authenticator == "github" and (fix := advice(value)):
                    yield Finding(f"is not a GitHub {kind}: {shown(value)}", fix, f"{setting}[{index}]")

        return check

    for setting in LOGINS:
        rule(setting, "hub_authenticator")(names(setting, "login name", wrong_login))
    for setting in TEAMS:
        rule(setting, "hub_authenticator")(names(setting, "team", wrong_team))
    setting = "hub_github_allowed_organizations"
    rule(setting, "hub_authenticator")(
        names(setting, "organisation", lambda value: wrong_organization(value, TEAMS[0]))
    )


_register_tables()
