"""The Hub's settings: hub.json, what the environment lays over it (Compose only), and the secrets beside it.

Data, never code.  They have the names that they have in the playbook, and are judged by the same rules; the classes
below only give them types.
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
from .renamed import RENAMED, old_names
from .secrets import Secrets, SecretsError, read_secrets

SETTINGS_FILE = Path("/etc/jupyterhub/hub.json")
SECRETS_DIR = Path("/run/secrets")
DATABASE_URL = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"
OF_THE_DEPLOYMENT = ("deployment", "compose")
"""Parts of hub.json that are no settings."""


class SettingsError(Exception):
    """The settings or secrets cannot be used; `str()` gives one line per problem, with no secret in it."""


# Providers take upper and lower case for the same.
Name = Annotated[str, StringConstraints(to_lower=True)]
# Not strict, since a list is no set.
Names = Annotated[frozenset[Name], Strict(False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Content(_Model):
    """Something that is in an image, as the deployment found it there."""

    name: str
    version: str


class Size(_Model):
    """Limits that a user can choose; `memory_mb` in MiB, swap included, and `cpus` in processors."""

    slug: str
    title: str = ""
    memory_mb: int
    cpus: float

    @property
    def name(self) -> str:
        """What users see; by default the slug with a capital."""
        return self.title or self.slug.replace("-", " ").capitalize()


class Mount(_Model):
    """What is mounted beside the home: a folder of the machine, or else a volume by its name."""

    source: str
    target: str
    read_only: bool = True


class Environment(_Model):
    """One entry of `images_environments`: an image that users can choose, and what a server of it gets.

    `sizes`: the first is the default; if empty, `hub_server_memory_mb` and `hub_server_cpus` apply.  `groups`, `users`:
    who may use it, everybody if both are empty. `gpus`: how many, -1 for all. `idle_timeout_s`: in place of
    `hub_idle_timeout_s`; `tells_activity`: its servers tell the Hub truthfully when they were last in use, as our image
    does, so that the proxy's traffic need not be taken for that. `pull`: the Hub fetches the image when it is absent,
    where no deployment does.
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


class Deployment(_Model):
    """Where Hub and proxy are, which follows from the settings.

    Without `proxy_address`, from where the proxy comes to the Hub, the Hub looks for it by itself (Compose).
    """

    users_network: str
    hub_connect_url: str
    proxy_api_url: str
    proxy_address: str | None = None


class Compose(_Model):
    """Where the Hub runs as a Compose application: it makes the users' network and raises the fence by itself.

    `hashes`: by slug of what the images were made that belong to this Hub.
    """

    hashes: dict[str, str] = {}


class Settings(_Model):
    """hub.json; docs/reference/settings.md says what each setting is."""

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
    hub_deleted_homes: str
    hub_named_servers_limit: int
    hub_named_servers_share_home: bool
    hub_idle_timeout_s: int
    hub_max_age_s: int
    hub_token_max_age_days: int
    hub_volume_name_template: str | None = None
    hub_traits: dict[str, dict[str, JsonValue]]
    deployment: Deployment
    compose: Compose | None = None

    @property
    def groups_of_environments(self) -> frozenset[str]:
        """The groups whose members may use something that others may not."""
        return frozenset().union(self.hub_free_images, *(each.groups for each in self.images_environments))


class Loaded(NamedTuple):
    """What the Hub's configuration is made of."""

    settings: Settings
    secrets: Secrets


def problems(given: Mapping[str, Any], secrets: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    """Return what preflight would complain of in settings of hub.json and secrets, one line each.

    Args:
        given: hub.json.
        secrets: their texts, by setting.
        places: where settings were set, if not in hub.json.
    """
    values = {name: value for name, value in given.items() if name not in OF_THE_DEPLOYMENT} | {**secrets}
    declared = specs.of_the_hub()

    def place(name: str) -> str:
        return places.get(name.partition(".")[0], "hub.json")

    settings = check.Settings(
        values,
        {name for name in values if name not in RENAMED},
        where=lambda name: place(name) if name in values or name in declared.options else "",
        context={"compose": given.get("compose")},
    )
    old = [Problem(name, place(name), f"is called {new} now", f"write {new}") for name, new in old_names(given)]
    misplaced = [
        Problem(each.setting, "hub.json", "is a secret, and no setting", f"give it by {each.variable or 'its file'}")
        for each in SECRETS
        if each.setting in given
    ]
    found = [*old, *misplaced, *check.check_settings(declared, settings)[0]]
    # Of a playbook's variables only those that look like settings are judged, here all.
    told = {each.about for each in found}
    found += [
        Problem(name, place(name), "is not a known setting", "remove it (docs/reference/settings.md lists all)")
        for name in settings.names - declared.options.keys() - told
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


def load(path: Path | None = None, secrets_dir: Path | None = None) -> Loaded:
    """Read and check hub.json and the secrets, and tell the problems of both at once.

    Args:
        path: hub.json; by default $JUPYTERHUB_SETTINGS_FILE or /etc/jupyterhub/hub.json.
        secrets_dir: folder of the secrets; by default $JUPYTERHUB_SECRETS_DIR or /run/secrets.

    Raises:
        SettingsError: one line per problem.
    """
    path = path or Path(os.environ.get("JUPYTERHUB_SETTINGS_FILE", SETTINGS_FILE))
    secrets_dir = secrets_dir or Path(os.environ.get("JUPYTERHUB_SECRETS_DIR", SECRETS_DIR))
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
    # What is missing altogether is a matter of whoever wrote hub.json.
    lacking = _lacking(settings)
    if found or lacking:
        found += [f"{name} (hub.json): is not set" for name in lacking]
        if environ and (hint := environment_variables.hint("\n".join(found))):
            found.append(hint)
        raise SettingsError("\n".join(found))
    return Loaded(Settings.model_validate(settings), Secrets.of(texts))


def _lacking(settings: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, field in Settings.model_fields.items() if field.is_required() and name not in settings]
