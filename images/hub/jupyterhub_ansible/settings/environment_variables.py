"""Settings and secrets from environment variables, where the Hub runs as a Compose application, and only there.

They are laid over the settings of the image's hub.json. JUPYTERHUB_SETTINGS holds any of these, as YAML or JSON;
the other variables are the few that everybody sets. An empty variable counts as unset: Compose passes on such.
"""

import hashlib
import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml

from ..rules.secrets import weakness

OF_VARIABLES = {"name": "JUPYTERHUB_NAME", "users_network": "JUPYTERHUB_NAME", "compose": "JUPYTERHUB_USERS_SUBNET"}
"""What a Compose application has by these variables alone, since networks and images go by it."""
SWITCH = "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT"
"""Set to 1 by the Compose application; elsewhere the variables are not looked at."""
ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
ANYTHING = "JUPYTERHUB_SETTINGS"
CALLBACK_PATH = "/hub/oauth_callback"
# As `public.url` has to be.
URL = re.compile(r"https?://[A-Za-z0-9.\[\]:-]+")

# Coolify's SERVICE_HEX_64_* has 128 digits, JupyterHub wants exactly 64.
_LONG_HEX = re.compile(r"[0-9a-f]{128}")
_KEYS = ("cookie_secret", "crypt_key")


Settings = dict[str, Any]


class EnvironmentVariableError(Exception):
    """Variables that cannot be used; `str()` gives one line per problem, with no value in it."""


def is_read(environ: Mapping[str, str]) -> bool:
    """Return whether the variables are to be looked at.

    Raises:
        EnvironmentVariableError: the switch says neither.
    """
    switch = environ.get(SWITCH, "").strip().lower()
    if switch not in ON + OFF:
        raise EnvironmentVariableError(f"{SWITCH}: must be 1, true, yes or on; or 0, false, no or off")
    return switch in ON


def _words(text: str) -> list[str]:
    # Twice the same is once.
    words = (word.strip() for word in text.split(","))
    return list({word.casefold(): word for word in words if word}.values())


def _part(settings: Settings, name: str) -> Settings:
    part = settings.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"sets a part of {name}, which must be a mapping; correct {ANYTHING} or hub.json")
    return part


def _github(settings: Settings) -> Settings:
    # null where the image's settings know of no OAuth app.
    given = {} if settings.get("github") is None else _part(settings, "github")
    return {"allowed_organizations": [], "allowed_teams": [], **given}


def _client_id(settings: Settings, text: str) -> None:
    settings["github"] = {**_github(settings), "client_id": text}


def _callback(settings: Settings, text: str) -> None:
    if not text.endswith(CALLBACK_PATH):
        raise ValueError(f"must be the public address with {CALLBACK_PATH} at its end, as in the OAuth app")
    url = text.removesuffix(CALLBACK_PATH)
    try:
        parts = urlsplit(url)
        # Its port is read so that a wrong one is told.
        host = (parts.port != 0 and parts.hostname) or ""
    except ValueError:
        host = ""
    if not host or not URL.fullmatch(url):
        raise ValueError(f"must be the public address, https://<domain>, with {CALLBACK_PATH} at its end")
    if url.startswith("http://") and not _is_loopback(host):
        raise ValueError("is http, so that logins could be read on the way; write https://, here and in the OAuth app")
    _part(settings, "public")["url"] = url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _organizations(settings: Settings, text: str) -> None:
    words = _words(text)
    named = {
        "allowed_organizations": [word for word in words if ":" not in word],
        "allowed_teams": [word for word in words if ":" in word],
    }
    # Teams that JUPYTERHUB_SETTINGS lets in stay where the variable names organizations only, and the reverse.
    settings["github"] = {**_github(settings), **{kind: names for kind, names in named.items() if names}}


def _admins(settings: Settings, text: str) -> None:
    _part(settings, "access")["admin_users"] = _words(text)


