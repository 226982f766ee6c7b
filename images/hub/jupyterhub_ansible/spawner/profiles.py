"""What a user may choose, offered and applied: the part of the spawner that knows the catalogue."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from docker.types import DeviceRequest
from docker.types import Mount as DockerMount
from dockerspawner import DockerSpawner
from traitlets import Dict, Instance, List, Unicode

from ..settings.model import Environment
from .failures import ServerError
from .options import Catalogue, Choice, ChoiceError, options_from_form
from .start_page import Limits, form


def _refused(error: ChoiceError, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> ServerError:
    return ServerError(str(error), reason="choice", status_code=status)


class ChoosingSpawner(DockerSpawner):
    """A spawner whose user chooses an environment and a size, by the start page, a link or the REST API."""

    profiles = Dict(
        key_trait=Unicode(), value_trait=Instance(Environment), help="The catalogue: {slug: environment}"
    ).tag(config=True)
    default_profile = Unicode(help="Slug of the environment that is used if none is chosen").tag(config=True)
    free_images = Dict(
        key_trait=Unicode(), value_trait=List(Unicode()), help="Images that users may name: {group: [pattern]}"
    ).tag(config=True)

    choice: Choice | None = None
    """What the server is started with; None before its start, and after the Hub's own."""
    notice = ""
    """What the user should know of the choice: that the last one is no longer offered."""
    extra_host_config: dict[str, Any]

    # --- offered

    def catalogue(self) -> Catalogue:
        """Return what this user may choose from.

        Raises:
            ServerError: that is nothing at all.
        """
        groups = {group.name for group in self.user.groups}
        try:
            return Catalogue.of(self._names(), groups, self.profiles, self.default_profile, self.free_images)
        except ChoiceError as error:
            raise _refused(error, HTTPStatus.FORBIDDEN) from None

    def _names(self) -> set[str]:
        """By which settings may mean the user; where logins can change, the authenticator knows."""
        names = getattr(self.authenticator, "names", None)
        return names(self.user.name) if names else {self.user.name}

    def _options_form_default(self) -> Any:
        # Asked at every request: the catalogue depends on groups, and what is preselected on the last choice.
        return type(self).offer

    def offer(self) -> str:
        """Return the HTML of the choice, for JupyterHub's spawn page; "" if there is nothing to choose."""
        catalogue = self.catalogue()
        choice, notice = catalogue.recall(self.orm_spawner.user_options or {})
        named = self.name and (self.display_name or self.name)
        return form(catalogue, choice, notice, self._limits(), named)

    def _limits(self) -> Limits:
        memory, cpus = (
            value if isinstance(value, (int, float)) else None for value in (self.mem_limit, self.cpu_limit)
        )
        return Limits(memory / 1024**2 if memory else None, cpus or None)

    def _options_from_form_default(self) -> Any:
        return self._options_from_form

    def _options_from_form(self, formdata: Mapping[str, list[str]]) -> dict[str, object]:
        try:
            options = options_from_form(formdata)
            # Checked here already: JupyterHub stores a choice before it applies it.
            self.catalogue().choose(options)
        except ChoiceError as error:
            raise _refused(error) from None
        return options

    def options_from_query(self, query_data: Mapping[str, list[str]]) -> dict[str, object]:
        """Return a link's options: JupyterHub starts at once what they name, and anybody can send a link.

        So a link names something of the catalogue; an image that its user did not type would have the user's home.
        """
        options = self._options_from_form(query_data)
        if not options:
            # The address of a form that was sent and failed, without its fields.
            raise _refused(ChoiceError("Please choose an environment."))
        if "image" in options:
            raise _refused(ChoiceError("A link cannot start an image of your own: please enter it here."))
        return options

    # --- applied

    def _apply_user_options_default(self) -> Any:
        return type(self).apply_profile

    def apply_profile(self, options: Mapping[str, object]) -> None:
        """Take what the environment and the size that `options` name give a server.

        A stored choice (JupyterHub keeps the last one) that the user does not have any more gives way to the default.

        Raises:
            ServerError: the choice was made in this very request, and this user does not have it.
        """
        catalogue = self.catalogue()
        if self._chosen_in_this_request():
            try:
                self.choice, self.notice = catalogue.choose(options), ""
            except ChoiceError as error:
                raise _refused(error) from None
        else:
            self.choice, self.notice = catalogue.recall(options)
        if self.notice:
            self.log.warning("%s: %s", self._log_name, self.notice)
        # What it came to is the last choice from now on: where it gave way, and where it left something to the default.
        # The Hub's other parts know a running server's environment by it (culling.slug_of).
        self.user_options = self.orm_spawner.user_options = self.choice.options
        environment, size = self.choice.environment, self.choice.size
        self.image = environment.image
        self.default_url = environment.default_url
        self.notebook_dir = environment.home
        if size:
            self.mem_limit = f"{size.memory_mb}M"
            self.cpu_limit = size.cpus
        if self.choice.free_image or environment.pull:
            # The others are on the machine since the deployment.
            self.pull_policy = "ifnotpresent"

    def _chosen_in_this_request(self) -> bool:
        # Choices of forms and links pass options_from_form; only the REST API's arrive unchecked.
        body = getattr(self.handler, "get_server_json_body", None)
        return body is not None and body()["user_options"] is not None

    async def check_allowed(self, image: str) -> str:
        """Return the image of the choice, whatever image DockerSpawner reads from stored options."""
        return str(self.image)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment variables, those of the chosen environment on top."""
        return {**super().get_env(), **(self.choice.environment.environment if self.choice else {})}

    @property
    def mount_binds(self) -> list[Any]:
        """What the administrator and the chosen environment mount beside the home."""
        ours = self.choice.environment.mounts if self.choice else ()
        return [
            *super().mount_binds,
            *(
                DockerMount(
                    target=mount.target,
                    source=mount.source,
                    type="bind" if mount.source.startswith("/") else "volume",
                    read_only=mount.read_only,
                )
                for mount in ours
            ),
        ]

    async def create_object(self) -> Any:
        """Create the container, with the GPUs that the chosen environment asks for."""
        gpus = self.choice.environment.gpus if self.choice else 0
        without = self.extra_host_config
        if gpus:
            request = DeviceRequest(count=gpus, capabilities=[["gpu"]])
            self.extra_host_config = {"device_requests": [request], **without}
        try:
            return await super().create_object()
        finally:
            self.extra_host_config = without
