"""The Hub's settings: hub.json, what the environment lays over it (Compose only), and the secrets beside it.

Data, never code: every key is known and typed, and what is wrong is told in one line each, without any value,
since `traits` and `server.environment` may hold secrets.
"""

import ipaddress
import json
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
    model_validator,
)

from . import environment
from .culling import SHORTEST_TIMEOUT_S
from .secret_files import Secrets, SecretsError, load_secrets

SETTINGS_FILE = Path("/etc/jupyterhub/hub.json")
SECRETS_DIR = Path("/run/secrets")
DATABASE_URL = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"

VOLUME_FIELDS = {"username", "safe_username", "raw_username", "servername", "raw_servername"}
"""Fields of DockerSpawner's templates (`DockerSpawner.template_namespace`) that can name a volume."""


class SettingsError(Exception):
    """The settings or secrets cannot be used; `str()` gives one line per problem, with no value in it."""


def _ip_address(address: str) -> str:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise ValueError("must be an IP address, such as 127.0.0.1 or 0.0.0.0") from None
    return address


def _project(name: str) -> str:
    # `a-user-b` + user `c` and `a` + user `b-user-c` would share a name.
    if "user" in name.split("-")[1:]:
        raise ValueError("must not contain the word -user: names of two projects could meet")
    return name


def _volume_template(template: str) -> str:
    try:
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"is no template: {error}") from None
    fields = {field for _, field, _, _ in parsed if field is not None}
    if unknown := fields - VOLUME_FIELDS:
        raise ValueError(f"unknown {{{min(unknown)}}}; known are {', '.join(sorted(VOLUME_FIELDS))}")
    if any(spec or conversion for _, _, spec, conversion in parsed):
        raise ValueError("fields are plain: {username}, with no conversion or format")
    if not any(field.endswith("username") for field in fields):
        raise ValueError("needs {username}, or all users would share one home")
    return template


Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[A-Za-z0-9.\[\]:-]+$")]
# GitHub takes upper and lower case for the same.
UserName = Annotated[str, StringConstraints(min_length=1, to_lower=True)]
Organization = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$", to_lower=True)]
Team = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+:[A-Za-z0-9_.-]+$", to_lower=True)]
Positive = Annotated[int, Field(gt=0)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=30)]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[^\s{}]*$")]
FolderPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9_]*$")]
ProjectName = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$"), AfterValidator(_project)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Public(_Model):
    """`address` and `port`: where the proxy's public port is published; `url`: the address that browsers use."""

    url: Url
    address: Annotated[str, AfterValidator(_ip_address)]
    port: Annotated[int, Field(ge=1, le=65535)]


class Hub(_Model):
    """`connect_url`: where proxy and users' servers reach the Hub."""

    connect_url: Url


class Proxy(_Model):
    """`api_url`: where the Hub reaches the proxy's API."""

    api_url: Url


def _timeout(seconds: int) -> int:
    if 0 < seconds < SHORTEST_TIMEOUT_S:
        raise ValueError(f"must be 0 or at least {SHORTEST_TIMEOUT_S}: what is idle is not known earlier")
    return seconds


# In seconds, 0 for never.
Timeout = Annotated[int, Field(ge=0), AfterValidator(_timeout)]


class Environment(_Model):
    """One entry of the catalogue: an image that users can choose.

    `idle_timeout_s`: in place of `culling.idle_timeout_s`; `tells_activity`: its servers tell the Hub truthfully when
    they were last in use, as our image does, so that the proxy's traffic need not be taken for that.
    """

    slug: Slug
    title: Text
    description: str
    image: Text
    default_url: UrlPath
    home: FolderPath
    idle_timeout_s: Timeout | None = None
    tells_activity: bool = False


class Server(_Model):
    """Limits of each user's server.

    `memory_mb` is in MiB, swap included; `cpus` in processors; `pids` counts processes and threads;
    `start_timeout_s` is the time from the start of the container until the server answers.
    """

    memory_mb: Positive
    cpus: Annotated[float, Field(gt=0)]
    pids: Positive
    environment: dict[VariableName, str]
    start_timeout_s: Positive