def _image(slug: str) -> Callable[[Settings, str], None]:
    def image(settings: Settings, text: str) -> None:
        catalogue = settings.get("environments")
        items: list[Any] = catalogue if isinstance(catalogue, list) else [None]
        slugs = [item.get("slug") if isinstance(item, dict) else None for item in items]
        if None in slugs or slugs.count(slug) > 1:
            raise ValueError(
                f"environments must be a list, each with a slug of its own; correct {ANYTHING} or hub.json"
            )
        if slug not in slugs:
            raise ValueError(f"the catalogue has no environment {slug}")
        # What the deployment found was in another one; a profile of the same image (`image_of`) goes with it.
        old = items[slugs.index(slug)].get("image")
        for item in items:
            if item["slug"] == slug or (old and item.get("image") == old):
                # Of an image that is made elsewhere nothing is known, and nobody else fetches it.
                item |= {"image": text, "contents": [], "tells_activity": False, "pull": True}

    return image


def _name(settings: Settings, text: str) -> None:
    old = settings.get("name")
    settings |= {"name": text, "users_network": f"{text}-users"}
    for item in settings.get("environments") or []:
        # Images that are built beside the Hub go by its name.
        if isinstance(item, dict) and str(item.get("image")).startswith(f"{old}/env-"):
            item["image"] = f"{text}/{item['image'].partition('/')[2]}"


def _users_subnet(settings: Settings, text: str) -> None:
    _part(settings, "compose")["users_subnet"] = text


class Variable(NamedTuple):
    """A variable: what it does to the settings, and what the table of the documentation says of it (Markdown)."""

    apply: Callable[[Settings, str], None]
    meaning: str
    default: str = ""
    required: bool = False


class SecretVariable(NamedTuple):
    """A secret by its name in `secret_files`; `required` where nobody but its owner can make it."""

    name: str
    meaning: str
    required: bool = False


# The first that is applied: the others may name what it renames.
VARIABLES: dict[str, Variable] = {
    "JUPYTERHUB_NAME": Variable(
        _name,
        "the Hub's name, which begins the names of its networks, of users' containers and of their volumes: never"
        " change it; another one for a second Hub on the same machine",
        default="jupyterhub",
    ),
    "GITHUB_CLIENT_ID": Variable(_client_id, "the OAuth app's client ID", required=True),
    "OAUTH_CALLBACK_URL": Variable(
        _callback,
        "the callback URL of the OAuth app, `https://<domain>/hub/oauth_callback` (`http://` on this machine only);"
        " the public address follows from it",
        required=True,
    ),
    "ALLOWED_GITHUB_ORGS": Variable(
        _organizations,
        "who may log in: members of these organizations, and teams as `organization:team`; separated by commas."
        " Organizations replace those of `JUPYTERHUB_SETTINGS`, teams its teams",
    ),
    "ADMIN_GITHUB_USERS": Variable(
        _admins, "administrators, who may log in, too; separated by commas. One of these two is needed"
    ),
    "DOCKER_NOTEBOOK_IMAGE_BASE": Variable(
        _image("base"), "an image of your own for this environment, and for profiles of the same image"
    ),
    "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE": Variable(
        _image("datascience"), "an image of your own for this environment, and for profiles of the same image"
    ),
    "JUPYTERHUB_USERS_SUBNET": Variable(
        _users_subnet,
        "private IPv4 network of the users' servers, /16 to /24, that nothing else on the machine uses",
        default="10.213.0.0/20",
    ),
}

SECRETS: dict[str, SecretVariable] = {
    "GITHUB_CLIENT_SECRET": SecretVariable("github_client_secret", "the OAuth app's client secret", required=True),
    "JUPYTERHUB_COOKIE_SECRET": SecretVariable("cookie_secret", "signs login cookies: 64 hexadecimal digits"),
    "JUPYTERHUB_CRYPT_KEY": SecretVariable(
        "crypt_key", "encrypts what is kept of a login: 64 hexadecimal digits, or several, newest first"
    ),
    "CONFIGPROXY_AUTH_TOKEN": SecretVariable("proxy_token", "the secret between Hub and proxy, at least 32 characters"),
}
"""Where the Compose file is one of your own, each may be given as <name>_FILE, too: a file that holds it."""

