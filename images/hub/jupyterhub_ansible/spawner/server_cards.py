"""What users see of their own servers on the Hub's home page (templates/servers.html)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jupyterhub import orm
from jupyterhub.utils import url_escape_path, url_path_join

from .. import clean
from ..audit.visits import SHARED as VISITS
from ..audit.visits import Visit
from ..culling import plan as culling
from ..settings.model import Environment, Settings
from ..sharing import grants
from . import disk_admission, naming
from .disk_admission import Disk
from .start_page import Limits
from .usage import Usage

_STATES = {"spawn": "starting", "check": "starting", "stop": "stopping", "rename": "being renamed"}
_MOMENT = "less than a minute"
_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


@dataclass(frozen=True)
class Card:
    """A server as its owner sees it."""

    name: str
    """The last part of its address; "" for the default server."""
    title: str
    url: str
    spawn_url: str
    pending_url: str
    state: str
    """running, starting, stopping, being renamed, being deleted, stopped, or never started"""
    since: datetime | None
    """When it was started, in UTC."""
    used: datetime | None
    """When it was last used, or was stopped."""
    note: str
    """Why it ended, or why its last start failed."""
    environment: str
    size: str
    usage: str
    """Memory and processors; "" if not running, or not known."""
    timeout_s: int
    """After how long without use it is stopped; 0 for never."""
    share_url: str
    shared: str
    """With whom, and by how many open links."""
    visits: tuple[Visit, ...] = ()
    """Who else was in it last, newest first."""

    @property
    def age(self) -> str:
        """For how long it has been running."""
        return _since(self.since) if self.since and self.state == "running" else ""

    @property
    def idle(self) -> str:
        """How long ago it was last used."""
        if not self.used or self.state not in ("running", "stopped"):
            return ""
        return "just now" if (idle := _since(self.used)) == _MOMENT else f"{idle} ago"

    @property
    def timeout(self) -> str:
        """After how long without use it is stopped."""
        return lasting(self.timeout_s) if self.timeout_s and self.state == "running" else ""


@dataclass(frozen=True)
class Page:
    """A user's servers, the default one first, and what the page says about them."""

    cards: tuple[Card, ...]
    running_limit: int
    """Servers that the user may run at once; 0 for any number."""
    of_deleted: str
    """What becomes of the files of a named server that is deleted."""
    of_new: str
    """Which files a new named server has."""
    may_share: bool
    """Whether others can be let in by a link."""
    disk: Disk
    is_disk_low: bool
    """Whether servers start only to delete files."""

    @property
    def is_running_limit_reached(self) -> bool:
        """Whether a further start would be refused."""
        running = sum(each.state in ("starting", "running", "stopping") for each in self.cards)
        return 0 < self.running_limit <= running


