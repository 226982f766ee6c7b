"""Settings and secrets from environment variables; used only where the Hub runs as a Compose application.

They override the image's hub.json.  JUPYTERHUB_SETTINGS takes any setting, as YAML or JSON; the other variables are
the few that every deployment needs.  An empty variable counts as unset, since Compose passes unset ones on as empty.
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ..rules import secrets as rules
from ..rules.addresses import CALLBACK_PATH
from ..rules.secrets import Secret, weakness

OF_VARIABLES = {
    "jupyterhub_name": "JUPYTERHUB_NAME",
    "network_users_subnet": "JUPYTERHUB_USERS_SUBNET",
    "deployment": "JUPYTERHUB_NAME",
    "compose": "JUPYTERHUB_NAME",
}
"""Settings that in a Compose application only these variables may set, since its networks and images depend on them."""
SWITCH = "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT"
"""Set to 1 by the Compose application; without it the variables are ignored."""
ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
ANYTHING = "JUPYTERHUB_SETTINGS"

# Coolify's SERVICE_HEX_64_* has 128 digits, while JupyterHub requires exactly 64.
_LONG_HEX = re.compile(r"[0-9a-f]{128}")
_KEYS = ("cookie_secret", "crypt_key")


Settings = dict[str, Any]


class EnvironmentVariableError(Exception):
    """Variables are invalid; `str()` gives one line per problem, without values."""


def is_read(environ: Mapping[str, str]) -> bool:
    """Return whether the Hub takes settings from the variables.

    Raises:
        EnvironmentVariableError: the switch is neither on nor off.
    """
    switch = environ.get(SWITCH, "").strip().lower()
    if switch not in ON + OFF:
        raise EnvironmentVariableError(f"{SWITCH}: must be 1, true, yes or on; or 0, false, no or off")
    return switch in ON


def _names(text: str) -> list[str]:
    """Split at commas, without duplicates."""
    names = (name.strip() for name in text.split(","))
    return list({name.casefold(): name for name in names if name}.values())


def _client_id(settings: Settings, text: str) -> None:
    settings["hub_github_client_id"] = text


def _callback(settings: Settings, text: str) -> None:
    if not text.endswith(CALLBACK_PATH):
        raise ValueError(f"must be the public address followed by {CALLBACK_PATH}, as in the OAuth app")
    settings["jupyterhub_url"] = text.removesuffix(CALLBACK_PATH)


def _organizations(settings: Settings, text: str) -> None:
    names = _names(text)
    named = {
        "hub_github_allowed_organizations": [name for name in names if ":" not in name],
        "hub_github_allowed_teams": [name for name in names if ":" in name],
    }
    # If the variable names organizations only, the teams of JUPYTERHUB_SETTINGS stay, and the other way round.
    settings |= {kind: names for kind, names in named.items() if names}


def _admins(settings: Settings, text: str) -> None:
    settings["hub_admin_users"] = _names(text)


def _image(slug: str) -> Callable[[Settings, str], None]:
    def image(settings: Settings, text: str) -> None:
        catalogue = settings.get("images_environments")
        items: list[Any] = catalogue if isinstance(catalogue, list) else [None]
        slugs = [item.get("slug") if isinstance(item, dict) else None for item in items]
        if None in slugs or slugs.count(slug) > 1:
            raise ValueError(
                f"images_environments must be a list of environments with unique slugs; correct {ANYTHING} or hub.json"
            )
        if slug not in slugs:
            raise ValueError(f"the catalogue has no environment {slug}")
        # Profiles of the same image (`image_of`) change with it.
        old = items[slugs.index(slug)].get("image")
        for item in items:
            if item["slug"] == slug or (old and item.get("image") == old):
                # Nothing is known of another image's contents, and only the Hub could pull it.
                item |= {"image": text, "tells_activity": False, "pull": True}
                item.pop("contents", None)

    return image


def _name(settings: Settings, text: str) -> None:
    old = settings.get("jupyterhub_name")
    settings["jupyterhub_name"] = text
    settings["deployment"] = {**settings.get("deployment", {}), "users_network": f"{text}-users"}
    items = settings.get("images_environments")
    for item in items if isinstance(items, list) else ():
        # The names of images built together with the Hub begin with its name.
        if isinstance(item, dict) and str(item.get("image")).startswith(f"{old}/env-"):
            item["image"] = f"{text}/{item['image'].partition('/')[2]}"


def _users_subnet(settings: Settings, text: str) -> None:
    settings["network_users_subnet"] = text


class Variable(NamedTuple):
    """A variable: how it changes the settings, which one it sets, and its documentation (Markdown)."""

    apply: Callable[[Settings, str], None]
    setting: str
    meaning: str
    default: str = ""
    required: bool = False


# JUPYTERHUB_NAME comes first: the others may refer to what it renames.
VARIABLES: dict[str, Variable] = {
    "JUPYTERHUB_NAME": Variable(
        _name,
        "jupyterhub_name",
        "the Hub's name, the prefix of its networks, of users' containers and of their volumes: never change it;"
        " a second Hub on the same machine needs another one",
        default="jupyterhub",
    ),
    "GITHUB_CLIENT_ID": Variable(_client_id, "hub_github_client_id", "the OAuth app's client ID", required=True),
    "OAUTH_CALLBACK_URL": Variable(
        _callback,
        "jupyterhub_url",
        "the callback URL of the OAuth app, `https://<domain>/hub/oauth_callback` (`http://` on this machine only);"
        " the public address follows from it",
        required=True,
    ),
    "ALLOWED_GITHUB_ORGS": Variable(
        _organizations,
        "hub_github_allowed_organizations",
        "who may log in: members of these organizations, and teams as `organization:team`; separated by commas."
        " Organizations replace those of `JUPYTERHUB_SETTINGS`, teams its teams",
    ),
    "ADMIN_GITHUB_USERS": Variable(
        _admins,
        "hub_admin_users",
        "administrators, who may also log in; separated by commas. At least one of these two is required",
    ),
    "DOCKER_NOTEBOOK_IMAGE_BASE": Variable(
        _image("base"),
        "images_environments",
        "your own image for this environment, and for profiles of the same image",
    ),
    "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE": Variable(
        _image("datascience"),
        "images_environments",
        "your own image for this environment, and for profiles of the same image",
    ),
    "JUPYTERHUB_USERS_SUBNET": Variable(
        _users_subnet,
        "network_users_subnet",
        "private IPv4 network for users' servers, /16 to /24, that nothing else on the machine uses",
        default="10.213.0.0/20",
    ),
}

SECRETS: dict[str, Secret] = {each.variable: each for each in rules.SECRETS if each.variable}
"""In a Compose file of your own, each can also be given as <name>_FILE, the path of a file that contains it."""

ANYTHING_MEANING = "any other setting of `hub.json`, as YAML or JSON, such as `{hub_server_memory_mb: 4096}`"


def _merged(below: Any, above: Any) -> Any:
    """`above` merged over `below`: mappings key by key, anything else as a whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


