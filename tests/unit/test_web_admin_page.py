"""The sizes of homes on the administrators' page: measured once at a time, when somebody asks."""

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import requests
from hub_site import Site
from jupyterhub.scopes import Scope
from jupyterhub_ansible.engine import calls
from jupyterhub_ansible.web import admin_page
from jupyterhub_ansible.web.admin_page import Homes
from jupyterhub_ansible.web.errors import PageError


def handler_of(kind: Any, scopes: Any, **about: Any) -> Any:
    """Return a handler of a user with these scopes."""
    made = kind.__new__(kind)
    user = SimpleNamespace(name="vera", admin=True)
    for name, value in {"_jupyterhub_user": user, "parsed_scopes": scopes, **about}.items():
        setattr(made, name, value)
    return made


def post(users: Any, scopes: Any = None) -> int:
    """Have homes measured; return the status of the answer."""
    found: list[int] = []
    application = SimpleNamespace(settings={"users": users})
    handler = handler_of(
        admin_page.MeasureHomes,
        {"admin-ui": Scope.ALL, "admin:users": Scope.ALL} if scopes is None else scopes,
        application=application,
        set_status=found.append,
    )
    handler.post()
    return int(found[0])


def measured(homes: Homes, *answers: Any) -> list[int]:
    """Ask as often as there are answers; return how often the engine was asked meanwhile."""
    asked: list[int] = []

    async def scenario() -> None:
        for answer in answers:

            def ask(answer: Any = answer) -> Any:
                asked.append(1)
                if isinstance(answer, Exception):
                    raise answer
                return answer

            homes.measure(ask)
            # Impatient.
            homes.measure(ask)
            assert homes.measuring
            while homes.measuring:
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    return asked


def test_homes_are_measured_once_at_a_time() -> None:
    homes = Homes()
    found = {"Volumes": [{"Name": "jh-user-ann", "UsageData": {"Size": 12}}, {"Name": "other", "UsageData": None}]}
    assert measured(homes, found) == [1]
    assert (homes.sizes, homes.error) == ({"jh-user-ann": 12}, "")


def test_engine_that_does_not_answer_is_said_and_the_last_sizes_stay() -> None:
    homes = Homes()
    measured(homes, {"Volumes": [{"Name": "jh-user-ann", "UsageData": {"Size": 12}}]}, requests.ReadTimeout("slow"))
    assert homes.sizes == {"jh-user-ann": 12}
    assert homes.error == "The engine did not measure them: slow"
    measured(homes, {"Volumes": None})
    assert (homes.sizes, homes.error) == ({}, "")


def test_measuring_may_take_long_and_delays_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []
    slow, closed = threading.Event(), Mock()

    def own_client(**options: Any) -> Any:
        made.append(options)
        return SimpleNamespace(df=lambda: {"Volumes": []} if slow.wait(10) else None, close=closed)

    homes = Homes()
    monkeypatch.setattr(admin_page.ServersNow, "homes", homes)
    running = SimpleNamespace(active=True, own_client=own_client)
    users = {1: SimpleNamespace(spawners={"": SimpleNamespace(active=True), "gpu": running})}

    async def scenario() -> None:
        post(users)
        while not made:
            await asyncio.sleep(0.01)
        # All threads for pages are free.
        together = threading.Barrier(calls.USAGE._max_workers, timeout=5)
        pages = [calls.USAGE.submit(together.wait) for _ in range(calls.USAGE._max_workers)]
        await asyncio.gather(*map(asyncio.wrap_future, pages))
        assert homes.measuring
        slow.set()
        while homes.measuring:
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert (made, homes.error) == ([{"timeout": 1800}], "")
    closed.assert_called_once_with()


SOME_ONLY = {"admin-ui": Scope.ALL, "admin:users": {"group": {"course"}}, "list:users": Scope.ALL}
"""The scopes of somebody whom the operator's role lets administer the members of a group."""


@pytest.mark.parametrize("scopes", [SOME_ONLY, {"admin-ui": Scope.ALL}, {}])
def test_who_administers_some_users_neither_sees_nor_asks_for_all(scopes: Any) -> None:
    with pytest.raises(PageError) as refused:
        post({}, scopes)
    assert (refused.value.status_code, refused.value.jupyterhub_message) == (
        403,
        "Only administrators have homes measured.",
    )
    with pytest.raises(PageError) as refused:
        asyncio.run(handler_of(admin_page.ServersNow, scopes).get())
    assert refused.value.jupyterhub_message == "Only administrators see all servers."


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Hub on which tina administers the members of a group, by a role of the operator's."""
    scopes = ["admin-ui", "admin:users!group=course", "list:users!group=course"]
    teacher = {"name": "teacher", "scopes": scopes, "users": ["tina"]}
    groups: dict[str, Any] = {"course": {"users": []}}
    with Site(
        tmp_path_factory.mktemp("hub"), config={"JupyterHub": {"load_roles": [teacher], "load_groups": groups}}
    ) as made:
        yield made


def test_the_page_of_who_administers_some_users_is_jupyterhubs(site: Site) -> None:
    tina, admin = (site.session(name) for name in ("tina", "admin"))
    theirs, ours = (each.get(f"{site.url}/admin") for each in (tina, admin))
    for page in (theirs, ours):
        assert "static/js/admin-react.js" in page.text
    parts = ('id="new-message"', "admin/servers`")
    assert [[part in page.text for part in parts] for page in (theirs, ours)] == [[False, False], [True, True]]
    refused, table = (each.get(f"{site.url}/admin/servers") for each in (tina, admin))
    assert (refused.status_code, "Only administrators see all servers." in refused.text) == (403, True)
    assert (table.status_code, "<table" in table.text) == (200, True)
    message = {"text": "hello", "username": None, "lasts_s": 900}
    sent = [each.post(f"{site.url}/messages/send", json=message) for each in (tina, admin)]
    assert [each.status_code for each in sent] == [403, 201]
    assert sent[0].json()["message"] == "Only administrators send messages."
