"""The part of the spawner for workspaces: the declaration, and nobody's choice, decides what their servers are."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from traitlets import Dict, Instance, Unicode

from ..rules.traits import CACHE, LONGEST_CACHE_S
from ..settings.model import Workspace
from ..spawner.errors import SpawnError
from ..spawner.options import Catalogue
from ..spawner.profiles import ProfileSpawner
from .accounts import is_account, slug_of

VARIABLE = "JUPYTERHUB_WORKSPACE"
"""Environment variable of a workspace's server: its slug (jupyterhub_workspace in its image)."""
COLLABORATION = "JUPYTERHUB_COLLABORATION"
"""Environment variable that turns live collaboration on (jupyterhub_start in its image)."""
OPTION = "workspace"
"""The slug in a server's stored options (culling.plan)."""
STOP_S = 30
"""Seconds that Docker gives a server with live collaboration to save documents at its end; others have 10."""
CACHE_S = 10
"""Seconds for which a workspace's server relies on the Hub's last answer about a user (others: LONGEST_CACHE_S)."""


class WorkspaceSpawner(ProfileSpawner):
    """A spawner that starts a workspace with its declared environment and size, whoever starts it."""

    extra_create_kwargs: dict[str, Any]

    workspaces = Dict(
        key_trait=Unicode(), value_trait=Instance(Workspace), help="The declared ones: {slug: workspace}"
    ).tag(config=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.user and is_account(self.user.name):
            # All members can read the tokens in their server.  Its own only reports activity: by default (role
            # `server`) it would open the server itself, for former members, too.  Users' tokens open only this server.
            self.server_token_scopes = ["users:activity!user"]
            self.oauth_client_allowed_scopes: list[str] = []

    @property
    def workspace(self) -> Workspace | None:
        """The workspace that this is the server of; None for users' servers."""
        return self.workspaces.get(slug_of(self.user.name)) if self.user else None

    def catalogue(self) -> Catalogue:
        """Return what may be chosen: for a workspace, only what is declared.

        Raises:
            SpawnError: the workspace is not declared any more, or has only one server.
        """
        if not self.user or not is_account(self.user.name):
            return super().catalogue()
        workspace = self.workspace
        if workspace is None or self.name:
            raise SpawnError(
                "A workspace has one server only." if workspace else "There is no workspace of this name any more.",
                reason="workspace",
                status_code=HTTPStatus.FORBIDDEN,
            )
        environment = self.profiles[workspace.environment]
        # Without a declared size, the first one.
        sizes = [each for each in environment.sizes if workspace.size in (None, each.slug)][:1]
        fixed = environment.model_copy(update={"sizes": tuple(sizes)})
        return Catalogue({fixed.slug: fixed}, fixed.slug)

    def apply_profile(self, options: Mapping[str, object]) -> None:
        """Apply the declared environment and size, and mark the stored options as a workspace's."""
        super().apply_profile(options)
        if workspace := self.workspace:
            # What the last start had, if it was declared otherwise, is nobody's choice.
            self.notice = ""
            self.user_options = self.orm_spawner.user_options = {**self.user_options, OPTION: workspace.slug}

    async def create_object(self) -> Any:
        """Create the container; live collaboration has more time to save, unless the administrator says otherwise."""
        given = self.extra_create_kwargs
        if self.workspace and self.workspace.collaboration:
            self.extra_create_kwargs = {"stop_timeout": STOP_S, **given}
        try:
            return await super().create_object()
        finally:
            self.extra_create_kwargs = given

    async def rename(self, old_name: str, new_name: str) -> None:
        """Refuse to give a workspace's server a name: nobody's role opens or starts a named one (accounts.scopes)."""
        if self.user and is_account(self.user.name):
            raise SpawnError(
                "A workspace has one server only, without a name.",
                reason="workspace",
                status_code=HTTPStatus.FORBIDDEN,
            )
        await super().rename(old_name, new_name)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment variables."""
        env: dict[str, str] = super().get_env()
        if workspace := self.workspace:
            env |= {VARIABLE: workspace.slug} | ({COLLABORATION: "1"} if workspace.collaboration else {})
        return env

    def get_args(self) -> list[str]:
        """Return the server's arguments, with how long it relies on the Hub's last answer (by default five minutes).

        A shorter time that the operator gave counts, in place of ours: the server refuses two.
        """
        args: list[str] = super().get_args()
        given = [int(found[1] or 0) for each in args if (found := CACHE.fullmatch(each))]
        shortest = min([CACHE_S if self.workspace else LONGEST_CACHE_S, *filter(None, given)])
        return [*(each for each in args if not CACHE.fullmatch(each)), f"--HubAuth.cache_max_age={shortest}"]
