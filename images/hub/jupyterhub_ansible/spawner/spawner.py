"""The spawner of users' servers: DockerSpawner with our names, labels, limits and catalogue."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

import aiohttp
import docker
from docker.errors import APIError, NotFound
from tornado.web import HTTPError
from traitlets import Bool, Enum, Int, Unicode

from .. import clean
from ..engine import calls, run_as
from ..engine.labels import PROJECT, USER, carries, labels, not_inherited
from . import admission, challenge, failures, homes, limits, naming, orphans
from .addressing import AddressedSpawner
from .failures import DOCKER_ERRORS, ServerError
from .options import without_tag
from .progress import ANSWERING, CREATING, PULLING, STARTING, WAITING, Event, Progress, Pull

PULL_TIMEOUT_S = 1800
"""Seconds in which an image has to be fetched."""
# What all servers use is asked of the engine, which takes some of its time, this often at most.
_ASK_AGAIN_S = 5
# Whether a server answers is asked this often, whether its container runs at all this often: many that start at once
# are asked less often each, or the asking would hold them up (20 starts on 2 processors).
_POLL_S, _INSIST_S = 0.05, 0.5
_POLLED_AT_FULL_PACE = 2
# A start is mostly computing.  Where many start at once, each would take as long as all of them: so they start in turn,
# and most can work much sooner.  One that is slow keeps nobody waiting for longer than this, in seconds.
_TURNS = 2 * (os.cpu_count() or 1)
_TURN_S = 5
# Bytes of an answer that are read: the right one is shorter, and a user's server can send without end.
_ANSWER_AT_MOST = 1024
# Between the end and the start of a container that an administrator restarts (`docker restart`).
_RESTART_S = 1.5
# Lines of a server's log that the administrator gets of one that failed.
_LAST_LINES = 20


def _literal(text: str) -> str:
    """`text` as it survives DockerSpawner._render_templates: a user's name may hold braces, and JSON does."""
    return text.replace("{", "{{").replace("}", "}}")


