"""The part of the spawner that offers and applies profiles: the environments, sizes and images of the catalogue."""
# JupyterHub and DockerSpawner have no types.
# mypy: allow-subclassing-any

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from docker.types import DeviceRequest
from dockerspawner import DockerSpawner
from traitlets import Dict, Instance, List, Unicode

from ..auth.names import names_of
from ..rules.mounts import USERNAME
from ..settings.model import Environment
from . import naming
from .errors import SpawnError
from .mounted_volumes import docker_mount
from .options import Catalogue, Choice, ChoiceError, options_from_form
from .start_page import Limits, form


def _rejected(error: ChoiceError, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> SpawnError:
    return SpawnError(str(error), reason="choice", status_code=status)


def _without_copy(mode: str) -> str:
    return mode if "nocopy" in mode.split(",") else f"{mode},nocopy"


class ProfileSpawner(DockerSpawner):
    """A spawner whose user chooses an environment and size on the start page, by a link or by the REST API."""

    profiles = Dict(
        key_trait=Unicode(), value_trait=Instance(Environment), help="The catalogue: {slug: environment}"
    ).tag(config=True)
    default_profile = Unicode(help="Slug of the environment that is used if none is chosen").tag(config=True)
    free_images = Dict(
        key_trait=Unicode(), value_trait=List(Unicode()), help="Images that users may name: {group: [pattern]}"
    ).tag(config=True)

    choice: Choice | None = None
    """What the server is started with; None before its start, and after a restart of the Hub."""
    notice = ""
    """A notice for the user, if the last choice is no longer offered."""
    extra_host_config: dict[str, Any]

    # --- offered

    def catalogue(self) -> Catalogue:
        """Return what this user may choose from.

        Raises:
            SpawnError: nothing at all.
        """
        groups = {group.name for group in self.user.groups}
        try:
            names = names_of(self.authenticator, self.user.name)
            return Catalogue.of(names, groups, self.profiles, self.default_profile, self.free_images)
        except ChoiceError as error:
            raise _rejected(error, HTTPStatus.FORBIDDEN) from None

    def _options_form_default(self) -> Any:
        # Callable, so evaluated at each request: it depends on groups and on the last choice.
        return type(self).render_options_form

    def render_options_form(self) -> str:
        """Return the HTML of the options form for JupyterHub's spawn page; "" if there is nothing to choose."""
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
            # Validated here, because JupyterHub stores options before it applies them.
            self.catalogue().choose(options)
        except ChoiceError as error:
            raise _rejected(error) from None
        return options

    def options_from_query(self, query_data: Mapping[str, list[str]]) -> dict[str, object]:
        """Return a link's options.

        JupyterHub starts a link's server without confirmation, and anyone can send a link.  So links are restricted to
        the catalogue: a freely chosen image would get the user's home.
        """
        options = self._options_from_form(query_data)
        if not options:
            # The URL of a form after a failed submission has no options.
            raise _rejected(ChoiceError("Please choose an environment."))
        if "image" in options:
            raise _rejected(ChoiceError("A link cannot start an image of your own: please enter it here."))
        return options

    # --- applied

    def _apply_user_options_default(self) -> Any:
        return type(self).apply_profile

    def apply_profile(self, options: Mapping[str, object]) -> None:
        """Apply the environment and size that `options` name (`Spawner.apply_user_options`).

        A stored choice (JupyterHub keeps the last one) that is no longer available falls back to the default.

        Raises:
            SpawnError: the choice was made in this request, and is not available.
        """
        catalogue = self.catalogue()
        if self._is_chosen_now():
            try:
                self.choice, self.notice = catalogue.choose(options), ""
            except ChoiceError as error:
                raise _rejected(error) from None
        else:
            self.choice, self.notice = catalogue.recall(options)
        if self.notice:
            self.log.warning("%s: %s", self._log_name, self.notice)
        # Store the resolved choice, with fallbacks and defaults filled in: other parts of the Hub read the environment
        # of a running server from it (culling.slug_of).
        self.user_options = self.orm_spawner.user_options = self.choice.options
        environment, size = self.choice.environment, self.choice.size
        self.image = environment.image
        self.default_url = environment.default_url
        self.notebook_dir = environment.home
        if size:
            self.mem_limit = f"{size.memory_mb}M"
            self.cpu_limit = size.cpus
        if self.choice.free_image or environment.pull:
            # All others were built or pulled by the deployment.
            self.pull_policy = "ifnotpresent"

    def _is_chosen_now(self) -> bool:
        # Forms and links were validated by options_from_form; options of the REST API are not yet.
        body = getattr(self.handler, "get_server_json_body", None)
        return body is not None and body()["user_options"] is not None

    async def check_allowed(self, image: str) -> str:
        """Return the choice's image, ignoring the one that DockerSpawner reads from stored options."""
        return str(self.image)

    def get_env(self) -> dict[str, str]:
        """Return the server's environment variables; those of the chosen environment take precedence."""
        ours = {**self.environment, **(self.choice.environment.environment if self.choice else {})}
        found = {**super().get_env(), **(self.choice.environment.environment if self.choice else {})}
        # Others, such as those of an authenticator, may contain the field by chance.
        return {name: self._expanded(value) if ours.get(name) == value else value for name, value in found.items()}

    def _expanded(self, text: str) -> str:
        return text.replace(USERNAME, naming.user_slug(self.user.name)) if isinstance(text, str) else text

    @property
    def own_volumes(self) -> set[str]:
        """Names of the mounted volumes that are this user's alone."""
        mounts = self.choice.environment.mounts if self.choice else ()
        return {self._expanded(each.source) for each in mounts if USERNAME in each.source and each.source[0] != "/"}

    # Docker would copy the image's folder, and its owner, into an empty volume at each start.

    @property
    def volume_binds(self) -> dict[str, dict[str, str]]:
        """The administrator's folders and volumes."""
        return {
            name: bind if name.startswith("/") else {**bind, "mode": _without_copy(bind["mode"])}
            for name, bind in super().volume_binds.items()
        }

    @property
    def mount_binds(self) -> list[Any]:
        """The mounts of the administrator and of the chosen environment."""
        theirs, ours = super().mount_binds, self.choice.environment.mounts if self.choice else ()
        for bind, given in zip(theirs, self.mounts, strict=True):
            if bind["Type"] == "volume" and "no_copy" not in given:
                bind["VolumeOptions"] = {"NoCopy": True, **bind.get("VolumeOptions", {})}
        return [
            *theirs,
            *(docker_mount(self._expanded(mount.source), mount.target, read_only=mount.read_only) for mount in ours),
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
