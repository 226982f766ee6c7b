"""The part of the spawner that waits until a server answers, and that it is the one which was started."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
import json
from contextlib import suppress
from http import HTTPStatus
from typing import ClassVar

import aiohttp

from . import challenge, failures, limits
from .recovery import RecoveringSpawner

# Whether a server answers is asked this often, whether its container runs at all this often: many that start at once
# are asked less often each, or the asking would hold them up (20 starts on 2 processors).
_POLL_S, _INSIST_S = 0.05, 0.5
_POLLED_AT_FULL_PACE = 2
# Bytes of an answer that are read: the right one is shorter, and a user's server can send without end.
_ANSWER_AT_MOST = 1024


class ReadySpawner(RecoveringSpawner):
    """A spawner whose servers are ready when they answer a challenge that nobody else can."""

    # Of all spawners: servers that start, and are asked whether they answer.
    _polled: ClassVar[set[str]] = set()
    # This server proves that it is the one that was started (challenge).
    _answers_challenge = False

    async def _wait_until_ready(self, url: str) -> None:
        # The Hub waits too, but backs off to 5 s between its attempts (jupyterhub.utils.exponential_backoff).
        self._polled.add(self.object_name)
        try:
            await self._poll_until_ready(url)
        finally:
            self._polled.discard(self.object_name)

    async def _poll_until_ready(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.http_timeout
        look_again = loop.time() + _INSIST_S
        failing = failures.SILENT
        # The kernel of a container answers at once; nobody does at the address of one that ended.
        timeout = aiohttp.ClientTimeout(total=5, sock_connect=1)
        # Nothing is unpacked: a short answer could become a very long one.
        plain = {"Accept-Encoding": "identity"}
        async with aiohttp.ClientSession(headers=plain, timeout=timeout, auto_decompress=False) as session:
            while loop.time() < deadline:
                with suppress(aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
                    failing = await self._what_fails(session, url)
                    if not failing:
                        return
                slower = max(1.0, len(self._polled) / _POLLED_AT_FULL_PACE)
                if loop.time() > look_again:
                    look_again = loop.time() + _INSIST_S * slower
                    await self._insist_that_it_runs()
                await asyncio.sleep(_POLL_S * slower)
        lines = await self._last_lines()
        raise failures.no_answer(self.http_timeout, failing, url, lines, self._log_name)

    async def _what_fails(self, session: aiohttp.ClientSession, url: str) -> str:
        """Ask the server once; "" if it is ready.  No secret is sent: whose server answers is not known yet."""
        if not self._answers_challenge:
            async with session.get(f"{url}api", allow_redirects=False) as response:
                return failures.FAILING if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        asked = challenge.nonce()
        async with session.get(f"{url}{challenge.PATH}?nonce={asked}", allow_redirects=False) as response:
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return failures.FAILING
            answer = json.loads(await self._body(response)) if response.status == HTTPStatus.OK else None
        return "" if challenge.is_answer(self.api_token, asked, answer) else failures.ANOTHER

    @staticmethod
    async def _body(response: aiohttp.ClientResponse) -> bytes:
        found = b""
        while rest := _ANSWER_AT_MOST - len(found):
            if not (chunk := await response.content.read(rest)):
                break
            found += chunk
        return found

    async def _insist_that_it_runs(self) -> None:
        container = await self.get_object()
        if container is None:
            raise failures.vanished(self._log_name)
        if not container["State"]["Running"]:
            lines, memory = await self._last_lines(), limits.in_bytes(self.mem_limit)
            if self.remove:
                await self._forget()
            raise failures.of_ended(container["State"], lines, memory, self._log_name)
