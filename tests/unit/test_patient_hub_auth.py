"""A user's server while the Hub is being replaced: real HubAuth, with a Hub that answers, refuses, or is down."""

import asyncio
from collections.abc import Iterator
from typing import Any

import patient_hub_auth
import pytest
from aiohttp import web
from fake_clock import Clock
from jupyterhub.services.auth import HubAuth
from tornado.web import HTTPError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(
        HubAuth, "_check_hub_authorization", patient_hub_auth.patient(HubAuth._check_hub_authorization, clock)
    )
    yield clock
    HubAuth.clear_instance()


def asked(clock: Clock, *answers: int | None, wait_s: float = 1, use_cache: bool = True) -> list[Any]:
    """The server's results for answers of the Hub (a status, or None if it is down), each `wait_s` after the last."""

    async def scenario() -> list[Any]:
        status, seen = [200], []

        async def answer(request: web.Request) -> web.Response:
            return web.json_response({"name": "alice"} if status[0] == 200 else {}, status=status[0])

        app = web.Application()
        app.router.add_get("/hub/api/user", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        auth = HubAuth(api_url=f"http://{host}:{port}/hub/api", api_token="x", cache_max_age=1)
        for each in answers:
            auth.cache.clear()
            status[0] = each or 0
            url = auth.api_url if each else "http://127.0.0.1:1/hub/api"
            try:
                user = await auth._check_hub_authorization(f"{url}/user", "token", "key", use_cache=use_cache)
                seen.append(user and user["name"])
            except HTTPError as error:
                seen.append(error.status_code)
            clock.now += wait_s
        await runner.cleanup()
        return seen

    return asyncio.run(scenario())


@pytest.mark.parametrize("silence", [None, 503, 502])
def test_the_last_answer_is_kept_while_the_hub_is_down(clock: Clock, silence: int | None) -> None:
    assert asked(clock, 200, silence, silence, 200, silence) == ["alice"] * 5


def test_it_is_not_kept_for_long(clock: Clock) -> None:
    assert asked(clock, 200, None, None, None, wait_s=50) == ["alice", "alice", "alice", 500]


def test_it_is_kept_for_all_requests_of_a_page(clock: Clock) -> None:
    answers = [{"name": "alice"}]

    async def ask(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        if answers:
            return answers.pop()
        raise HTTPError(500, "Failed to connect to Hub API")

    async def scenario() -> list[Any]:
        check, auth = patient_hub_auth.patient(ask, clock), HubAuth()
        first = await check(auth, "url", "token", "key")
        return [first, *await asyncio.gather(*(check(auth, "url", "token", "key") for _ in range(4)))]

    assert asyncio.run(scenario()) == [{"name": "alice"}] * 5


@pytest.mark.parametrize(("refusal", "told"), [(403, None), (401, 500), (404, 500)])
def test_an_answer_of_the_hub_counts(clock: Clock, refusal: int, told: int | None) -> None:
    # And its earlier answer is forgotten.
    assert asked(clock, 200, refusal, None) == ["alice", told, 500]


def test_unknown_users_are_refused(clock: Clock) -> None:
    assert asked(clock, None) == [500]


def test_requests_that_bypass_the_cache_get_no_old_answer(clock: Clock) -> None:
    assert asked(clock, 200, None, use_cache=False) == ["alice", 500]


def test_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    upstream = HubAuth._check_hub_authorization
    monkeypatch.setattr(HubAuth, "_check_hub_authorization", upstream)
    patient_hub_auth.install()
    assert HubAuth._check_hub_authorization is not upstream
