"""The part of the spawner that waits until the server answers and proves that it is the one that was started."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar

import aiohttp
from yarl import URL

from . import challenge, errors, limits
from .recovery import RecoveringSpawner

# How often a starting server is polled, and how often its container is checked.  If many start at once, each is polled
# less often, or the polling would slow them down (20 starts on 2 processors).
_POLL_S, _CHECK_RUNNING_S = 0.05, 0.5
_POLLED_AT_FULL_PACE = 2
# Bytes of an answer that are read: a valid one is shorter, and a user's server could send without end.
_MAX_ANSWER = 1024


def _as_it_is(url: str) -> URL:
    """Return a URL that aiohttp does not rewrite: a server knows its path only as %27, not as an apostrophe."""
    return URL(url, encoded=True)


class ReadySpawner(RecoveringSpawner):
    """A spawner whose servers are ready when they answer a challenge that only they can answer."""

    # Shared by all spawners: the servers that are being polled.
    _polled: ClassVar[set[str]] = set()
    # Whether this server's image answers the challenge.
    _answers_challenge = False

    async def _wait_until_ready(self, url: str) -> None:
        # The Hub waits too, but backs off to 5 s between attempts (jupyterhub.utils.exponential_backoff).
        self._polled.add(self.object_name)
        try:
            await self._poll_until_ready(url)
        finally:
            self._polled.discard(self.object_name)

    async def _poll_until_ready(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.http_timeout
        check_again = loop.time() + _CHECK_RUNNING_S
        failing = errors.SILENT
        # A running container accepts or refuses at once; the address of one that ended does not answer at all.
        timeout = aiohttp.ClientTimeout(total=5, sock_connect=1)
        # No decompression: a short answer could become a very long one.
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(headers=plain, timeout=timeout, auto_decompress=False) as session:
            while loop.time() < deadline:
                with suppress(aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
                    failing = await self._probe(session, url)
                    if not failing:
                        return
                slower = max(1.0, len(self._polled) / _POLLED_AT_FULL_PACE)
                if loop.time() > check_again:
                    check_again = loop.time() + _CHECK_RUNNING_S * slower
                    await self._require_running()
                await asyncio.sleep(_POLL_S * slower)
        lines = await self._last_lines()
        raise errors.no_answer(self.http_timeout, failing, url, lines, self._log_name)

    async def _probe(self, session: aiohttp.ClientSession, url: str) -> str:
        """Poll the server once; "" if it is ready.  No secret is sent: who answers is not known yet."""
        if not self._answers_challenge:
            async with session.get(_as_it_is(f"{url}api"), allow_redirects=False) as response:
                return errors.FAILING if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        asked = challenge.nonce()
        question = _as_it_is(f"{url}{challenge.PATH}?nonce={asked}")
        async with session.get(question, allow_redirects=False) as response:
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return errors.FAILING
            answer = json.loads(await self._body(response)) if response.status == HTTPStatus.OK else None
        return "" if challenge.is_answer(self.api_token, asked, answer) else errors.ANOTHER

    @staticmethod
    async def _body(response: aiohttp.ClientResponse) -> bytes:
        found = b""
        while rest := _MAX_ANSWER - len(found):
            if not (chunk := await response.content.read(rest)):
                break
            found += chunk
        return found

    async def _require_running(self) -> None:
        container = await self.get_object()
        if container is None:
            raise errors.container_removed(self._log_name)
        if not container["State"]["Running"]:
            lines, memory = await self._last_lines(), limits.in_bytes(self.mem_limit)
            if self.remove:
                await self._remove_container()
            raise errors.ended_early(container["State"], lines, memory, self._log_name)
