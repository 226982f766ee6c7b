"""Who may use which shared folder, and what the home page says about that."""

from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub import orm
from jupyterhub_ansible.settings.model import SharedFolder
from jupyterhub_ansible.shared_folders import access
from jupyterhub_ansible.spawner.start_page import TEMPLATES

GENOMICS = SharedFolder(
    slug="genomics",
    title="The <Genomes>",
    groups=frozenset({"acme:genomics"}),
    users=frozenset({"ann"}),
    workspaces=frozenset({"lab"}),
    read_groups=frozenset({"acme:data"}),
    read_users=frozenset({"rita"}),
)
COURSE = SharedFolder(slug="course", read_all=True, users=frozenset({"tess"}))


def user(name: str, *groups: str) -> Any:
    names = SimpleNamespace(names=lambda name: {name, "ann"} if name == "anna" else {name})
    found = SimpleNamespace(name=name, authenticator=names, groups=[SimpleNamespace(name=each) for each in groups])
    found.orm_user = orm.User(name=name)
    return found


def may(name: str, *groups: str) -> dict[str, bool]:
    """Return the folders that somebody may use, and whether they may write there."""
    asked = user(name, *groups)
    found = access.of_user([GENOMICS, COURSE], asked, asked.authenticator)
    return {folder.slug: writable for folder, writable in found}


@pytest.mark.parametrize(
    ("name", "groups", "genomics", "course"),
    [
        ("ann", [], True, False),
        ("anna", [], True, False),  # settings may name her by her current login
        ("gus", ["acme:genomics"], True, False),
        ("rita", [], False, False),
        ("rita", ["acme:genomics"], True, False),  # writing counts
        ("dan", ["acme:data"], False, False),
        ("otto", ["acme:other"], None, False),
        ("tess", [], None, True),
        ("workspace.lab", [], True, False),
        ("workspace.other", [], None, False),
    ],
)
def test_who_may_use_what(name: str, groups: list[str], genomics: bool | None, course: bool) -> None:
    assert may(name, *groups) == ({} if genomics is None else {"genomics": genomics}) | {"course": course}


def test_a_person_with_the_name_of_a_workspace_in_the_settings_gets_nothing() -> None:
    folder = GENOMICS.model_copy(update={"users": frozenset({"workspace.other"})})
    asked = user("workspace.other")
    assert access.of_user([folder], asked, asked.authenticator) == []


def page(asked: Any) -> str:
    templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
    given = access.shown([GENOMICS, COURSE])(asked)
    return " ".join(templates.get_template("shared_folders.html").render(shared_folders=given).split())


def test_home_page_lists_them() -> None:
    shown = page(user("ann"))
    assert "<li>The &lt;Genomes&gt; (<code>shared/genomics</code>): you can read and change what is in it</li>" in shown
    assert "<li>Course (<code>shared/course</code>): you can only read</li>" in shown


def test_pages_without_a_user_list_nothing() -> None:
    assert page(None) == page(SimpleNamespace(name="service")) == ""
