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
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    Strict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from ..culling.plan import SHORTEST_TIMEOUT_S
from ..rules import ranges
from ..rules.access import named_twice
from ..rules.authenticators import wrong_authenticator
from . import consistency, environment_variables
from .secrets import Secrets, SecretsError, load_secrets

SETTINGS_FILE = Path("/etc/jupyterhub/hub.json")
SECRETS_DIR = Path("/run/secrets")
DATABASE_URL = "sqlite:////srv/jupyterhub/jupyterhub.sqlite"

VOLUME_FIELDS = {"username", "safe_username", "raw_username", "servername", "raw_servername"}
"""Fields of DockerSpawner's templates (`DockerSpawner.template_namespace`) that can name a volume."""
IMAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*([:/@][A-Za-z0-9*._:/@-]*)?$"
"""An image's reference, in which `*` stands for anything but a slash; not in its registry, which anybody can have."""


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


def _authenticator(name: str) -> str:
    if wrong := wrong_authenticator(name):
        raise ValueError("; ".join(wrong))
    return name


def _users_subnet(subnet: str) -> str:
    if wrong := ranges.wrong_users_subnet(subnet):
        raise ValueError("; ".join(wrong))
    return subnet


def _once(names: Any) -> Any:
    # A set would not tell.
    texts = names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []
    for _, what, fix in named_twice({"": texts}):
        raise ValueError(f"{what}; {fix}")
    return names


def _user_variable(name: str) -> str:
    # The Hub tells a server by these who it is, and where it is.
    if name.startswith(("JUPYTERHUB_", "JPY_")):
        raise ValueError("is the Hub's own")
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
# Not strict, since a list that Python has seen is no set of JSON any more.
UserNames = Annotated[frozenset[UserName], Strict(False), BeforeValidator(_once)]
Organizations = Annotated[frozenset[Organization], Strict(False), BeforeValidator(_once)]
Teams = Annotated[frozenset[Team], Strict(False), BeforeValidator(_once)]
MemoryMb = Annotated[int, Field(ge=ranges.MEMORY_MIN_MB)]
Cpus = Annotated[float, Field(ge=ranges.CPUS_MIN, allow_inf_nan=False)]
Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=30)]
UrlPath = Annotated[str, StringConstraints(pattern=r"^/[^\s{}]*$")]
FolderPath = Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._/-]+$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
UserVariable = Annotated[VariableName, AfterValidator(_user_variable)]
MountSource = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._/-]+|[A-Za-z0-9][A-Za-z0-9_.-]*)$")]
ImagePattern = Annotated[str, StringConstraints(pattern=IMAGE_PATTERN)]
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
    """`api_url`: where the Hub reaches the proxy's API; `address`: from where it comes to the Hub.

    Without an address, the Hub looks for it by itself (Compose).
    """

    api_url: Url
    address: Annotated[str, AfterValidator(_ip_address)] | None = None


def _timeout(seconds: int) -> int:
    if 0 < seconds < SHORTEST_TIMEOUT_S:
        raise ValueError(f"must be 0 or at least {SHORTEST_TIMEOUT_S}: what is idle is not known earlier")
    return seconds


# In seconds, 0 for never.
Timeout = Annotated[int, Field(ge=0), AfterValidator(_timeout)]


class Content(_Model):
    """Something that is in an image, as the deployment found it there."""

    name: Text
    version: Text


class Size(_Model):
    """Limits that a user can choose; `memory_mb` in MiB, swap included, and `cpus` in processors."""

    slug: Slug
    title: Text
    memory_mb: MemoryMb
    cpus: Cpus


class Mount(_Model):
    """What is mounted beside the home: a folder of the machine, or else a volume by its name."""

    source: MountSource
    target: FolderPath
    read_only: bool


class Environment(_Model):
    """One entry of the catalogue: an image that users can choose, and what a server of it gets.

    `sizes`: the first is that of who says nothing; none where the limits of `Server` are the only size.
    `groups`, `users`: who may use it, everybody if both are empty. `gpus`: how many, -1 for all.
    `idle_timeout_s`: in place of `culling.idle_timeout_s`; `tells_activity`: its servers tell the Hub truthfully when
    they were last in use, as our image does, so that the proxy's traffic need not be taken for that. `pull`: the Hub
    fetches the image when it is absent, where no deployment does.
    """

    slug: Slug
    title: Text
    description: str
    image: Text
    default_url: UrlPath
    home: FolderPath
    contents: tuple[Content, ...] = ()
    sizes: tuple[Size, ...] = ()
    groups: frozenset[Text] = frozenset()
    users: frozenset[UserName] = frozenset()
    environment: dict[UserVariable, str] = {}
    mounts: tuple[Mount, ...] = ()
    gpus: Annotated[int, Field(ge=-1)] = 0
    idle_timeout_s: Timeout | None = None
    tells_activity: bool = False
    pull: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> "Environment":
        slugs = [size.slug for size in self.sizes]
        if doubles := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"sizes: the slug {doubles[0]} is there more than once")
        targets = [self.home, *(mount.target for mount in self.mounts)]
        if doubles := sorted({target for target in targets if targets.count(target) > 1}):
            raise ValueError(f"mounts: {doubles[0]} is mounted more than once")
        return self


