"""Readiness, against a server that listens."""

import asyncio
import json
import zlib
from contextlib import suppress
from typing import Any

import jupyterhub_challenge
import pytest
from aiohttp import web
from fake_spawner import BASE, FakeDocker, run, running_server, spawner
from jupyterhub_ansible.spawner.errors import SpawnError
from jupyterhub_ansible.spawner.spawner import UserServerSpawner

# As the Hub quotes "o'neil+%41@example.org".
O_NEIL = "/user/o%27neil%2B%2541@example.org"


def wait(statuses: list[int], mine: Any, answers: list[str] | None = None) -> list[str]:
    """Let `mine` wait for a server that answers with these statuses, the last one from then on; return what it sent.

    To the challenge it answers with the token of `answers`, the last one from then on.
    """
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.path_qs} {dict(request.headers)}")
        return web.Response(status=statuses.pop(0) if len(statuses) > 1 else statuses[0])

    async def prove(request: web.Request) -> web.Response:
        seen.append(f"{request.path_qs} {dict(request.headers)}")
        assert answers
        token = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.json_response({"hmac": jupyterhub_challenge.answer(token, request.query["nonce"])})

    async def both() -> None:
        app = web.Application()
        app.router.add_get("/user/alice/api", answer)
        app.router.add_get("/user/alice/api/jupyterhub-challenge", prove)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        try:
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}/user/alice/")
        finally:
            await runner.cleanup()

    asyncio.run(both())
    return seen


def test_our_images_are_challenged_without_a_secret(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})})
    mine.api_token = "the-token"
    run(mine.start)
    # First, a foreign server answers.
    seen = wait([200], mine, ["another-token", "another-token", "the-token"])
    assert len(seen) == 3
    assert not any("token" in each or "Authorization" in each or "Cookie" in each for each in seen)
    assert len({each.split()[0] for each in seen}) == 3, "never the same question"
    assert all("identity" in each for each in seen), "nothing is unpacked"


def test_a_server_that_cannot_prove_who_it_is(docker: FakeDocker) -> None:
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})}, http_timeout=1)
    mine.api_token = "the-token"
    run(mine.start)
    with pytest.raises(SpawnError, match="never proved"):
        wait([200], mine, ["another-token"])


def sent(mine: Any, *blocks: bytes, packed: bool = False) -> tuple[str, int]:
    """Let `mine` wait for a server that answers with these blocks; return why it failed, and how much was taken.

    Which is at most what the kernel's buffers hold, if nobody reads.
    """
    taken = [0]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).split()[1].rpartition(b"=")[2].decode()
        right = json.dumps({"hmac": jupyterhub_challenge.answer("the-token", asked)}).encode()
        taken.append(0)
        encoding = b"Content-Encoding: deflate\r\n" if packed else b""
        writer.write(b"HTTP/1.1 200 OK\r\n" + encoding + b"Content-Type: application/json\r\n\r\n")
        with suppress(ConnectionError):
            for block in blocks or [zlib.compress(right) if packed else right]:
                writer.write(block)
                await writer.drain()
                taken[-1] += len(block)
        writer.close()

    async def both() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}/user/alice/")
        finally:
            server.close()

    try:
        asyncio.run(both())
    except SpawnError as error:
        return error.log_message, max(taken)
    return "", max(taken)


def test_endless_answer_is_not_read_completely(docker: FakeDocker) -> None:
    """It would fill the Hub's memory."""
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})}, http_timeout=1)
    mine.api_token = "the-token"
    run(mine.start)
    megabytes = [b" " * 1024**2] * 48
    for blocks in (megabytes, [b'{"hmac": [', *megabytes]):
        why, taken = sent(mine, *blocks)
        assert why
        assert taken < 24 * 1024**2
    # Too deeply nested JSON does not end the start with a traceback either.
    assert "never opened its port" in sent(mine, b"[" * 2000)[0]
    assert sent(mine)[0] == ""
    assert "never opened its port" in sent(mine, packed=True)[0], "what is packed is not unpacked"


def test_foreign_images_are_not_challenged(docker: FakeDocker) -> None:
    # It may be built on ours, but run another server.
    docker.image_labels["x/base:1"] = {"jupyterhub-ansible.challenge": "1"}
    mine = spawner()
    run(mine.start)
    assert [each.split()[0] for each in wait([200], mine)] == ["/user/alice/api"]


def test_ready_when_it_answers(docker: FakeDocker) -> None:
    mine = spawner()
    run(mine.start)
    statuses = [503, 500, 403]
    wait(statuses, mine)
    assert statuses == [403]


@pytest.mark.parametrize("labels", [{}, {"jupyterhub-ansible.challenge": "1"}])
def test_a_name_is_asked_for_as_the_server_knows_it(docker: FakeDocker, labels: dict[str, str]) -> None:
    docker.image_labels["x/base:1"] = labels
    mine = spawner(profiles={"base": BASE.model_copy(update={"tells_activity": True})}, http_timeout=1)
    run(mine.start)
    seen = set()

    async def answer(request: web.Request) -> web.Response:
        seen.add(request.raw_path.partition("/api")[0])
        return web.Response()

    async def both() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        with suppress(SpawnError):
            await UserServerSpawner._wait_until_ready(mine, f"http://{host}:{port}{O_NEIL}/")
        await runner.cleanup()

    asyncio.run(both())
    assert seen == {O_NEIL}


def test_a_server_that_ends_while_starting(docker: FakeDocker) -> None:
    mine = spawner(http_timeout=30)
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=1)
    with pytest.raises(SpawnError) as error:
        wait([503], mine)
    assert error.value.reason == "ended"


def test_a_server_that_does_not_answer_in_time(docker: FakeDocker) -> None:
    mine = spawner(http_timeout=1)
    run(mine.start)
    with pytest.raises(SpawnError) as error:
        wait([503], mine)
    assert error.value.reason == "no-answer"
    assert "the last words" in error.value.log_message
    # The Hub stops it.
    assert docker.containers["jh-user-alice"]["State"]["Running"]


def test_many_starting_servers_are_polled_less_often(docker: FakeDocker, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for others in (0, 19):
        monkeypatch.setattr(UserServerSpawner, "_polled", {f"other{number}" for number in range(others)})
        mine = spawner(http_timeout=1)
        run(mine.start)
        statuses = [503] * 100
        with pytest.raises(SpawnError):
            wait(statuses, mine)
        asked.append(100 - len(statuses))
        assert len(UserServerSpawner._polled) == others
    assert asked[0] > 3 * asked[1] > 0


def test_a_server_that_ran_out_of_memory_while_starting(docker: FakeDocker) -> None:
    mine = spawner(mem_limit="64M")
    run(mine.start)
    docker.containers["jh-user-alice"]["State"].update(Running=False, ExitCode=137, OOMKilled=True)
    with pytest.raises(SpawnError) as error:
        wait([503], mine)
    assert "limit of 64 MB" in error.value.jupyterhub_message
    assert "the last words" in error.value.log_message
    # Its name and memory are free again.
    assert not docker.containers


def test_container_removed_while_starting(docker: FakeDocker, caplog: pytest.LogCaptureFixture) -> None:
    mine = running_server(docker)
    del docker.containers["jh-user-alice"]
    with pytest.raises(SpawnError) as error:
        wait([503], mine)
    assert error.value.reason == "vanished"
    mine.object_id = "an-id"
    assert run(mine.poll) == 0
    assert "was removed by somebody else" in caplog.text
