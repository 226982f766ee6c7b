"""Checks of GitHub's names, IDs and addresses."""

import re

from .addresses import host_of, is_private, wrong_form
from .formatting import shown

# GitHub's limit; logins of managed users contain an underscore, and old ones may end in a hyphen.
LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")
ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
TEAM = re.compile(r"[a-z0-9][a-z0-9_-]*")


def wrong_client_id(value: str) -> tuple[str, str] | None:
    """Return what is wrong with the client ID of an OAuth app, and the fix; None if it is valid."""
    if value.isdigit():
        return f"is a number: {shown(value)}", "that is the app's number; use the Client ID shown on its page"
    if not re.fullmatch(r"[\w.-]+", value):
        return "has characters that no client ID has", "copy it again from the app's page, without quotes and spaces"
    return None


def wrong_server(url: str) -> tuple[str, str] | None:
    """Return what is wrong with the address of GitHub, and the fix; None if it is valid.

    API and login pages are below it, and the client secret is sent there.
    """
    host = host_of(url)
    if host in ("api.github.com", "www.github.com"):
        return f"is not the address to log in at: {shown(url)}", "remove it: https://github.com is the default"
    if wrong := wrong_form(url):
        return f"{wrong[0]}: {shown(url)}", wrong[1]
    if url.startswith("http://") and not is_private(host):
        what = f"uses http, which would expose the client secret: {shown(url)}"
        return what, f"write https://{url.partition('//')[2]}"
    return None


def wrong_login(value: str) -> str | None:
    """Return the advice for a value that is not a GitHub login name; None if it is one."""
    if LOGIN.fullmatch(value):
        return None
    if re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        return "write the login name as in github.com/<login>, not an e-mail address"
    return _meant(value, LOGIN) or "write the login name as in github.com/<login>"


def wrong_team(value: str) -> str | None:
    """Return the advice for a value that is not organisation:team; None if it is."""
    organization, colon, team = value.partition(":")
    if colon and ORGANIZATION.fullmatch(organization) and TEAM.fullmatch(team):
        return None
    parts = [each for each in re.split(r"[:/]", _address_of(value).removeprefix("@").replace("/teams/", "/")) if each]
    if len(parts) == 2:
        slug = re.sub(r"[^a-z0-9_]+", "-", parts[1].lower()).strip("-")
        if ORGANIZATION.fullmatch(parts[0]) and slug:
            return f'did you mean "{parts[0]}:{slug}"?'
    return 'write "organisation:team", the team as in github.com/orgs/<organisation>/teams/<team>'


def wrong_organization(value: str, teams: str) -> str | None:
    """Return the advice for a value that is not an organisation's name; None if it is one.

    Args:
        value: as the operator wrote it.
        teams: the setting that takes teams.
    """
    if ORGANIZATION.fullmatch(value):
        return None
    if ":" in value and not wrong_team(value):
        return f"put teams into {teams}"
    return _meant(value, ORGANIZATION) or "write it as in github.com/<organisation>"


def wrong_group(group: str, *, github: bool) -> tuple[str, str] | None:
    """Return what is wrong with a group's name, and the fix; None if it is valid."""
    if github and (fix := wrong_team(group)):
        return "is not a GitHub team", fix
    if github and group != group.lower():
        return "must be lower case, like the Hub's groups", f"write {shown(group.lower())}"
    if group != group.strip():
        return "has leading or trailing spaces", f"write {shown(group.strip())}"
    return None


def _address_of(value: str) -> str:
    """Return a name without the GitHub URL that it may have been copied with."""
    return re.sub(r"^(https?://)?([a-z0-9-]+\.)+[a-z]+/(orgs/)?", "", value.strip())


def _meant(value: str, form: re.Pattern[str]) -> str | None:
    """Return "did you mean ...?" if the value is a valid name once URL, @ and spaces are removed."""
    name = _address_of(value).strip("@/ ")
    return f'did you mean "{name}"?' if form.fullmatch(name) else None
