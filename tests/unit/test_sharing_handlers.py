"""Requests of the pages for sharing, in a real JupyterHub: what a guest hears, and which servers cannot be shared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest
import requests
from fake_spawner import BASE
from hub_site import Site
from jupyterhub import orm
from jupyterhub_ansible.auth.membership import may_stay
from jupyterhub_ansible.sharing import grants
from jupyterhub_ansible.sharing.handlers import StartServer
from jupyterhub_ansible.spawner.spawner import UserServerSpawner
from jupyterhub_ansible.web.errors import PageError

BUILT = BASE.model_copy(update={"tells_activity": True})
OURS = {"project": "jh", "profiles": {"base": BUILT}, "default_profile": "base", "sharing": "everybody"}
SETTINGS = {"hub_sharing": "everybody"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    config = {"JupyterHub": {"spawner_class": UserServerSpawner}, "UserServerSpawner": OURS}
    with Site(tmp_path_factory.mktemp("hub"), settings=SETTINGS, config=config) as made:
        yield made


@pytest.fixture(scope="module")
def other_kind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Hub with JupyterHub's own spawner, and hub_sharing."""
    with Site(tmp_path_factory.mktemp("hub"), settings=SETTINGS) as made:
        yield made


def ask(site: Site, session: requests.Session, action: str, /, **fields: object) -> requests.Response:
    return session.post(f"{site.url}/sharing/{action}", json=fields)


def blocked(site: Site, *names: str) -> None:
    site.inside(lambda: site.hub.authenticator.blocked_users.update(names))


def test_guest_hears_at_once_why_a_link_cannot_be_accepted(site: Site) -> None:
    ann, ben = (site.session(name) for name in ("ann", "ben"))
    assert ann.get(f"{site.url}/share").status_code == 200
    made = ask(site, ann, "links", server="", lasts_s=3600, start=False)
    assert made.status_code == 200, made.text
    code = made.json()["path"].partition("#")[2]
    offers = [ask(site, each, "invitation", code=code).json() for each in (ann, ben)]
    assert [each["refusal"] for each in offers] == ["This is your own server: send the link to somebody else.", ""]
    assert (offers[1]["owner"], offers[1]["left"]) == ("ann", "59 minutes")
    try:
        blocked(site, "ann")
        why = "ann may not use this Hub any more, so this server is not shared any more."
        assert ask(site, ben, "invitation", code=code).json()["refusal"] == why
        refused = ask(site, ben, "accept", code=code)
        assert (refused.status_code, refused.json()["message"]) == (403, why)
    finally:
        site.inside(site.hub.authenticator.blocked_users.clear)
    assert ask(site, ben, "accept", code=code).status_code == 204
    page = ann.get(f"{site.url}/share").text
    # One who came by it, and the link itself.
    assert [words in page for words in ("<strong>ben</strong>", "used 1 time<", "No links.")] == [True, True, False]
    # The page shows it in place of its button.
    assert "offered.refusal" in ben.get(f"{site.url}/accept-share").text


def test_servers_of_another_kind_cannot_be_shared(other_kind: Site) -> None:
    ann = other_kind.session("ann")
    page = ann.get(f"{other_kind.url}/share")
    assert (page.status_code, "Servers of this kind cannot be shared." in page.text) == (403, True)
    made = ask(other_kind, ann, "links", server="", lasts_s=3600, start=False)
    assert (made.status_code, made.json()["message"]) == (403, "Servers of this kind cannot be shared.")

    # A link from before the operator chose that spawner.
    def link() -> str:
        server = orm.User.find(other_kind.hub.db, "ann").orm_spawners[""]
        return grants.make_link(other_kind.hub.db, server, 3600, start=True)[1]

    code, ben = other_kind.inside(link), other_kind.session("ben")
    assert ask(other_kind, ben, "invitation", code=code).json()["refusal"] == "Servers cannot be shared on this Hub."
    assert ask(other_kind, ben, "accept", code=code).status_code == 403


@pytest.mark.parametrize(("fixture", "buttons"), [("site", 1), ("other_kind", 0)])
def test_the_home_page_offers_it_where_it_is_possible(
    request: pytest.FixtureRequest, fixture: str, buttons: int
) -> None:
    site = request.getfixturevalue(fixture)
    # Nobody has shared anything.
    page = site.session("cleo").get(f"{site.url}/home")
    assert page.status_code == 200
    assert page.text.count("Share Default server") == buttons


@pytest.mark.parametrize("stays", [True, False])
def test_a_guest_starts_no_server_of_somebody_who_may_not_stay(stays: bool) -> None:
    owner = SimpleNamespace(name="ann", get_spawner=lambda name, replace_failed: SimpleNamespace(active=False))
    share = SimpleNamespace(
        owner=owner, spawner=SimpleNamespace(name=""), scopes=[f"{grants.START}!server=ann/"], expired=False
    )
    handler: Any = StartServer.__new__(StartServer)
    spawned, asked = AsyncMock(), AsyncMock(return_value=stays)
    for name, value in {
        "_jupyterhub_user": SimpleNamespace(name="ben"),
        "granted": lambda: share,
        "find_user": lambda name: owner,
        # Ours, and any other that can be asked at any time.
        "application": SimpleNamespace(settings={"authenticator": SimpleNamespace(may_stay=asked)}),
        "spawn_single_user": spawned,
        "set_status": lambda status: None,
    }.items():
        setattr(handler, name, value)
    if stays:
        asyncio.run(handler.post())
    else:
        with pytest.raises(PageError) as refused:
            asyncio.run(handler.post())
        assert "ann may not use this Hub any more" in refused.value.jupyterhub_message
    asked.assert_awaited_once_with(owner)
    assert spawned.await_count == int(stays)


def test_authenticators_that_cannot_be_asked_know_who_is_blocked() -> None:
    knows = SimpleNamespace(blocked_users={"eve"})
    found = [asyncio.run(may_stay(knows, SimpleNamespace(name=name))) for name in ("ann", "eve")]
    assert found == [True, False]
