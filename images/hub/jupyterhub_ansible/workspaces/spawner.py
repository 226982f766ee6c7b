"""The part of the spawner for workspaces: the declaration, and nobody's choice, decides what their servers are."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from http import HTTPStatus

from traitlets import Dict, Instance, Unicode

from ..settings.model import Workspace
from ..sharing.spawner import SharingSpawner
from ..spawner.errors import SpawnError
from ..spawner.options import Catalogue
from .accounts import is_account, slug_of

VARIABLE = "JUPYTERHUB_WORKSPACE"
"""Environment variable of a workspace's server: its slug."""
OPTION = "workspace"
"""The slug in a server's stored options (culling.plan)."""


class WorkspaceSpawner(SharingSpawner):
    """A spawner that starts a workspace with its declared environment and size, whoever starts it."""

    workspaces = Dict(
        key_trait=Unicode(), value_trait=Instance(Workspace), help="The declared ones: {slug: workspace}"
    ).tag(config=True)

    @property
    def workspace(self) -> Workspace | None:
        """The workspace that this is the server of; None for users' servers."""
        return self.workspaces.get(slug_of(self.user.name)) if self.user else None

    @property
    def may_have_guests(self) -> bool:
        """Whether others than the owner may ever use this server: the members."""
        return super().may_have_guests or is_account(self.user.name)

    @property
    def collaborates(self) -> bool:
        """Whether the next start has live collaboration: as declared."""
        if self.user and is_account(self.user.name):
            return bool(self.workspace and self.workspace.collaboration)
        return super().collaborates

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
        return env | ({VARIABLE: self.workspace.slug} if self.workspace else {})
