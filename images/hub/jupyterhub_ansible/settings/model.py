"""The Hub's settings: hub.json, overridden by environment variables (Compose only), and the secrets.

Data, never code.  Names and rules are those of the playbook; the classes below only add types.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue, Strict, StringConstraints

from ..rules import check, specs
from ..rules.problems import Problem
from ..rules.secrets import SECRETS
from . import environment_variables
from .renamed import RENAMED_IN_HUB_JSON, old_names
from .secrets import Secrets, SecretsError, read_secrets

SETTINGS_FILE = Path("/etc/jupyterhub/hub.json")
SECRETS_DIR = Path("/run/secrets")
DATABASE_URL = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
OF_THE_DEPLOYMENT = ("deployment", "compose")
"""Parts of hub.json that are not settings."""


class SettingsError(Exception):
    """The settings or secrets are invalid; `str()` gives one line per problem, without secrets."""


# Providers ignore case.
Name = Annotated[str, StringConstraints(to_lower=True)]
# Not strict, since JSON has lists instead of sets.
Names = Annotated[frozenset[Name], Strict(False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Titled(_Model):
    slug: str
    title: str = ""

    @property
    def name(self) -> str:
        """What users see: the title, or else the capitalized slug."""
        return self.title or self.slug.replace("-", " ").capitalize()


class Content(_Model):
    """A program or package that the deployment found in an image."""

    name: str
    version: str


class Size(_Titled):
    """Limits that a user can choose: `memory_mb` in MiB, including swap, and `cpus` in processors."""

    memory_mb: int
    cpus: float


class Mount(_Model):
    """A mount besides the home: the source is a folder of the machine or a volume's name."""

    source: str
    target: str
    read_only: bool = True


class Environment(_Model):
    """One entry of `images_environments`: an image that users can choose, and what its servers get.

    `sizes`: the first is the default; if empty, `hub_server_memory_mb` and `hub_server_cpus` apply.  `groups`, `users`:
    who may use it, everyone if both are empty.  `gpus`: how many, -1 for all.  `idle_timeout_s`: overrides
    `hub_idle_timeout_s`.  `tells_activity`: its servers report their activity reliably, as our image does, so that the
    proxy's traffic need not count as activity.  `pull`: the Hub pulls a missing image, since no deployment does.
    """

    slug: str
    title: str
    image: str
    description: str = ""
    default_url: str = "/lab"
    home: str = "/home/jovyan"
    contents: tuple[Content, ...] = ()
    sizes: tuple[Size, ...] = ()
    groups: frozenset[str] = frozenset()
    users: Names = frozenset()
    environment: dict[str, str] = {}
    mounts: tuple[Mount, ...] = ()
    gpus: int = 0
    idle_timeout_s: int | None = None
    tells_activity: bool = False
    pull: bool = False


class Workspace(_Titled):
    """One entry of `hub_workspaces`: a server of its own, for all its members.

    `size`: the environment's first one if unset.  `groups`, `users`: the members.  `start_groups`, `start_users`:
    members who may start and stop it, all if both are empty.  `collaboration`: whether members see each other's changes
    while they edit.  `idle_timeout_s`: overrides that of the environment.
    """

    description: str = ""
    environment: str
    size: str | None = None
    groups: frozenset[str] = frozenset()
    users: Names = frozenset()
    start_groups: frozenset[str] = frozenset()
    start_users: Names = frozenset()
    collaboration: bool = True
    idle_timeout_s: int | None = None

    @property
    def groups_that_start(self) -> frozenset[str]:
        """The groups whose members may start and stop it."""
        return self.start_groups if self.start_groups or self.start_users else self.groups

    @property
    def users_who_start(self) -> frozenset[str]:
        """The users who may start and stop it, by name."""
        return self.start_users if self.start_groups or self.start_users else self.users


class SharedFolder(_Titled):
    """One entry of `hub_shared_folders`: a folder in the servers of all who may use it.

    `groups`, `users`: who may read and write, and the `workspaces` whose servers may.  `read_groups`, `read_users`: who
    may only read, and with `read_all` everybody.  `source`: a folder of the machine; a volume of ours if unset.
    `at_once`: the servers of those who may not use it any more are stopped.
    """

    source: str | None = None
    groups: frozenset[str] = frozenset()
    users: Names = frozenset()
    workspaces: frozenset[str] = frozenset()
    read_groups: frozenset[str] = frozenset()
    read_users: Names = frozenset()
    read_all: bool = False
    at_once: bool = False

    @property
    def is_writable(self) -> bool:
        """Whether anybody may write to it."""
        return bool(self.groups or self.users or self.workspaces)


class Deployment(_Model):
    """Addresses of Hub and proxy, derived from the settings.

    Requests of the proxy come from `proxy_address`; without it, the Hub looks the address up itself (Compose).
    """

    users_network: str
    hub_connect_url: str
    proxy_api_url: str
    proxy_address: str | None = None


class Compose(_Model):
    """Present if the Hub runs as a Compose application: it then creates the users' network and the fence itself.

    `hashes`: content hashes of the images that belong to this Hub, by slug.
    """

    hashes: dict[str, str] = {}


