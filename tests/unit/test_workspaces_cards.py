"""The cards that members see, and nobody else, on the Hub's own templates."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub import orm, roles
from jupyterhub_ansible.settings.model import Workspace
from jupyterhub_ansible.spawner.start_page import TEMPLATES
from jupyterhub_ansible.workspaces import accounts, cards

LAB = Workspace(
    slug="lab",
    title="The <Lab>",
    environment="base",
    users=frozenset({"ann", "bob"}),
    start_users=frozenset({"ann"}),
)
CLIENT = "jupyterhub-user-lab"


class Place:
    """A Hub's database with members, and the workspace's spawner."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self.spawner = SimpleNamespace(active=False, pending=None, oauth_client_id=CLIENT)
        for role in accounts.load_roles([LAB]):
            roles.create_role(db, role)
        for name in ("ann", "bob", "otto"):
            db.add(user := orm.User(name=name))
            user.roles = [orm.Role.find(db, role) for role in accounts.roles_of({name}, [LAB])]
        db.add_all(orm.OAuthClient(identifier=each, allowed_scopes=[]) for each in (CLIENT, "jupyterhub"))
        db.commit()

    def cards(self, name: str) -> dict[str, cards.Card]:
        users = {"workspace.lab": SimpleNamespace(spawner=self.spawner)}
        user = SimpleNamespace(orm_user=orm.User.find(self.db, name), db=self.db, settings={"users": users})
        return cards.of([LAB])(user)()

    def page(self, name: str) -> str:
        templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
        given = {"workspaces": lambda: self.cards(name), "base_url": "/hub/", "prefix": "/"}
        return templates.get_template("workspaces.html").render(given)

    def used(self, name: str, ago_s: int, client: str = CLIENT) -> None:
        """Make a token of a user for a server, last used so long ago."""
        user = orm.User.find(self.db, name)
        last = (datetime.now(UTC) - timedelta(seconds=ago_s)).replace(tzinfo=None)
        self.db.add(orm.APIToken(user=user, client_id=client, hashed=name, prefix=name, last_activity=last))
        self.db.commit()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    db = orm.new_session_factory(f"sqlite:///{tmp_path}/jupyterhub.sqlite")()
    yield Place(db)
    db.close()


@pytest.mark.parametrize(
    ("active", "pending", "state", "starter", "member"),
    [
        (False, None, "stopped", "/hub/spawn/workspace.lab", ""),
        (True, "spawn", "starting", "/hub/spawn-pending/workspace.lab", ""),
        (True, None, "running", "/user/workspace.lab/", "/user/workspace.lab/"),
        (True, "stop", "stopping", "", ""),
    ],
)
def test_members_see_its_state_and_what_they_may_do(
    place: Place, active: bool, pending: str | None, state: str, starter: str, member: str
) -> None:
    place.spawner.active, place.spawner.pending = active, pending
    for name, link in (("ann", starter), ("bob", member)):
        [card] = place.cards(name).values()
        assert (card.state, card.may_start) == (state, name == "ann")
        page = place.page(name)
        assert "The &lt;Lab&gt;" in page
        assert ('href="' in page) is bool(link)
        assert f'href="{link}"' in page or not link
        assert ("<button" in page) is (name == "ann" and state == "running")


def test_others_see_nothing(place: Place) -> None:
    assert place.cards("otto") == {}
    assert place.page("otto").strip() == ""
    # Nobody is logged in, or a service is.
    assert cards.of([LAB])(None)() == cards.of([LAB])(SimpleNamespace(name="service"))() == {}


def test_who_is_in_it(place: Place) -> None:
    place.spawner.active = True
    assert "nobody is in it" in place.page("ann")
    place.used("bob", ago_s=30)
    place.used("ann", ago_s=cards.PRESENT_S + 30)
    place.used("otto", ago_s=5, client="jupyterhub")
    assert place.cards("ann")["workspace.lab"].people == ("bob",)
    assert "in use by bob" in place.page("ann")
    place.spawner.active = False
    assert place.cards("ann")["workspace.lab"].people == ()
