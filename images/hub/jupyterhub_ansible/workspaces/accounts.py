"""The account of a workspace, which owns its server and volume, and the roles that let members in.

Both follow from `hub_workspaces` alone.  The account is a user of JupyterHub whose name no login can have: members.py
refuses logins with such a name, whatever the authenticator.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..settings.model import Workspace

PREFIX = "workspace."
_ACCOUNT = re.compile(r"workspace\.[a-z0-9]+(-[a-z0-9]+)*")


def account(slug: str) -> str:
    """Return the name of a workspace's account."""
    return PREFIX + slug


def is_account(username: str) -> bool:
    """Return whether only a workspace can have this name, declared or not."""
    return bool(_ACCOUNT.fullmatch(username))


def slug_of(username: str) -> str:
    """Return the slug of the workspace that has this account; "" for other users."""
    return username.removeprefix(PREFIX) if is_account(username) else ""


def member_role(slug: str) -> str:
    """Return the name of the role that opens a workspace, and shows whether it runs."""
    return account(slug)


def start_role(slug: str) -> str:
    """Return the name of the role that starts and stops a workspace; no slug has a dot."""
    return f"{account(slug)}.start"


def scopes(slug: str) -> dict[str, list[str]]:
    """Return the scopes of a workspace's roles.

    Only for the default server, so that nobody can give a workspace further servers, with volumes of their own.
    """
    name = account(slug)
    seeing = [f"{scope}!user={name}" for scope in ("list:users", "read:users:name", "read:servers")]
    return {
        member_role(slug): [f"access:servers!server={name}/", *seeing],
        start_role(slug): [f"servers!server={name}/"],
    }


def load_roles(workspaces: Iterable["Workspace"]) -> list[dict[str, Any]]:
    """Return the roles for JupyterHub.load_roles, which removes those of workspaces that are not declared any more.

    Only with their groups: JupyterHub would create an account for each user who has never logged in, and knows users by
    one name only.  members.py assigns users.
    """
    return [
        {"name": role, "scopes": given, "groups": sorted(groups)}
        for each in workspaces
        for (role, given), groups in zip(
            scopes(each.slug).items(), (each.groups | each.start_groups, each.groups_that_start), strict=True
        )
    ]


def roles_of(names: Iterable[str], workspaces: Iterable["Workspace"]) -> set[str]:
    """Return the roles that settings give to a user with these names, besides those of the user's groups."""
    theirs = set(names)
    found = set()
    for each in workspaces:
        if theirs & (each.users | each.start_users):
            found.add(member_role(each.slug))
        if theirs & each.users_who_start:
            found.add(start_role(each.slug))
    return found


def timeouts(workspaces: Iterable["Workspace"], of_environments: Mapping[str, int]) -> dict[str, int]:
    """Return the idle timeout of each workspace by slug: its own, or that of its environment."""
    return {
        each.slug: of_environments[each.environment] if each.idle_timeout_s is None else each.idle_timeout_s
        for each in workspaces
    }