class Settings(_Model):
    """hub.json; docs/reference/settings.md describes each setting."""

    jupyterhub_name: str
    jupyterhub_url: str
    jupyterhub_address: str
    jupyterhub_port: int
    network_users_subnet: str
    images_environments: tuple[Environment, ...]
    hub_authenticator: str
    hub_allow_all: bool
    hub_allowed_users: Names
    hub_admin_users: Names
    hub_blocked_users: Names
    hub_github_client_id: str | None = None
    hub_github_url: str
    hub_github_allowed_organizations: Names
    hub_github_allowed_teams: Names
    hub_github_admin_teams: Names
    hub_membership_interval_s: int
    hub_default_environment: str
    hub_free_images: dict[str, tuple[str, ...]]
    hub_server_memory_mb: int
    hub_server_cpus: float
    hub_server_pids: int
    hub_server_tmp_mb: int | None = None
    hub_server_environment: dict[str, str]
    hub_start_timeout_s: int
    hub_running_servers_limit: int
    hub_reserve_memory_mb: int
    hub_reserve_disk_mb: int
    hub_deleted_homes: str
    hub_named_servers_limit: int
    hub_named_servers_share_home: bool
    hub_idle_timeout_s: int
    hub_max_age_s: int
    hub_versions_mb: int
    hub_versions_per_file: int
    hub_token_max_age_days: int
    hub_volume_name_template: str | None = None
    hub_workspaces: tuple[Workspace, ...]
    hub_shared_folders: tuple[SharedFolder, ...]
    hub_sharing: str
    hub_traits: dict[str, dict[str, JsonValue]]
    deployment: Deployment
    compose: Compose | None = None

    @property
    def groups_with_access(self) -> frozenset[str]:
        """The groups that give access to an environment, to free images, to a workspace or to a shared folder."""
        return frozenset().union(
            self.hub_free_images,
            *(each.groups for each in self.images_environments),
            *(each.groups | each.start_groups for each in self.hub_workspaces),
            *(each.groups | each.read_groups for each in self.hub_shared_folders),
        )


class Loaded(NamedTuple):
    """What the Hub's configuration is built from."""

    settings: Settings
    secrets: Secrets


def problems(given: Mapping[str, Any], secrets: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    """Return the problems that preflight would report for hub.json and secrets, one line each.

    Args:
        given: hub.json.
        secrets: their values, by setting.
        places: where settings were set, if not in hub.json.
    """
    values = {name: value for name, value in given.items() if name not in OF_THE_DEPLOYMENT} | {**secrets}
    declared = specs.of_the_hub()

    def place(name: str) -> str:
        return places.get(name.partition(".")[0], "hub.json")

    settings = check.Settings(
        values,
        {name for name in values if name not in RENAMED_IN_HUB_JSON},
        where=lambda name: place(name) if name in values or name in declared.options else "",
        context={"compose": given.get("compose")},
    )
    old = [Problem(name, place(name), f"is now called {new}", f"write {new}") for name, new in old_names(given)]
    misplaced = [
        Problem(each.setting, "hub.json", "is a secret, not a setting", f"set it by {each.variable or 'its file'}")
        for each in SECRETS
        if each.setting in given
    ]
    found = [*old, *misplaced, *check.check_settings(declared, settings)[0]]
    # In a playbook other variables are fine; hub.json has only settings.
    reported = {each.about for each in found}
    found += [
        Problem(name, place(name), "is not a known setting", "remove it (docs/reference/settings.md lists all)")
        for name in settings.names - declared.options.keys() - reported
    ]
    return [_line(each) for each in dict.fromkeys(found)]


def _line(problem: Problem) -> str:
    place = f" ({problem.where})" if problem.where else ""
    return f"{problem.about}{place}: {problem.what}; {problem.fix}"


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise SettingsError(f"{path}: must be a mapping of settings")
    return settings


def secrets_folder() -> Path:
    """Return the folder of the secrets."""
    return Path(os.environ.get("JUPYTERHUB_SECRETS_DIR", SECRETS_DIR))


def load(path: Path | None = None, secrets_dir: Path | None = None) -> Loaded:
    """Read and check hub.json and the secrets, and report the problems of both together.

    Args:
        path: hub.json; by default $JUPYTERHUB_SETTINGS_FILE or /etc/jupyterhub/hub.json.
        secrets_dir: folder of the secrets; by default $JUPYTERHUB_SECRETS_DIR or /run/secrets.

    Raises:
        SettingsError: one line per problem.
    """
    path = path or Path(os.environ.get("JUPYTERHUB_SETTINGS_FILE", SETTINGS_FILE))
    secrets_dir = secrets_dir or secrets_folder()
    found: list[str] = []
    given: dict[str, str] = {}
    texts: dict[str, str] = {}
    places = {each.setting: str(secrets_dir / each.file) for each in SECRETS}
    try:
        environ = os.environ if environment_variables.is_read(os.environ) else {}
        settings = _read(path)
        if environ:
            settings = environment_variables.overlaid(settings, environ)
            places |= environment_variables.places(environ)
            given = environment_variables.secrets(environ)
    except environment_variables.EnvironmentVariableError as error:
        raise SettingsError(str(error)) from None
    try:
        texts = read_secrets(secrets_dir, str(settings.get("hub_authenticator")), given)
    except SecretsError as error:
        found.append(str(error))
    secrets = {each.setting: texts[each.file] for each in SECRETS if each.file in texts}
    found = [*problems(settings, secrets, places), *found]
    # Settings that the rules treat as optional, but hub.json must contain.
    lacking = _lacking(settings)
    if found or lacking:
        found += [f"{name} (hub.json): is not set" for name in lacking]
        if environ and (hint := environment_variables.hint("\n".join(found))):
            found.append(hint)
        raise SettingsError("\n".join(found))
    return Loaded(Settings.model_validate(settings), Secrets.of(texts))


def _lacking(settings: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, field in Settings.model_fields.items() if field.is_required() and name not in settings]