def _not_json(value: Any, *path: str) -> Iterator[str]:
    """Yield problems for what YAML can express but JSON cannot: dates, sets, keys that are not strings."""
    if isinstance(value, dict):
        for name, each in value.items():
            if isinstance(name, str):
                yield from _not_json(each, *path, name)
            else:
                yield f"{'.'.join(path) or 'it'}: has a key that is not a string; write it in quotes"
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _not_json(each, *path, str(number))
    elif not (value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))):
        yield f"{'.'.join(path)}: is not a string, number, list or mapping; write it in quotes"


def _anything(text: str) -> Settings:
    try:
        settings = yaml.safe_load(text.strip())
        problems = list(_not_json(settings)) if isinstance(settings, dict) else []
    # A tag (!!int x) or a mapping that contains itself raises errors that are not YAMLError.
    except (yaml.YAMLError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        # The error's own message would quote the line.
        raise ValueError(f"is neither YAML nor JSON{where}") from None
    if problems:
        raise ValueError(f"\n{ANYTHING}: ".join(problems))
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ValueError("must be a mapping of settings")
    return settings


def places(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that variables set, with the variable of each.

    Raises:
        ValueError: JUPYTERHUB_SETTINGS is invalid (`overlaid` reports that first).
    """
    settings = {name: each.setting for name, each in VARIABLES.items()}
    settings |= {name: each.setting for name, each in SECRETS.items()}
    by_anything = dict.fromkeys(_anything(environ.get(ANYTHING, "")), ANYTHING)
    return by_anything | {setting: name for name, setting in settings.items() if environ.get(name, "").strip()}


def hint(text: str) -> str:
    """Return which variables set the settings that a message mentions without naming their variables."""
    named = {
        name: each.setting
        for name, each in VARIABLES.items()
        if name != "JUPYTERHUB_NAME" and each.setting in text and name not in text
    }
    named = {name: setting for name, setting in named.items() if setting != "images_environments"}
    if "ALLOWED_GITHUB_ORGS" in named:
        named["ALLOWED_GITHUB_ORGS"] += " and hub_github_allowed_teams"
    return "; ".join(f"{name} sets {setting}" for name, setting in sorted(named.items()))


def overlaid(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Return the settings overridden by those of the environment; JUPYTERHUB_SETTINGS yields to the other variables.

    Raises:
        EnvironmentVariableError: a variable's value is invalid.
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
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return result


def _shortened(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest() if _LONG_HEX.fullmatch(key) else key


def secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets from the environment, and from the files that it names.

    Raises:
        EnvironmentVariableError: a file is unreadable or empty, or a secret is given twice.
    """
    found, problems = {}, []
    for variable, secret in SECRETS.items():
        name = secret.file
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
        # There may be several keys.
        keys = text.split() if name in _KEYS else []
        if any(_LONG_HEX.fullmatch(key) and weakness(key) for key in keys):
            problems.append(f"{variable}: is easy to guess; make another one with: openssl rand -hex 32")
        if text:
            found[name] = "\n".join(map(_shortened, keys)) if keys else text
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return found