class Server(_Model):
    """Limits of each user's server.

    `memory_mb` is in MiB, swap included; `cpus` in processors; `pids` counts processes and threads; `tmp_mb` is the
    size of /tmp in MiB, by default half of the memory; `start_timeout_s` is the time from the start of the container
    until the server answers; `running_limit` is how many servers of one user may run at once, 0 for any number.
    """

    memory_mb: MemoryMb
    cpus: Cpus
    pids: Annotated[int, Field(ge=ranges.PIDS_MIN)]
    tmp_mb: Annotated[int, Field(ge=ranges.TMP_MIN_MB)] | None
    environment: dict[VariableName, str]
    start_timeout_s: Annotated[int, Field(ge=ranges.START_TIMEOUT_S[0], le=ranges.START_TIMEOUT_S[1])]
    running_limit: NotNegative


class NamedServers(_Model):
    """`limit`: named servers per user, 0 for none; `share_home`: all servers of a user have one home."""

    limit: NotNegative
    share_home: bool


class Culling(_Model):
    """`idle_timeout_s`: a server that was idle for so long is stopped; `max_age_s`: or one that is so old."""

    idle_timeout_s: Timeout
    max_age_s: Timeout


class Tokens(_Model):
    """API tokens that users make; `max_age_days`: how long new ones last at the most, 0 for any time."""

    max_age_days: Annotated[int, Field(ge=0, le=3650)]


class Access(_Model):
    """Who may log in, by the names that the authenticator gives."""

    allow_all: bool
    allowed_users: UserNames
    admin_users: UserNames
    blocked_users: UserNames


class GitHub(_Model):
    """The OAuth app, whose secret is a file, and the organizations and teams that come in by it."""

    client_id: Text
    url: Url
    allowed_organizations: Organizations
    allowed_teams: Teams
    admin_teams: Teams
    membership_interval_s: Annotated[int, Field(ge=ranges.MEMBERSHIP_INTERVAL_S[0], le=ranges.MEMBERSHIP_INTERVAL_S[1])]


class Compose(_Model):
    """Where the Hub runs as a Compose application: it makes the users' network and raises the fence by itself.

    `hashes`: by slug of what the images were made that belong to this Hub.
    """

    users_subnet: Annotated[str, AfterValidator(_users_subnet)]
    hashes: dict[Slug, Text] = {}


class Settings(_Model):
    """hub.json.

    `free_images` is by group which images its members may name themselves; `reserve_memory_mb` is what users' servers
    together leave to the machine, in MiB; `deleted_homes` is what happens to the home of a deleted user or server.
    """

    name: ProjectName
    public: Public
    hub: Hub
    proxy: Proxy
    users_network: Text
    authenticator: Annotated[Text, AfterValidator(_authenticator)]
    access: Access
    github: GitHub | None
    environments: tuple[Environment, ...]
    default_environment: Slug
    free_images: dict[Text, tuple[ImagePattern, ...]] = {}
    server: Server
    reserve_memory_mb: NotNegative
    deleted_homes: Literal["keep", "archive", "remove"]
    named_servers: NamedServers
    culling: Culling
    tokens: Tokens
    volume_name_template: Annotated[str, AfterValidator(_volume_template)] | None
    traits: dict[ClassName, dict[VariableName, JsonValue]]
    compose: Compose | None = None

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        slugs = [environment.slug for environment in self.environments]
        if not slugs:
            raise ValueError("environments: at least one is needed")
        if doubles := sorted({slug for slug in slugs if slugs.count(slug) > 1}):
            raise ValueError(f"environments: the slug {doubles[0]} is there more than once")
        if self.default_environment not in slugs:
            raise ValueError(f"default_environment: must be one of {', '.join(slugs)}")
        if self.authenticator == "github" and (
            odd := {name for name in self.groups_of_environments if name != name.lower()}
        ):
            raise ValueError(
                f"environments, free_images: nobody is in {min(odd)}: GitHub's groups are in small letters"
            )
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
        if found := consistency.problems(self):
            raise ValueError("\n".join(found))
        return self

    @property
    def groups_of_environments(self) -> frozenset[str]:
        """The groups whose members may use something that others may not."""
        return frozenset().union(self.free_images, *(environment.groups for environment in self.environments))


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
        # All that is wrong with values comes as one error.
        lines += [f"hub.json: {where}: {each}" if where else f"hub.json: {each}" for each in what.splitlines()]
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
        below = TypeAdapter(dict[str, JsonValue]).validate_json(text)
        return Settings.model_validate_json(json.dumps(environment_variables.overlaid(below, environ)))
    except OSError as error:
        raise SettingsError(f"hub.json: cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except environment_variables.EnvironmentVariableError as error:
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
    try:
        environ = os.environ if environment_variables.is_read(os.environ) else None
    except environment_variables.EnvironmentVariableError as error:
        raise SettingsError(str(error)) from None
    problems: list[str] = []
    settings = secrets = None
    try:
        settings = load_settings(path, environ)
    except SettingsError as error:
        problems.append(str(error))
    try:
        given = environment_variables.secrets(environ) if environ else {}
        app = settings.github.client_id if settings and settings.github else None
        secrets = load_secrets(secrets_dir, settings.authenticator if settings else "", given, app)
    except (SecretsError, environment_variables.EnvironmentVariableError) as error:
        problems.append(str(error))
    if settings is None or secrets is None:
        raise SettingsError("\n".join(problems))
    return Loaded(settings, secrets)