ANYTHING_MEANING = "any other setting of `hub.json`, as YAML or JSON, such as `{server: {memory_mb: 4096}}`"


def _merged(below: Any, above: Any) -> Any:
    """`above` over `below`: mappings key by key, anything else as a whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def _strange(value: Any, *path: str) -> Iterator[str]:
    """Tell what YAML knows and JSON does not: dates, sets, names that are no text."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(name, str):
                yield from _strange(each, *path, name)
            else:
                yield f"{'.'.join(path) or 'it'}: has a name that is no text; write it in quotes"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _strange(each, *path, str(number))
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        yield f"{'.'.join(path)}: is no text, number, list or mapping; write it in quotes"


def _anything(text: str) -> Settings:
    try:
        settings = yaml.safe_load(text.strip())
        problems = list(_strange(settings)) if isinstance(settings, dict) else []
    # What a tag (!!int x) or a mapping within itself brings, which are no errors of YAML's own.
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # Not the error's own text, which quotes the line.
        raise ValueError(f"is neither YAML nor JSON{where}") from None
    if problems:
        raise ValueError(f"\n{ANYTHING}: ".join(problems))
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ValueError("must be a mapping of settings")
    return settings


def _lets_somebody_in(settings: Settings) -> bool:
    """Return whether anybody may log in; what has a wrong form, or is another login's, is not judged here."""
    access, github = settings.get("access"), settings.get("github") or {}
    if settings.get("authenticator") != "github" or not (isinstance(access, dict) and isinstance(github, dict)):
        return True
    by_name = [access.get(name) for name in ("allow_all", "allowed_users", "admin_users")]
    by_team = [github.get(name) for name in ("allowed_organizations", "allowed_teams", "admin_teams")]
    return any([*by_name, *by_team])


def overlaid(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings with those of the environment over them; the variables of everybody's win.

    Raises:
        EnvironmentVariableError: a variable's value cannot be used.
    """
    problems = []
    try:
        given = _anything(environ.get(ANYTHING, ""))
        if settings.get("compose") and (taken := sorted(OF_VARIABLES.keys() & given.keys())):
            raise ValueError(f"{taken[0]}: is set by {OF_VARIABLES[taken[0]]}; remove it here")
        result: Settings = _merged(settings, given)
    except ValueError as error:
        problems.append(f"{ANYTHING}: {error}")
        result = settings
    for name, variable in VARIABLES.items():
        if text := environ.get(name, "").strip():
            try:
                variable.apply(result, text)
            except ValueError as error:
                problems.append(f"{name}: {error}")
    if not problems and result.get("compose") and not _lets_somebody_in(result):
        # As the playbook's preflight: else the Hub would be healthy, and every login refused.
        problems.append(
            "ADMIN_GITHUB_USERS: nobody could log in; name yourself there, or others by ALLOWED_GITHUB_ORGS"
        )
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return result


def _fitting(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() if _LONG_HEX.fullmatch(key) else key


def secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets of the environment, and of the files that it names.

    Raises:
        EnvironmentVariableError: a file cannot be read or is empty, or a secret is given twice.
    """
    found, problems = {}, []
    for variable, (name, *_) in SECRETS.items():
        text, file = environ.get(variable, "").strip(), environ.get(f"{variable}_FILE", "").strip()
        if text and file:
            problems.append(f"{variable}: is set, and {variable}_FILE as well; remove one of them")
        elif file:
            try:
                text = Path(file).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                problems.append(f"{variable}_FILE: cannot read {file}: {reason}")
            else:
                if not text:
                    problems.append(f"{variable}_FILE: {file} is empty; write the secret into it")
        if name in _KEYS and any(_LONG_HEX.fullmatch(word) and weakness(word) for word in text.split()):
            problems.append(f"{variable}: is easy to guess; take another one, such as `openssl rand -hex 32` prints")
        if text:
            # Keys may be several.
            found[name] = "\n".join(_fitting(word) for word in text.split()) if name in _KEYS else text
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return found