class UserServerSpawner(AddressedSpawner):
    """Starts a user's server in a container of its own, from an image of the catalogue.

    It touches only containers and volumes that carry the labels of this project and this user.
    """

    project = Unicode(help="Prefix of all names, and value of the project label").tag(config=True)
    pids_limit = Int(1024, help="Processes and threads of a server at most").tag(config=True)
    share_home = Bool(False, help="All servers of a user have one home").tag(config=True)
    volume_name_template = Unicode(
        None,
        allow_none=True,
        help="Template of the homes' names, expanded and escaped as DockerSpawner does, to adopt its volumes",
    ).tag(config=True)

    tmp_mb = Int(None, allow_none=True, help="Size of /tmp in MiB; by default half of the memory limit").tag(
        config=True
    )
    reserve_memory_mb = Int(0, help="Memory of the machine that is not for users' servers, in MiB").tag(config=True)
    full_wait_s = Int(600, help="Seconds that a start waits for memory at most").tag(config=True)
    running_limit = Int(0, help="Servers of one user that may run at once; 0 for any number").tag(config=True)
    deleted_homes = Enum(
        ["keep", "archive", "remove"], "keep", help="What happens to the home of a deleted user or server"
    ).tag(config=True)

    before_start: ClassVar[Callable[[str], None] | None] = None
    """Called with the image before each start, and again before the container runs, in a thread.

    It raises ServerError where nothing may be started.
    """

    # Of all spawners: starts that wait for memory, what is known of the engine, and homes that are being disposed of.
    _queue: ClassVar = admission.Queue()
    _engine: ClassVar[limits.Engine | None] = None
    _disposing: ClassVar[set[str]] = set()
    # Those that start, and are asked whether they answer.
    _polled: ClassVar[set[str]] = set()
    _turns: ClassVar = asyncio.Semaphore(_TURNS)

    # What this server counts with, once it has its room.
    _claim: admission.Claim | None = None
    # Counted among its user's servers that run (`running_limit`): starting, or running.
    _admitted = False
    # Ends its turn to start, if it has it.
    _turn: asyncio.TimerHandle | None = None
    # Its server proves that it is the one that was started (challenge).
    _answers_challenge = False
    ended = ""
    """Why the server ended, in words for its user; "" from the next start on."""
    extra_create_kwargs: dict[str, Any]
    extra_host_config: dict[str, Any]

    # --- names and labels

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._progress = Progress()
        if self.user:
            # JupyterHub's own joins user and server by one hyphen (User._new_spawner): `a-b` + `c`, `a` + `b-c`
            # and the default server of `a-b-c` would overwrite each other's OAuth client.
            self.oauth_client_id = naming.server_name("jupyterhub", self.user.name, self.name)

    def _object_name_default(self) -> str:
        return naming.server_name(self.project, self.user.name, self.name)

    @property
    def home_volume(self) -> str:
        """Name of the volume that is this server's home."""
        if self.volume_name_template:
            return str(self.format_volume_name(self.volume_name_template, self))
        return naming.home_name(self.project, self.user.name, self.name, shared=self.share_home)

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The home, and what the administrator mounts besides."""
        return {**super().volume_binds, self.home_volume: {"bind": self.notebook_dir, "mode": "rw"}}

    def _labels(self, kind: str, server: str) -> dict[str, str]:
        return labels(self.project, kind, self.user.name, server)

    # --- Docker

    def docker(self, method: str, *args: Any, **kwargs: Any) -> "asyncio.Future[Any]":
        """Call a method of docker.APIClient in a thread.

        DockerSpawner has one thread for all: whoever stops a hung server holds up everybody's start.
        """
        if method == "pull":
            loop = asyncio.get_running_loop()
            kwargs["tell"] = lambda percent: loop.call_soon_threadsafe(self._tell_pull, percent)
            call: Any = self._pull
        else:
            call = partial(self._docker, method)
        return asyncio.wrap_future(calls.threads(method).submit(call, *args, **kwargs))

    def _pull(self, repository: str, tag: str, tell: Callable[[int], None]) -> None:
        if repository.endswith("@sha256"):
            # DockerSpawner splits a reference at its last colon, and Docker takes a digest in a tag's place.
            repository, tag = without_tag(repository.removesuffix("@sha256")), f"sha256:{tag}"
        pull, told = Pull(), -1
        for event in self.client.pull(repository, tag, stream=True, decode=True):
            # With a stream, docker-py takes an error for an event.
            if error := event.get("error"):
                raise APIError(error, explanation=error)
            if (percent := pull.add(event)) > told:
                told = percent
                tell(percent)

    def _tell_pull(self, percent: int) -> None:
        bar = PULLING + percent * (CREATING - PULLING) // 100
        self._progress.say(bar, f"Fetching the environment: {percent} %")

    async def _look_at_engine(self) -> limits.Engine:
        if UserServerSpawner._engine is None:
            UserServerSpawner._engine = limits.engine(await self.docker("info"))
        return UserServerSpawner._engine

    # --- the container

    async def get_object(self) -> Any:
        """Our container as Docker describes it; None if there is none, or if it is a stranger's.

        Unlike DockerSpawner's, this does not take an error of Docker's own (500) for "gone".
        """
        container = None
        with suppress(NotFound):
            container = await self.docker("inspect_container", self.object_name)
        if container and not carries(container["Config"]["Labels"], self._our_labels()):
            self.log.warning("Leaving container %s alone: its labels are not %s's", self.object_name, self._log_name)
            container = None
        self.object_id = container["Id"] if container else ""
        return container

    async def remove_object(self) -> None:
        """Stop and remove our container.

        Docker refuses to remove a running one, which DockerSpawner takes for "already being removed".
        """
        await self.stop_object()
        await super().remove_object()

    async def pull_image(self, image: str) -> None:
        """Make sure of the image (`pull_policy`)."""
        try:
            async with asyncio.timeout(PULL_TIMEOUT_S):
                await super().pull_image(image)
        except TimeoutError:
            raise failures.slow_pull(PULL_TIMEOUT_S, self._log_name, image) from None
        except DOCKER_ERRORS as error:
            if isinstance(error, NotFound) and self.pull_policy == "never":
                raise failures.missing_image(self._log_name, image) from None
            named = self.choice is not None and self.choice.free_image
            raise failures.of_pull(error, self._log_name, image, named) from None

    async def create_object(self) -> Any:
        """Create the container, with its labels and limits; what the administrator sets comes on top."""
        engine, memory = await self._look_at_engine(), limits.in_bytes(self.mem_limit)
        await self._wait_for_room(engine.memory - self.reserve_memory_mb * 1024**2)
        await self._wait_for_turn()
        self._progress.say(CREATING, "Creating the container of your server")
        image = await self.docker("inspect_image", self.image)
        user = await self._unprivileged(image)
        await self._ensure_home()
        ours = self._our_labels()
        self._answers_challenge = self._ours(image)
        given, given_host = self.extra_create_kwargs, self.extra_host_config
        self.extra_create_kwargs = {
            **given,
            "user": _literal(user),
            "labels": {
                **{_literal(name): value for name, value in not_inherited(image).items()},
                **given.get("labels", {}),
                **{key: _literal(value) for key, value in ours.items()},
            },
        }
        host = limits.host_config(self.project, engine, memory, self.tmp_mb, self.pids_limit)
        host["security_opt"] = [_literal(each) for each in host["security_opt"]]
        self.extra_host_config = limits.merged(host, given_host)
        try:
            return await super().create_object()
        except APIError as error:
            if error.status_code != 409:
                raise
            raise ServerError(
                "Another container of this machine has the name of your server. Please tell the administrator.",
                reason="name-taken",
                log_message=f"{self._log_name}: container {self.object_name} exists and carries no"
                f" labels of this user and project; left alone",
            ) from None
        finally:
            # The next start may be of another image, or another size.
            self.extra_create_kwargs, self.extra_host_config = given, given_host

    async def _unprivileged(self, image: Mapping[str, Any]) -> str:
        """Return the user of the container, by its number.

        Raises:
            ServerError: that is root, or cannot be found.
        """
        given = self.extra_create_kwargs.get("user")
        administrators = "" if given is None else str(self._render_templates(given))
        user = administrators or image["Config"].get("User") or ""
        uid = await run_as.uid(self.docker, self.project, image, user)
        if not uid:
            named = self.choice is not None and self.choice.free_image
            where = "hub_traits: DockerSpawner.extra_create_kwargs.user" if administrators else f"image {self.image}"
            raise failures.wrong_user(user, uid, where, self._log_name, str(self.image) if named else "")
        return run_as.numbered(user, uid)

    def _ours(self, image: Mapping[str, Any]) -> bool:
        # Somebody else's image may be built on ours, and run another server.
        known = self.choice is not None and self.choice.environment.tells_activity
        return known and challenge.LABEL in (image["Config"].get("Labels") or {})

    async def start_object(self) -> None:
        """Start the container."""
        # Pulling and waiting for room may have taken long.
        await self._check()
        self._progress.say(STARTING, "Starting your server")
        await super().start_object()
        self._progress.say(ANSWERING, "Waiting until your server answers")

    async def _check(self) -> None:
        if check := type(self).before_start:
            await asyncio.wrap_future(calls.threads("inspect").submit(check, str(self.image)))

    async def _ensure_home(self) -> None:
        # Docker leaves the volume that is there alone, if the name is taken.
        name = self.home_volume
        wanted = self._labels("home", "" if self.share_home else self.name)
        await self.docker("create_volume", name, labels=wanted)
        # Its answer to that would lack the labels after a restart of the engine (seen: 26.1).
        volume = await self.docker("inspect_volume", name)
        found = volume["Labels"] or {}
        # Volumes of another scheme have no labels, and Docker cannot add any.
        adopted = self.volume_name_template and PROJECT not in found
        same_user = {key: wanted[key] for key in (PROJECT, USER)}
        if not adopted and not carries(found, same_user):
            raise ServerError(
                "Another volume of this machine has the name of your home. Please tell the administrator.",
                reason="home-taken",
                log_message=f"{self._log_name}: volume {name} exists and carries no labels of this user and"
                " project; left alone",
            )

    # --- room

    def _everybody(self) -> Iterable["UserServerSpawner"]:
        """Yield the spawners of all servers that the Hub knows as running, starting or stopping."""
        for user in self.user.settings["users"].values():
            yield from (spawner for spawner in user.spawners.values() if spawner.active)

    def _refuse_too_many(self) -> None:
        # One that was asked for at the same moment, and is refused as well, does not count.
        others = [each for each in self.user.spawners.values() if each is not self]
        running = sum(each.active and (each.ready or each._admitted) for each in others)
        if self.running_limit and running >= self.running_limit:
            raise admission.too_many(running, self.running_limit, self._log_name)
        self._admitted = True

    async def _wait_for_room(self, budget: int) -> None:
        mine = self._claim_on(budget)
        if mine.guarantee > budget:
            raise admission.too_large(mine, budget, self._log_name)

        # Who was there when there was no room, and until when nobody asks again what they use.
        refused: tuple[list[str], float] = [], 0.0

        async def has_room() -> bool:
            nonlocal refused
            others = [each for each in self._everybody() if each is not self and not each._waits()]
            names, now = [each.object_name for each in others], asyncio.get_running_loop().time()
            if names == refused[0] and now < refused[1]:
                return False
            claims = [each._claim or each._claim_on(budget) for each in others]

            async def used() -> list[int]:
                return await asyncio.gather(*(each._memory_in_use() for each in others))

            found = await admission.fits(mine, budget, admission.Others(claims, used))
            refused = (names, now + _ASK_AGAIN_S)
            return found

        def take() -> None:
            self._claim = mine

        def tell(place: int, length: int) -> None:
            self._progress.say(WAITING, admission.waiting_message(place, length))

        try:
            await self._queue.wait(has_room, take, tell, self.full_wait_s)
        except TimeoutError:
            raise admission.still_full(self.full_wait_s, self._log_name) from None

    def _claim_on(self, budget: int) -> admission.Claim:
        return admission.claim(limits.in_bytes(self.mem_limit), self.mem_guarantee, budget)

    def _waits(self) -> bool:
        # A server that ran before the Hub was started has none either, if an older Hub started it.
        return self._claim is None and self.pending == "spawn"

    async def _memory_in_use(self) -> int:
        # Not yet created, or gone meanwhile: it counts with its guarantee.
        with suppress(*DOCKER_ERRORS):
            if self.object_id:
                return admission.in_use(await self.docker("stats", self.object_id, stream=False, one_shot=True))
        return 0

    def get_state(self) -> dict[str, Any]:
        """What the next Hub has to know of a server that runs."""
        state: dict[str, Any] = super().get_state()
        if self._claim:
            state["claim"] = list(self._claim)
        # JupyterHub makes a new spawner for a server that does not run.
        return {**state, "ended": self.ended} if self.ended else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a server that runs."""
        super().load_state(state)
        self._claim = admission.Claim(*state["claim"]) if "claim" in state else None
        self.ended = state.get("ended", "")

    def clear_state(self) -> None:
        """Forget a server that is gone."""
        super().clear_state()
        self._claim = None
        self._admitted = False

    # --- turns

    async def _wait_for_turn(self) -> None:
        if self._turns.locked():
            self._progress.say(CREATING, "Other servers are starting first; yours is waiting its turn")
        await self._turns.acquire()
        self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._end_turn)

    def _end_turn(self) -> None:
        if self._turn:
            self._turn.cancel()
            self._turn = None
            self._turns.release()

    # --- start and stop

    async def start(self) -> tuple[str, int]:
        """Start the server, and wait until it answers.

        Raises:
            ServerError: it may or can not start, ended while starting, or did not answer within `http_timeout` seconds.
        """
        self.ended = ""
        # Whatever leads there: the Hub makes the route when this has ended.
        self.unrouted = True
        if self.notice:
            # Who starts without the start page has not seen it.
            self._progress.say(0, self.notice)
        self._refuse_too_many()
        if self.home_volume in self._disposing:
            raise ServerError("Your server is just being deleted.", reason="deleted", status_code=400)
        try:
            await self._check()
            ip, port = await super().start()
            await self._wait_until_ready(f"http://{ip}:{port}{self.server.base_url}")
        except DOCKER_ERRORS as error:
            raise failures.of_docker(error, self._log_name) from None
        except HTTPError:
            raise
        except Exception as error:
            self.log.exception("%s could not be started", self._log_name)
            raise failures.of_anything(error, self._log_name) from None
        finally:
            self._end_turn()
        return ip, port

    async def progress(self) -> AsyncIterator[Event]:
        """Yield the events of the start, for the page that waits."""
        async for event in self._progress.follow():
            yield event

    async def stop(self, now: bool = False) -> None:
        """Stop the server; the proxy forgets it first."""
        await self.unroute()
        await super().stop(now)

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

    async def poll(self) -> Any:
        """None while the server runs, else its exit status; a server that ended is logged and removed.

        A server that ran runs on for all that is known while Docker does not answer: the Hub would forget it.
        """
        known = self.object_id
        try:
            container = await self.get_object()
            if container and not container["State"]["Running"] and self._serves():
                await self.unroute()
                await asyncio.sleep(_RESTART_S)
                container = await self.get_object()
        except DOCKER_ERRORS as error:
            self.log.warning("%s: Docker cannot be asked: %s", self._log_name, error)
            return None if known else 0
        if container and known and container["Id"] != known:
            # Of another Hub: this one's database is an older copy, for one.
            self.log.warning("%s: the container %s is not the one that was started", self._log_name, self.object_name)
            container, self.object_id = None, ""
        if container is None:
            if known:
                self.log.warning("%s: its container %s was removed by somebody else", self._log_name, known[:12])
                await self._note_end(failures.REMOVED)
            return 0
        if container["State"]["Running"]:
            # One that is still starting has no address yet.
            if self.server and self.server.ip:
                await self._find_again(container)
            return None
        status = failures.status(container["State"])
        await self._note_end(failures.why_ended(container["State"], container["HostConfig"]["Memory"]))
        self.log.warning("%s ended: %s. Its last lines:\n%s", self._log_name, status, await self._last_lines())
        if self.remove:
            await self._forget()
        return status

    async def _note_end(self, why: str) -> None:
        """Take the route away before anything else, and keep why; of a start that fails, its own error tells."""
        # That the Hub removed its container is not why.
        if self.server and self.server.ip and not self.ended:
            self.ended = why
        await self._unroute_if_routed()

    async def _forget(self) -> None:
        try:
            await self.remove_object()
        except DOCKER_ERRORS as error:
            # It is left over (remove_leftovers), or makes room for the next start.
            self.log.warning("%s: its container cannot be removed: %s", self._log_name, error)
        else:
            self.object_id = ""

    async def get_url(self) -> str:
        """Address of the server; that of one whose start the Hub did not see the end of is asked of Docker.

        The Hub asks at its own start (jupyterhub.app.JupyterHub.init_spawners), of servers that run.
        """
        if self.server.ip:
            return str(await super().get_url())
        container = await self.get_object()
        if container is None:
            # It ended just now.  An error would end the Hub; nobody answers there, so that the Hub stops it.
            return str(self.server.url)
        ip, port = await self.get_ip_and_port()
        variables = dict(line.partition("=")[::2] for line in container["Config"]["Env"])
        self.api_token = variables.get("JUPYTERHUB_API_TOKEN", "")
        self.orm_spawner.state = self.get_state()
        self.log.warning("%s was starting when the Hub ended: taking it over at %s", self._log_name, ip)
        return f"http://{ip}:{port}{self.server.base_url}"

    async def _last_lines(self) -> str:
        try:
            lines: bytes = await self.docker("logs", self.object_id, tail=_LAST_LINES)
        except DOCKER_ERRORS as error:
            # Not every log driver can be read.
            return f"(they cannot be read: {clean.one_line(str(error))})"
        return clean.lines(lines.decode(errors="replace").strip(), _LAST_LINES, last=True) or "(it wrote nothing)"

    # --- what is left behind

    async def remove_leftovers(self, users: Mapping[Any, Any], at_start: bool = False) -> list[str]:
        """Remove containers of servers that no user of the Hub has; return their names.

        At the Hub's start also those that archived a home for the last Hub, or told it something: nobody waits for
        them any more.
        """

        def known() -> Collection[tuple[str, str]]:
            servers = [spawner for user in users.values() for spawner in user.spawners.values()]
            return {(spawner.user.name, spawner.name) for spawner in servers if spawner.active}

        removed = await orphans.remove(self.docker, self.project, "user-server", known, self.log)
        if at_start:
            for kind in ("homes", run_as.KIND_OF_PROBES):
                removed += await orphans.remove(self.docker, self.project, kind, tuple, self.log)
        return removed

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refuse another name for a server whose files go by its name; what is shown of it can be changed."""
        if not self._home_is_shared():
            raise ServerError(
                "A server's name cannot be changed, since its files go by it. Change its display name instead.",
                reason="rename",
                status_code=400,
            )

    def _home_is_shared(self) -> bool:
        template = self.volume_name_template
        return "servername}" not in template if template else self.share_home

    async def delete_forever(self) -> None:
        """Dispose of the home of a server or user that is being deleted (`deleted_homes`).

        The Hub deletes it whatever happens here: what cannot be done is logged, and the home stays.
        """
        volume = self.home_volume
        if self.name and self._home_is_shared():
            return  # the user's other servers have it, too
        if not self.name and (running := [each.name for each in self.user.spawners.values() if each.active]):
            # The Hub stops this one only, and does not delete a user who has another one running.
            self.log.error("%s stays, with its home: the server %s of its user runs", self._log_name, running[0])
            return
        self._disposing.add(volume)
        try:
            if await self.get_object():
                await self.remove_object()
            done = await asyncio.get_running_loop().run_in_executor(
                calls.ARCHIVES,
                lambda: homes.dispose(docker.from_env(), self.project, self.user.name, volume, self.deleted_homes),
            )
        except (homes.HomesError, *DOCKER_ERRORS) as error:
            self.log.error("%s is deleted, but its home stays, the volume %s: %s", self._log_name, volume, error)
        else:
            self.log.warning("%s is deleted; %s", self._log_name, done)
        finally:
            self._disposing.discard(volume)
