"""Login with GitHub: the OAuth app, the server, and the forms of names there."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from ..problems import Finding, shown
from ..registry import Check, Findings, Rules
from .addresses import callback_url, host_of, is_loopback, public_url, wrong_form

rule = Rules()

SECRET_MIN = 20
# GitHub's limit; an underscore is in the logins of managed users, and a hyphen may end an old one.
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
TEAM = re.compile(r"[a-z0-9][a-z0-9_-]*")
LOGINS = ("hub_admin_users", "hub_allowed_users", "hub_blocked_users")
TEAMS = ("hub_github_allowed_teams", "hub_github_admin_teams")


@rule("hub_github_client_id", "hub_authenticator")
def client_id(value: str, authenticator: str) -> Findings:
    """It stands in the address that browsers are sent to."""
    if authenticator != "github":
        return
    if value.isdigit():
        yield Finding(f"is a number: {shown(value)}", "an app has a number, too: take what its page calls Client ID")
    elif not re.fullmatch(r"[\w.-]+", value):
        yield Finding(
            "has characters that no client ID has", "copy it anew from the app's page, without quotes and spaces"
        )


@rule("hub_github_client_secret", "hub_authenticator", "hub_github_client_id??")
def client_secret(value: str, authenticator: str, app: str | None) -> Findings:
    """What was copied wrong is refused by GitHub, at somebody's first login."""
    if authenticator != "github":
        return
    if app is not None and value == app:
        yield Finding("is the client ID", "take the client secret, which the app's page shows once, when it is made")
    elif re.search(r"[\s'\"`]|[^ -~]", value):
        yield Finding("has spaces, quotes or line breaks in it", "copy it anew, and write it on the line of its name")
    elif len(value) < SECRET_MIN:
        yield Finding(
            f"has {len(value)} characters, and GitHub's have 40",
            "copy the whole of it, or generate a new one on the app's page",
        )


@rule("hub_github_url")
def server(value: str) -> Findings:
    """API and login pages are found below it; the client secret is sent there."""
    host = host_of(value)
    if host in ("api.github.com", "www.github.com"):
        yield Finding(f"is not where one logs in: {shown(value)}", "remove it: https://github.com is the default")
    elif wrong := wrong_form(value):
        yield Finding(f"{wrong[0]}: {shown(value)}", wrong[1])
    elif value.startswith("http://") and not _is_near(host):
        yield Finding(
            f"is http, and the client secret is sent there: {shown(value)}", f"write https://{value.partition('//')[2]}"
        )


def _is_near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return is_loopback(host)


@rule("hub_github_callback_url", "jupyterhub_url?", "jupyterhub_address", "jupyterhub_port")
def callback(value: str, url: str | None, address: str, port: int) -> Findings:
    """GitHub refuses to send browsers to any other address than the one that was entered there."""
    wanted = callback_url(public_url(url, address, port))
    if value != wanted and not wanted.startswith("<"):
        yield Finding(
            f"disagrees with {'jupyterhub_url' if url else 'jupyterhub_address'}: {shown(value)}",
            f"it must be {wanted}, here and at GitHub; or correct jupyterhub_url",
        )


def wrong_login(value: str) -> str | None:
    """Return the advice for what is no login name of GitHub; None if it is one."""
    if LOGIN.fullmatch(value):
        return None
    if re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        return "write the login name as in github.com/<login>, not an e-mail address"
    return _meant(value, LOGIN) or "write the login name as in github.com/<login>"


def wrong_organization(value: str) -> str | None:
    """Return the advice for what is no name of an organisation; None if it is one."""
    if ORGANIZATION.fullmatch(value):
        return None
    if ":" in value and not wrong_team(value):
        return "put a team into hub_github_allowed_teams"
    return _meant(value, ORGANIZATION) or "write it as in github.com/<organisation>"


def wrong_team(value: str) -> str | None:
    """Return the advice for what is not organisation:team; None if it is."""
    organization, colon, team = value.partition(":")
    if colon and ORGANIZATION.fullmatch(organization) and TEAM.fullmatch(team):
        return None
    parts = [each for each in re.split(r"[:/]", _address_of(value).removeprefix("@").replace("/teams/", "/")) if each]
    if len(parts) == 2:
        slug = re.sub(r"[^a-z0-9_]+", "-", parts[1].lower()).strip("-")
        if ORGANIZATION.fullmatch(parts[0]) and slug:
            return f'did you mean "{parts[0]}:{slug}"?'
    return 'write "organisation:team", the team as in github.com/orgs/<organisation>/teams/<team>'


def _address_of(value: str) -> str:
    """Return a name without the address that it may have been copied with."""
    return re.sub(r"^(https?://)?([a-z0-9-]+\.)+[a-z]+/(orgs/)?", "", value.strip())


def _meant(value: str, form: re.Pattern[str]) -> str | None:
    """Return the question after a name without what was copied along with it, if that makes it one."""
    name = _address_of(value).strip("@/ ")
    return f'did you mean "{name}"?' if form.fullmatch(name) else None


def _register_tables() -> None:
    """Rules of one form for many settings."""

    def names(setting: str, kind: str, advice: Callable[[str], str | None]) -> Check:
        def check(values: list[str], authenticator: str) -> Findings:
            for index, value in enumerate(values):
                if authenticator == "github" and (fix := advice(value)):
                    yield Finding(f"is no {kind} of GitHub: {shown(value)}", fix, f"{setting}[{index}]")

        return check

    for setting in LOGINS:
        rule(setting, "hub_authenticator")(names(setting, "login name", wrong_login))
    for setting in TEAMS:
        rule(setting, "hub_authenticator")(names(setting, "team", wrong_team))
    setting = "hub_github_allowed_organizations"
    rule(setting, "hub_authenticator")(names(setting, "organisation", wrong_organization))


_register_tables()
