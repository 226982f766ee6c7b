"""The cards of a user's own servers, on our templates."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub import orm
from jupyterhub_ansible.settings.check import EXAMPLE
from jupyterhub_ansible.settings.model import Settings
from jupyterhub_ansible.spawner import server_cards
from jupyterhub_ansible.spawner.start_page import TEMPLATES
from jupyterhub_ansible.spawner.usage import Usage

MB = 1024**2
BASE = {"slug": "base", "title": "Base", "image": "x/base:1"}
SIZED = {
    "slug": "sized",
    "title": "With <sizes>",
    "image": "x/sized:1",
    "idle_timeout_s": 5400,
    "sizes": ({"slug": "large", "memory_mb": 4096, "cpus": 1},),
}
SETTINGS = {"images_environments": (BASE, SIZED), "hub_server_memory_mb": 1536, "hub_server_cpus": 2}


def before(**ago: float) -> datetime:
    """A time in the past, as the Hub stores it."""
    return (datetime.now(UTC) - timedelta(**ago)).replace(tzinfo=None)


class Place:
    """A user with servers, of which those that the Hub has in memory have a spawner."""

    def __init__(self, **settings: Any) -> None:
        self.of = server_cards.of(Settings.model_validate({**EXAMPLE, **SETTINGS, **settings}))
        self.servers: dict[str, Any] = {}
        self.stored("")
        self.limit = 3

    def stored(self, name: str, display_name: str = "", **columns: Any) -> orm.Spawner:
        self.servers[name] = orm.Spawner(name=name, display_name=display_name, **columns)
        return self.servers[name]

    def spawner(self, name: str, pending: str | None = None, ready: bool = False, **more: Any) -> None:
        given = {"_failed": False, "object_id": f"id-of-{name}", **more}
        stored = getattr(self.servers[name], "orm_spawner", self.servers[name])
        self.servers[name] = SimpleNamespace(orm_spawner=stored, pending=pending, ready=ready, **given)

    @property
    def user(self) -> Any:
        return SimpleNamespace(
            name="a@b",
            escaped_name="a%40b",
            spawner=self.servers[""],
            all_spawners=lambda include_default: [each for name, each in self.servers.items() if name],
            server_url=lambda name: f"/user/a%40b/{name and name + '/'}",
        )

    def page(self, usage: dict[str, Usage] | None = None) -> server_cards.Page:
        return self.of(self.user)(usage)

    def card(self, name: str) -> server_cards.Card:
        return next(each for each in self.page().cards if each.name == name)

    def html(self, **given: Any) -> str:
        templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined)
        variables = {
            "own_servers": self.of(self.user),
            "base_url": "/hub/",
            "allow_named_servers": True,
            "named_server_limit_per_user": self.limit,
            "shared_with_me": list,
            **given,
        }
        return " ".join(templates.get_template("servers.html").render(variables).split())


def test_what_is_known_of_a_server() -> None:
    place = Place()
    options = {"profile": "sized", "size": "large"}
    used = {"started": before(hours=3), "last_activity": before(minutes=5), "user_options": options}
    place.stored("my-server", "My <Server>", **used)
    place.spawner("my-server", ready=True)
    usage = {"id-of-my-server": Usage(212 * MB, 4096 * MB, 0.04), "id-of-another": Usage(1, 2, 3)}
    html = place.html(usage=usage)
    for shown in (
        ">My &lt;Server&gt;</h2>",
        ">3 hours</time>, last used <time",
        ">5 minutes ago</time>",
        ">With &lt;sizes&gt;</dd>",
        ">Large: 4 GB memory, 1 processor</dd>",
        ">212 MB of 4 GB memory, 0.0 processors</dd>",
        ">after 1 hour without use</dd>",
        ">/user/a%40b/my-server/</dd>",
    ):
        assert shown in html
    # The page that the user opens has no numbers yet.
    assert "Uses now" not in place.html()
    assert server_cards._used(Usage(212 * MB, 4096 * MB, None)) == "212 MB of 4 GB memory"


@pytest.mark.parametrize(
    ("pending", "ready", "last", "state", "links", "actions"),
    [
        (None, True, 60, "running", ["/user/a%40b/x/"], ["stop"]),
        ("spawn", False, 60, "starting", ["/hub/spawn-pending/a%40b/x"], ["stop"]),
        ("check", False, 60, "starting", ["/hub/spawn-pending/a%40b/x"], ["stop"]),
        ("stop", False, 60, "stopping", [], []),
        ("rename", False, 60, "being renamed", [], []),
        (None, False, 60, "stopped", ["/hub/spawn/a%40b/x"], ["delete"]),
        (None, False, None, "never started", ["/hub/spawn/a%40b/x"], ["delete"]),
    ],
)
def test_what_can_be_done_in_each_state(
    pending: str | None, ready: bool, last: int | None, state: str, links: list[str], actions: list[str]
) -> None:
    place = Place()
    place.stored("x", last_activity=last and before(seconds=last), started=before(seconds=60) if ready else None)
    place.spawner("x", pending, ready)
    assert place.card("x").state == state
    html = place.html()
    html = html[html.index('data-server="x"') : html.index("Another server")]
    assert [each.partition('"')[0] for each in html.split('href="')[1:]] == links
    assert [each.partition('"')[0] for each in html.split('data-action="')[1:]] == actions
    place.spawner("x", pending, ready, is_being_deleted=True)
    assert place.card("x").state == "being deleted"


def test_default_server_cannot_be_deleted() -> None:
    place = Place()
    place.stored("", last_activity=before(days=2))
    assert place.card("").title == "Default server"
    assert place.card("").idle == "2 days ago"
    html = place.html()
    assert 'href="/hub/spawn/a%40b"' in html
    assert "data-action" not in html


def test_why_a_server_does_not_run() -> None:
    place = Place()
    place.stored("x", last_activity=before(seconds=5), state={"ended": "It ran out of memory."})
    assert place.card("x").note == "It ran out of memory."
    assert place.card("x").idle == "just now"
    failure = SimpleNamespace(exception=lambda: SimpleNamespace(jupyterhub_message="The machine is full."))
    place.spawner("x", _failed=True, _spawn_future=failure)
    assert place.card("x").note == "The last start failed. The machine is full."
    assert "The machine is full." in place.html()
    place.spawner("x", pending="spawn", _failed=True, _spawn_future=failure)
    assert place.card("x").note == ""


@pytest.mark.parametrize(
    ("options", "environment", "size"),
    [
        (None, "", ""),
        ({"profile": "base"}, "Base", "1.5 GB memory, 2 processors"),
        ({"profile": "sized", "size": "gone"}, "With <sizes>", ""),
        ({"profile": "gone"}, "gone (not offered any more)", ""),
        ({"image": "x/y:1"}, "x/y:1", "1.5 GB memory, 2 processors"),
        # The REST API stores what its users like.
        ({"profile": ["base"]}, "", ""),
        ({"profile": "a\nb"}, "a\\nb (not offered any more)", ""),
        ({"image": {"a": 1}}, "{'a': 1}", "1.5 GB memory, 2 processors"),
        ({"profile": "sized", "size": ["large"]}, "With <sizes>", ""),
    ],
)
def test_environment_and_size_of_any_stored_choice(options: Any, environment: str, size: str) -> None:
    place = Place()
    place.stored("", user_options=options)
    assert (place.card("").environment, place.card("").size) == (environment, size)


@pytest.mark.parametrize(
    ("settings", "deleted", "new"),
    [
        ({"hub_deleted_homes": "keep"}, "same address has them again", "its files are there again"),
        ({"hub_deleted_homes": "archive"}, "an administrator can bring them back", "It has files of its own."),
        ({"hub_deleted_homes": "remove"}, "nobody can bring them back", "It has files of its own."),
        (
            {"hub_deleted_homes": "remove", "hub_named_servers_share_home": True},
            "the same files, so they stay",
            "same files as your other",
        ),
        (
            {"hub_deleted_homes": "remove", "hub_volume_name_template": "u-{username}"},
            "the same files, so they stay",
            "same files as your other",
        ),
        (
            {"hub_deleted_homes": "remove", "hub_volume_name_template": "u-{username}-{servername}"},
            "Files that an earlier Hub made are kept",
            "It has files of its own.",
        ),
    ],
)
def test_what_becomes_of_files(settings: dict[str, Any], deleted: str, new: str) -> None:
    page = Place(**settings).page()
    assert deleted in page.of_deleted
    assert new in page.of_new
    assert ("again" in page.of_new) is (settings["hub_deleted_homes"] == "keep")


def test_full_list_is_said_in_place_of_the_form() -> None:
    place = Place()
    assert "You have 0 of 3." in place.html()
    assert '<form id="new-server">' in place.html()
    for name in ("a", "b", "c"):
        place.stored(name)
    assert "You have 3 of 3 further servers: delete one before you add another." in place.html()
    assert '<form id="new-server" hidden>' in place.html()
    # hub_traits may set no limit; or there are none at all.
    assert '<form id="new-server">' in place.html(named_server_limit_per_user=0)
    assert "Another server" not in place.html(allow_named_servers=False)


def test_start_that_would_be_refused_is_not_offered() -> None:
    place = Place(hub_running_servers_limit=1)
    place.stored("x", last_activity=before(days=1))
    assert '<p id="running-limit" data-part="running-limit" hidden>' in place.html()
    place.spawner("", ready=True)
    html = place.html()
    assert "You may have 1 running at once: stop one before you start another." in html
    assert '<p id="running-limit" data-part="running-limit">' in html
    assert 'disabled aria-describedby="running-limit" aria-label="Start x"' in html
    assert "/hub/spawn/a%40b/x" not in html


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "less than a minute"), (59, "less than a minute"), (60, "1 minute"), (7199, "1 hour"), (200000, "2 days")],
)
def test_durations(seconds: float, words: str) -> None:
    assert server_cards.lasting(seconds) == words


def test_disk_that_is_nearly_full_is_told_and_servers_start_to_delete_files() -> None:
    place = Place()
    shown = place.html()
    assert 'id="disk" data-part="disk" role="alert" class="alert alert-warning" hidden' in shown
    assert 'data-action="tidy"' not in shown
    place.spawner("", reserve_disk_mb=1024**3)
    shown = place.html()
    assert 'role="alert" class="alert alert-warning"> The machine\'s disk is nearly full: ' in shown
    assert 'data-action="tidy" aria-label="Start to delete files: Default server"' in shown
    assert 'aria-label="Start Default server"' not in shown
