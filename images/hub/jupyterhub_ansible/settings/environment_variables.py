"""Settings and secrets from environment variables, where the Hub runs as a Compose application, and only there.

They are laid over the settings of the image's hub.json. JUPYTERHUB_SETTINGS holds any of these, as YAML or JSON;
the other variables are the few that everybody sets. An empty variable counts as unset: Compose passes on such.
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
"""What a Compose application has by these variables alone, since networks and images go by it."""
SWITCH = "JUPYTERHUB_SETTINGS_FROM_ENVIRONMENT"
"""Set to 1 by the Compose application; elsewhere the variables are not looked at."""
ON, OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
ANYTHING = "JUPYTERHUB_SETTINGS"

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


def _client_id(settings: Settings, text: str) -> None:
    settings["hub_github_client_id"] = text


def _callback(settings: Settings, text: str) -> None:
    if not text.endswith(CALLBACK_PATH):
        raise ValueError(f"must be the public address with {CALLBACK_PATH} at its end, as in the OAuth app")
    settings["jupyterhub_url"] = text.removesuffix(CALLBACK_PATH)


def _organizations(settings: Settings, text: str) -> None:
    words = _words(text)
    named = {
        "hub_github_allowed_organizations": [word for word in words if ":" not in word],
        "hub_github_allowed_teams": [word for word in words if ":" in word],
    }
    # Teams that JUPYTERHUB_SETTINGS lets in stay where the variable names organizations only, and the reverse.
    settings |= {kind: names for kind, names in named.items() if names}


def _admins(settings: Settings, text: str) -> None:
    settings["hub_admin_users"] = _words(text)


def _image(slug: str) -> Callable[[Settings, str], None]:
    def image(settings: Settings, text: str) -> None:
        catalogue = settings.get("images_environments")
        items: list[Any] = catalogue if isinstance(catalogue, list) else [None]
        slugs = [item.get("slug") if isinstance(item, dict) else None for item in items]
        if None in slugs or slugs.count(slug) > 1:
            raise ValueError(
                f"images_environments must be a list, each with a slug of its own; correct {ANYTHING} or hub.json"
            )
        if slug not in slugs:
            raise ValueError(f"the catalogue has no environment {slug}")
        # What the deployment found was in another one; a profile of the same image (`image_of`) goes with it.
        old = items[slugs.index(slug)].get("image")
        for item in items:
            if item["slug"] == slug or (old and item.get("image") == old):
                # Of an image that is made elsewhere nothing is known, and nobody else fetches it.
                item |= {"image": text, "tells_activity": False, "pull": True}
                item.pop("contents", None)

    return image


def _name(settings: Settings, text: str) -> None:
    old = settings.get("jupyterhub_name")
    settings["jupyterhub_name"] = text
    settings["deployment"] = {**settings.get("deployment", {}), "users_network": f"{text}-users"}
    items = settings.get("images_environments")
    for item in items if isinstance(items, list) else ():
        # Images that are built beside the Hub go by its name.
        if isinstance(item, dict) and str(item.get("image")).startswith(f"{old}/env-"):
            item["image"] = f"{text}/{item['image'].partition('/')[2]}"


def _users_subnet(settings: Settings, text: str) -> None:
    settings["network_users_subnet"] = text


class Variable(NamedTuple):
    """A variable: what it does to the settings, which it sets, and what the documentation says of it (Markdown)."""

    apply: Callable[[Settings, str], None]
    setting: str
    meaning: str
    default: str = ""
    required: bool = False


# The first that is applied: the others may name what it renames.
VARIABLES: dict[str, Variable] = {
    "JUPYTERHUB_NAME": Variable(
        _name,
        "jupyterhub_name",
        "the Hub's name, which begins the names of its networks, of users' containers and of their volumes: never"
        " change it; another one for a second Hub on the same machine",
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
        "administrators, who may log in, too; separated by commas. One of these two is needed",
    ),
    "DOCKER_NOTEBOOK_IMAGE_BASE": Variable(
        _image("base"),
        "images_environments",
        "an image of your own for this environment, and for profiles of the same image",
    ),
    "DOCKER_NOTEBOOK_IMAGE_DATASCIENCE": Variable(
        _image("datascience"),
        "images_environments",
        "an image of your own for this environment, and for profiles of the same image",
    ),
    "JUPYTERHUB_USERS_SUBNET": Variable(
        _users_subnet,
        "network_users_subnet",
        "private IPv4 network of the users' servers, /16 to /24, that nothing else on the machine uses",
        default="10.213.0.0/20",
    ),
}

SECRETS: dict[str, Secret] = {each.variable: each for each in rules.SECRETS if each.variable}
"""Where the Compose file is one of your own, each may be given as <name>_FILE, too: a file that holds it."""

ANYTHING_MEANING = "any other setting of `hub.json`, as YAML or JSON, such as `{hub_server_memory_mb: 4096}`"


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


def places(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that variables set, with the variable of each.

    Raises:
        ValueError: JUPYTERHUB_SETTINGS cannot be used (`overlaid` says so first).
    """
    of_all = {name: each.setting for name, each in VARIABLES.items()}
    of_all |= {name: each.setting for name, each in SECRETS.items()}
    by_anything = dict.fromkeys(_anything(environ.get(ANYTHING, "")), ANYTHING)
    return by_anything | {setting: name for name, setting in of_all.items() if environ.get(name, "").strip()}


def hint(text: str) -> str:
    """Return which variables set the settings that a message names, but not by their variables."""
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
        if name in _KEYS and any(_LONG_HEX.fullmatch(word) and weakness(word) for word in text.split()):
            problems.append(f"{variable}: is easy to guess; take another one, such as `openssl rand -hex 32` prints")
        if text:
            # Keys may be several.
            found[name] = "\n".join(_fitting(word) for word in text.split()) if name in _KEYS else text
    if problems:
        raise EnvironmentVariableError("\n".join(problems))
    return found
