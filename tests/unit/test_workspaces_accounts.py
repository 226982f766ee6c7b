"""A workspace's account and roles: JupyterHub's own check of scopes says what each role opens."""

import pytest
from jupyterhub import orm, scopes
from jupyterhub_ansible.settings.model import Workspace
from jupyterhub_ansible.workspaces import accounts

OPEN = Workspace(slug="lab", environment="base", groups=frozenset({"acme:data"}), users=frozenset({"ann"}))
LED = OPEN.model_copy(update={"start_users": frozenset({"lea"}), "start_groups": frozenset({"acme:leads"})})


def may(role: str, scope: str) -> bool:
    """Whether a role of OPEN gives a scope, by JupyterHub's rules."""
    owner = orm.User(name="ann")
    given = scopes.expand_scopes(set(accounts.scopes("lab")[role]), owner=owner)
    return bool(scopes.has_scope(scope, scopes.parse_scopes(given)))


@pytest.mark.parametrize(
    ("scope", "member", "starter"),
    [
        ("access:servers!server=workspace.lab/", True, False),
        ("read:servers!user=workspace.lab", True, False),
        ("list:users!user=workspace.lab", True, False),
        ("start:servers!server=workspace.lab/", False, True),
        ("delete:servers!server=workspace.lab/", False, True),
        # Neither another server of the account, nor another workspace, user or right.
        ("start:servers!server=workspace.lab/more", False, False),
        ("access:servers!server=workspace.lab2/", False, False),
        ("access:servers!server=lab/", False, False),
        ("tokens!user=workspace.lab", False, False),
        ("shares!server=workspace.lab/", False, False),
        ("list:users", False, False),
    ],
)
def test_roles_open_one_server(scope: str, member: bool, starter: bool) -> None:
    assert may("workspace.lab", scope) is member
    assert may("workspace.lab.start", scope) is starter


def test_all_members_may_start_it_unless_some_are_named() -> None:
    everyone = {role["name"]: role["groups"] for role in accounts.load_roles([OPEN])}
    assert everyone == {"workspace.lab": ["acme:data"], "workspace.lab.start": ["acme:data"]}
    assert accounts.roles_of({"ann"}, [OPEN]) == {"workspace.lab", "workspace.lab.start"}
    some = {role["name"]: role["groups"] for role in accounts.load_roles([LED])}
    assert some == {"workspace.lab": ["acme:data", "acme:leads"], "workspace.lab.start": ["acme:leads"]}
    assert accounts.roles_of({"ann"}, [LED]) == {"workspace.lab"}
    assert accounts.roles_of({"lea"}, [LED]) == {"workspace.lab", "workspace.lab.start"}
    assert accounts.roles_of({"otto"}, [OPEN, LED]) == set()


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("workspace.lab", "lab"),
        ("workspace.a-1", "a-1"),
        ("workspace", ""),
        ("workspace.", ""),
        ("workspace.a@b.org", ""),
    ],
)
def test_names_of_accounts(name: str, slug: str) -> None:
    assert accounts.slug_of(name) == slug
    assert accounts.is_account(name) is bool(slug)


def test_no_two_roles_share_a_name() -> None:
    names = [role["name"] for role in accounts.load_roles([OPEN, OPEN.model_copy(update={"slug": "lab-start"})])]
    assert len({*names}) == 4