class NamedServers(_Model):
    """`limit`: named servers per user, 0 for none; `share_home`: all servers of a user have one home."""

    limit: Annotated[int, Field(ge=0)]
    share_home: bool


class Culling(_Model):
    """`idle_timeout_s`: a server that was idle for so long is stopped; `max_age_s`: or one that is so old."""

    idle_timeout_s: Timeout
    max_age_s: Timeout


class Access(_Model):
    """Who may log in, by the names that the authenticator gives."""

    allow_all: bool
    allowed_users: frozenset[UserName]
    admin_users: frozenset[UserName]
    blocked_users: frozenset[UserName]


class GitHub(_Model):
    """The OAuth app, whose secret is a file, and the organizations and teams that come in by it."""

    client_id: Text
    url: Url
    allowed_organizations: frozenset[Organization]
    allowed_teams: frozenset[Team]
    admin_teams: frozenset[Team]
    membership_interval_s: Annotated[int, Field(ge=1)]


class Settings(_Model):
    """hub.json."""

    name: ProjectName
    public: Public
    hub: Hub
    proxy: Proxy
    users_network: Text
    authenticator: Text
    access: Access
    github: GitHub | None
    environments: tuple[Environment, ...]
    default_environment: Slug
    server: Server
    named_servers: NamedServers
    culling: Culling
    volume_name_template: Annotated[str, AfterValidator(_volume_template)] | None
    traits: dict[ClassName, dict[VariableName, JsonValue]]

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        slugs = [environment.slug for environment in self.environments]
        if not slugs:
            raise ValueError("environments: at least one is needed")
        if doubles := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"environments: the slug {doubles[0]} is there more than once")
        if self.default_environment not in slugs:
            raise ValueError(f"default_environment: must be one of {', '.join(slugs)}")
        if (self.authenticator == "github") != (self.github is not None):
            raise ValueError("github: is there if authenticator is github, and only then")
        # Any user can log in as any other.
        if self.authenticator == "shared-password" and not ipaddress.ip_address(self.public.address).is_loopback:
            raise ValueError("authenticator: shared-password is for a loopback public.address only")
        if self.volume_name_template and self.named_servers.limit:
            separate = "servername}" in self.volume_name_template
            if separate == self.named_servers.share_home:
                raise ValueError(
                    "volume_name_template: needs {servername} if named_servers.share_home is false,"
                    " and must not have it if that is true"
                )
        return self


class Loaded(NamedTuple):
    """What the Hub's configuration is made of."""

    settings: Settings
    secrets: Secrets


_WORDS = {"missing": "is missing", "extra_forbidden": "is not a known setting"}


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"])
        what = _WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        lines.append(f"hub.json: {where}: {what}" if where else f"hub.json: {what}")
    return "\n".join(lines)


def load_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check hub.json, and what environment variables lay over it.

    Raises:
        SettingsError: the file cannot be read, or what it says cannot be used.
    """
    try:
        text = path.read_bytes()
        if environ is None:
            return Settings.model_validate_json(text)
        return Settings.model_validate_json(json.dumps(environment.overlaid(json.loads(text), environ)))
    except OSError as error:
        raise SettingsError(f"hub.json: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except environment.EnvironmentVariableError as error:
        raise SettingsError(str(error)) from None


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
    environ = os.environ if os.environ.get(environment.SWITCH) == "1" else None
    problems: list[str] = []
    settings = secrets = None
    try:
        settings = load_settings(path, environ)
    except SettingsError as error:
        problems.append(str(error))
    try:
        given = environment.secrets(environ) if environ else {}
        secrets = load_secrets(secrets_dir, settings.authenticator if settings else "", given)
    except (SecretsError, environment.EnvironmentVariableError) as error:
        problems.append(str(error))
    if settings is None or secrets is None:
        raise SettingsError("\n".join(problems))
    return Loaded(settings, secrets)