def lasting(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: "3 hours"."""
    for length, unit in _UNITS:
        if (number := int(seconds // length)) > 0:
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return _MOMENT


def state_of(spawner: Any) -> str:
    """Return the state of a server for others than its owner: running, starting, stopping or stopped."""
    return _STATES.get(spawner.pending, "running") if spawner and spawner.active else "stopped"


def _since(then: datetime) -> str:
    # Naive UTC, as JupyterHub stores times.
    return lasting((datetime.now(UTC).replace(tzinfo=None) - then).total_seconds())


def of(settings: Settings) -> Callable[[Any], Callable[..., Page]]:
    """Return the value for JupyterHub.template_vars.

    JupyterHub calls it with the user of each page; what it returns is called only by the home page.
    """
    cards = _Cards(settings)
    return lambda user: lambda usage=None: cards.page(user, usage or {})


class _Cards:
    def __init__(self, settings: Settings) -> None:
        self._environments: Mapping[str, Environment] = {each.slug: each for each in settings.images_environments}
        self._limits = Limits(settings.hub_server_memory_mb, settings.hub_server_cpus)
        self._plan = culling.plan(settings)
        self._running_limit = settings.hub_running_servers_limit
        template = settings.hub_volume_name_template
        shared = naming.is_home_shared(template, shared=settings.hub_named_servers_share_home)
        self._of_deleted = _of_deleted(settings.hub_deleted_homes, shared=shared, adopted=bool(template))
        self._of_new = _of_new(settings.hub_deleted_homes, shared=shared)
        self._may_share = settings.hub_sharing != grants.NOBODY

    def page(self, user: Any, usage: Mapping[str, Usage]) -> Page:
        """Return the page of a user; `usage` by the ids of containers."""
        named = user.all_spawners(include_default=False)
        disk = disk_admission.look()
        return Page(
            tuple(self._card(user, each, usage) for each in (user.spawner, *named)),
            self._running_limit,
            self._of_deleted,
            self._of_new,
            # An operator's own spawner has no such servers.
            self._may_share and hasattr(user.spawner, "unshareable"),
            disk,
            # Neither has one; and `hub_traits` may say something else than the setting.
            disk.is_low(getattr(user.spawner, "reserve_disk_mb", 0)),
        )

    def _card(self, user: Any, spawner: Any, usage: Mapping[str, Usage]) -> Card:
        is_stored = isinstance(spawner, orm.Spawner)
        stored = spawner if is_stored else spawner.orm_spawner
        path = url_path_join(user.escaped_name, url_escape_path(stored.name)) if stored.name else user.escaped_name
        state = _state(None if is_stored else spawner, stored)
        environment, size = self._chosen(stored.user_options)
        return Card(
            name=stored.name,
            title=(stored.display_name or stored.name) if stored.name else "Default server",
            url=user.server_url(stored.name),
            spawn_url=f"spawn/{path}",
            pending_url=f"spawn-pending/{path}",
            state=state,
            since=stored.started,
            used=stored.last_activity,
            note=_note(None if is_stored else spawner, stored) if state in ("stopped", "never started") else "",
            environment=environment,
            size=size,
            usage=_used(usage.get(getattr(spawner, "object_id", ""))) if state == "running" else "",
            timeout_s=culling.timeout_of(self._plan, stored.user_options),
            visits=tuple(VISITS.of(f"{user.name}/{stored.name}", datetime.now(UTC))),
            share_url=f"share/{url_escape_path(stored.name)}" if stored.name else "share",
            shared=_shared(stored),
        )

    def _chosen(self, options: Mapping[str, Any] | None) -> tuple[str, str]:
        """Return the environment and size that a server was last started with; "" if never, or not known any more."""
        options = options or {}
        if "image" in options:
            return clean.one_line(str(options["image"]), 100), str(self._limits)
        slug = options.get("profile")
        if not isinstance(slug, str):
            return "", ""
        if slug not in self._environments:
            return f"{clean.one_line(slug, 60)} (not offered any more)", ""
        environment = self._environments[slug]
        if not environment.sizes:
            return environment.title, str(self._limits)
        for size in environment.sizes:
            if size.slug == options.get("size"):
                return environment.title, f"{size.name}: {Limits(size.memory_mb, size.cpus)}"
        return environment.title, ""


def _state(spawner: Any, stored: orm.Spawner) -> str:
    if spawner is not None:
        if stored.name and getattr(spawner, "is_being_deleted", False):
            return "being deleted"
        if spawner.pending:
            return _STATES.get(spawner.pending, str(spawner.pending))
        if spawner.ready:
            return "running"
    return "stopped" if stored.last_activity else "never started"


def _note(spawner: Any, stored: orm.Spawner) -> str:
    start = spawner._spawn_future if spawner is not None and spawner._failed else None
    if start and (why := getattr(start.exception(), "jupyterhub_message", "")):
        return f"The last start failed. {why}"
    return str((stored.state or {}).get("ended", ""))


def _shared(stored: orm.Spawner) -> str:
    people = [each.user.name for each in grants.guests(stored)]
    number = len(grants.links(stored))
    by_link = [f"by {number} link{'' if number == 1 else 's'}"] if number else []
    return ", ".join([*([f"with {', '.join(people)}"] if people else []), *by_link])


def _used(usage: Usage | None) -> str:
    if usage is None:
        return ""
    memory, limit = (Limits(each / 1024**2, None) for each in (usage.memory, usage.memory_limit))
    of_memory = f"{memory} of {limit}".replace(" memory of", " of")
    return of_memory if usage.cpus is None else f"{of_memory}, {usage.cpus:.1f} processors"


def _of_deleted(deleted_homes: str, *, shared: bool, adopted: bool) -> str:
    if shared:
        return "All your servers have the same files, so they stay. Only the server itself is deleted."
    if deleted_homes == "keep":
        return (
            "Its files are kept: a new server with the same address has them again."
            " To get rid of them, delete them in the server before you delete it."
        )
    but = " (Files that an earlier Hub made are kept.)" if adopted else ""
    if deleted_homes == "archive":
        return (
            "Its files are packed away: you cannot reach them any more, but an administrator can bring them back."
            f" To get rid of them, delete them in the server before you delete it.{but}"
        )
    return f"Its files are deleted for good: nobody can bring them back.{but}"


def _of_new(deleted_homes: str, *, shared: bool) -> str:
    if shared:
        return "It has the same files as your other servers."
    again = " If you had a server with this address before, its files are there again."
    return "It has files of its own." + (again if deleted_homes == "keep" else "")
