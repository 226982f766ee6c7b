"""The part of the spawner for servers that others than their owner may use.

They are told to end open connections (jupyterhub_guests in the image) and to ask the Hub often, and their own token,
which everybody in them can read, opens nothing.
"""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from traitlets import Unicode

from ..rules.traits import CACHE, LONGEST_CACHE_S
from ..spawner.errors import SpawnError
from ..spawner.profiles import ProfileSpawner
from . import grants

GUESTS = "JUPYTERHUB_GUESTS"
"""Environment variable of a server that others may use."""
COLLABORATION = "JUPYTERHUB_COLLABORATION"
"""Environment variable that turns live collaboration on (jupyterhub_start in its image)."""
STOP_S = 30
"""Seconds that Docker gives a server with live collaboration to save documents at its end; others have 10."""
CACHE_S = 10
"""Seconds for which such a server relies on the Hub's last answer about a user (others: LONGEST_CACHE_S)."""


class SharingSpawner(ProfileSpawner):
    """A spawner whose servers can be shared by a link."""

    sharing = Unicode(grants.NOBODY, help="With whom users may share: nobody, groups or everybody").tag(config=True)

    extra_create_kwargs: dict[str, Any]
    takes_guests = False
    """Whether the running server ends the connections of guests who may not use it any more."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.user and self.may_have_guests:
            # By default (role `server`) it would open the server itself, for former guests, too.
            self.server_token_scopes = ["users:activity!user"]
            # Guests can read the owner's token for this server, and the owner theirs: they open this server alone.
            self.oauth_client_allowed_scopes: list[str] = []

    @property
    def may_have_guests(self) -> bool:
        """Whether others than the owner may ever use this server."""
        return bool(self.sharing != grants.NOBODY)

    @property
    def collaborates(self) -> bool:
        """Whether the next start has live collaboration: if the server is shared by then."""
        return self._is_shared()

    def _is_shared(self) -> bool:
        stored = self.orm_spawner
        return self.sharing != grants.NOBODY and bool(
            grants.links(stored) or any(grants.is_ours(each) for each in grants.guests(stored))
        )

    def unshareable(self) -> str:
        """Return why this server cannot be shared now; "" if it can."""
        if not self.may_have_guests:
            return "Servers cannot be shared on this Hub."
        if self.pending == "spawn":
            return "This server is just starting: please wait until it runs."
        try:
            environment = self.catalogue().recall(self.orm_spawner.user_options or {})[0].environment
        except SpawnError as error:
            return error.jupyterhub_message
        if not environment.tells_activity:
            return (
                f"A server with the environment {environment.title} cannot be shared: it may not end the connections"
                " of people whose access has ended."
            )
        if self.active and not self.takes_guests:
            return "This server has been running since before servers could be shared: stop and start it first."
        return ""

    def apply_profile(self, options: Mapping[str, object]) -> None:
        """Apply the choice; a shared server cannot have an environment that may keep the connections of guests.

        Raises:
            SpawnError: it would have one.
        """
        super().apply_profile(options)
        if self.choice and not self.choice.environment.tells_activity and self._is_shared():
            raise SpawnError(
                f"Your server is shared, and the environment {self.choice.environment.title} may not end the"
                " connections of people whose access has ended. Choose another one, or stop sharing the server on the"
                " home page.",
                reason="shared",
                status_code=HTTPStatus.BAD_REQUEST,
            )

    async def create_object(self) -> Any:
        """Create the container; live collaboration has more time to save, unless the administrator says otherwise."""
        given = self.extra_create_kwargs
        self.takes_guests = self.may_have_guests
        if self.collaborates:
            self.extra_create_kwargs = {"stop_timeout": STOP_S, **given}
        try:
            return await super().create_object()
        finally:
            self.extra_create_kwargs = given

    def get_state(self) -> dict[str, Any]:
        """Return what the next Hub needs to know of a running server."""
        state: dict[str, Any] = super().get_state()
        return {**state, "takes_guests": True} if self.takes_guests else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a running server."""
        super().load_state(state)
        self.takes_guests = bool(state.get("takes_guests"))

    def clear_state(self) -> None:
        """Clear the state of a server that is gone."""
        super().clear_state()
        self.takes_guests = False

    def get_env(self) -> dict[str, str]:
        """Return the server's environment variables."""
        env: dict[str, str] = super().get_env()
        if self.may_have_guests:
            env |= {GUESTS: "1"} | ({COLLABORATION: "1"} if self.collaborates else {})
        return env

    def get_args(self) -> list[str]:
        """Return the server's arguments, with how long it relies on the Hub's last answer (by default five minutes).

        A shorter time that the operator gave counts, in place of ours: the server refuses two.
        """
        args: list[str] = super().get_args()
        given = [int(found[1] or 0) for each in args if (found := CACHE.fullmatch(each))]
        shortest = min([CACHE_S if self.may_have_guests else LONGEST_CACHE_S, *filter(None, given)])
        return [*(each for each in args if not CACHE.fullmatch(each)), f"--HubAuth.cache_max_age={shortest}"]
