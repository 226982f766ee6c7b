"""Who may use which shared folder, and what users see of that (templates/shared_folders.html)."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from jupyterhub import orm

from ..auth.names import names_of
from ..settings.model import SharedFolder
from ..workspaces.accounts import is_account, slug_of


class Grant(NamedTuple):
    """A shared folder that somebody may use, and whether they may write there."""

    folder: SharedFolder
    writable: bool


def grants(folders: Iterable[SharedFolder], names: Collection[str], groups: Collection[str]) -> list[Grant]:
    """Return what a user may use who has these names and is in these groups."""
    found = []
    for each in folders:
        writable = not each.users.isdisjoint(names) or not each.groups.isdisjoint(groups)
        if writable or each.read_all or not (each.read_users.isdisjoint(names) and each.read_groups.isdisjoint(groups)):
            found.append(Grant(each, writable))
    return found


def of_workspace(folders: Iterable[SharedFolder], slug: str) -> list[Grant]:
    """Return what all members of a workspace may use in its server."""
    return [Grant(each, slug in each.workspaces) for each in folders if each.read_all or slug in each.workspaces]


def of_user(folders: Iterable[SharedFolder], user: Any, authenticator: Any) -> list[Grant]:
    """Return what a user or the account of a workspace may use now."""
    if is_account(user.name):
        return of_workspace(folders, slug_of(user.name))
    return grants(folders, names_of(authenticator, user.name), {group.name for group in user.groups})


def shown(folders: Iterable[SharedFolder]) -> Callable[[Any], Callable[[], list[Grant]]]:
    """Return the value for JupyterHub.template_vars.

    JupyterHub calls it with the user of each page; what it returns is called only by the pages that show folders.
    """
    declared = tuple(folders)
    return lambda user: lambda: of_user(declared, user, user.authenticator) if _is_user(user) else []


def _is_user(user: Any) -> bool:
    """Whether it is a user: pages are also shown to services, and to those who are not logged in."""
    return isinstance(getattr(user, "orm_user", None), orm.User)
